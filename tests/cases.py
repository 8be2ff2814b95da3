"""Many cases of one kind in one test."""

from contextlib import contextmanager

import pytest


def each(cases):
    """Yield each case with a context manager for its check. At the end, fail for all wrong ones.

    The message names them. Example::

        for case, (given, url) in each(ADDRESSES):
            with case:
                assert space_url(given) == url
    """
    wrong = []

    @contextmanager
    def noted(case):
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            wrong.append(f"{case!r:.300}: {type(error).__name__}: {error}")

    for case in cases:
        yield noted(case), case
    assert not wrong, "\n\n".join([f"{len(wrong)} cases are wrong", *wrong])
