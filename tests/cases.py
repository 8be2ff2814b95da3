"""Many cases of one kind in one test."""

from contextlib import contextmanager

import pytest


def each(cases):
    """Yield a context manager for the check of each case, and the case.

    After the last one, fail if any was wrong. The message has all wrong ones. Example::

        for case, (given, url) in each(ADDRESSES):
            with case:
                assert space_url(given) == url
    """
    wrong = []

    @contextmanager
    def noted(number, case):
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            wrong.append(f"case {number}, {case!r:.300}: {type(error).__name__}: {error}")

    for number, case in enumerate(cases, 1):
        yield noted(number, case), case
    assert not wrong, "\n\n".join([f"wrong cases: {len(wrong)}", *wrong])
