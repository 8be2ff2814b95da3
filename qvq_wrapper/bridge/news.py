"""How the reader of an answer waits for news: in an event loop, or in a thread without one.

A signal handler may call ``cancel()`` while its own thread waits here, and a destructor may do it
at any moment. So whatever brings the news must not take a lock that this thread can hold.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import anyio
from anyio.lowlevel import current_token

from .call import Call


def listen(call: Call) -> anyio.Event:
    """Return an event that is set as soon as the call has news.

    The call's thread sets it without waiting for the event loop. anyio has no public function for
    that; its token leads to asyncio's and trio's own. Both may be called from a signal handler.
    """
    news = anyio.Event()
    token: Any = current_token().native_token
    schedule = getattr(token, "call_soon_threadsafe", None) or token.run_sync_soon
    call.listen(partial(schedule, news.set))
    return news


async def wait(news: anyio.Event, seconds: float | None) -> None:
    """Wait for news, for so many seconds at most."""
    if seconds is None:
        await news.wait()  # a cancel scope would cost 7 us for each chunk
    else:
        with anyio.move_on_after(seconds):
            await news.wait()


def listen_in_thread(call: Call) -> SimpleQueue[None]:
    """Return a queue that gets an item as soon as the call has news.

    Not an Event: its ``wait()`` holds a lock that ``set()`` needs. A SimpleQueue's ``put()`` is
    made for destructors and signal handlers: docs.python.org/3/library/queue.html
    """
    news: SimpleQueue[None] = SimpleQueue()
    call.listen(partial(news.put, None))
    return news


def wait_in_thread(news: SimpleQueue[None], seconds: float | None) -> None:
    """Wait for news, for so many seconds at most."""
    with suppress(Empty):
        news.get(timeout=seconds)
