"""A Space on this machine with the endpoint of QVQ's, for trying things out without the Internet.

It reads the text in a picture; that is all it does. ``python -m qvq_wrapper.serve`` serves it.
"""

from .child import SAMPLE, running_space

__all__ = ["SAMPLE", "running_space"]
