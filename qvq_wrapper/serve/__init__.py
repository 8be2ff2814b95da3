"""A local Space with QVQ's endpoint, for trials without the Internet. It only reads pictures' text.

``python -m qvq_wrapper.serve`` serves it.
"""

from .child import SAMPLE, running_space

__all__ = ["SAMPLE", "running_space"]
