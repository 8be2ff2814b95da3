"""The attempts to get one question answered, in the call's own thread."""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import ResponseError
from ..question.options import Question
from ..types import Status

if TYPE_CHECKING:
    from .call import Call

LONGEST_DELAY = 60.0  # seconds; a longer Retry-After is an error at once

logger = logging.getLogger("qvq_wrapper")


def answer_call(call: Call, question: Question) -> None:
    """Ask until there is an answer, or an error that is not to be tried again.

    This is the only loop that tries anything again:

    ======================================= ===========================================
    what failed                             what is done
    ======================================= ===========================================
    anything before the question, because   again at once, over a new connection
    the kept connection had been closed
    the question was refused because of     again at once, with new info, and a new
    info that an earlier call had fetched   login if the Space has one
    anything else before the question; the  again after a delay, ``max_retries`` times,
    question, by 429 or a full queue        if the error is retryable
    the answer's stream, because the kept   only this request again, over a new
    connection had been closed              connection
    the question in any other way; later    nothing: the Space may have started a job
    ======================================= ===========================================
    """
    error: Exception | None = ResponseError("The call ended unexpectedly.")
    retries = 0
    try:
        while True:
            error = _attempt(call, question)
            # After a success there may be a job, so there is no delay.
            delay = _retry_delay(call, error, retries)
            if delay is None:
                break
            if not (call.connection and call.connection.ask_again):
                retries += 1
            call.wait(lambda: call.over, delay)  # if it is over, the next attempt ends at once
    finally:
        # The error's traceback leads to the call, and must not lead to a token.
        connection, call.connection = call.connection, None
        if error:
            call.fail(error)
        call.end("finished")
        call.thread_ended = True
        call.wake()
        if connection and connection.farewell:
            connection.farewell()
            connection.farewell = None  # it refers to the session, and that to the connection


def _attempt(call: Call, question: Question) -> Exception | None:
    """Ask once. Return what went wrong, if anything."""
    call.on_status(Status("connecting"))
    try:
        from .failures import CallCancelled, from_exception  # gradio_client takes 0.4 s
        from .session import answer
        from .space import space_at
    except Exception as error:
        kind = type(error).__name__
        return ResponseError(f"gradio_client cannot be imported ({kind}: {error}).")
    call.connection = None  # an earlier attempt's must not decide about this one
    try:
        space = space_at(question.access)
        connection = call.connection = space.connect(call.limits)
        try:
            if call.over:  # perhaps by a cancel() that did not see the connection yet
                raise CallCancelled
            with space.info_for_question(connection) as info:
                answer(question, info, connection, call.on_text, call.on_status)
        finally:
            with suppress(Exception):  # how the attempt ended is known already
                space.release(connection)
    except CallCancelled:  # which is how the call has ended already
        return None
    except BaseException as error:
        return from_exception(error, None if call.text else question.picture)
    return None


def _retry_delay(call: Call, error: Exception | None, retries: int) -> float | None:
    """Return the seconds to wait before the next attempt, or None if there is to be none.

    Exponential backoff with full jitter, and never less than the Space's Retry-After:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    connection = call.connection
    if call.over or connection and connection.may_have_job:
        return None
    if connection and connection.ask_again:
        return 0.0
    if not (isinstance(error, ResponseError) and error.retryable):
        return None
    delay = max(random.uniform(0, min(8.0, 0.5 * 2**retries)), error.retry_after or 0)
    longest = min(LONGEST_DELAY, call.remaining())
    if retries >= call.limits.max_retries or delay > longest:
        return None
    logger.info("asking again in %.1f s: %s", delay, error)
    return delay
