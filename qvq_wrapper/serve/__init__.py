"""A local Space with QVQ's endpoint: a model on a server of yours, or a reader of pictures' text.

``python -m qvq_wrapper.serve`` serves it.
"""

from .child import SAMPLE, running_space

__all__ = ["SAMPLE", "running_space"]
