"""Passes on as much of an answer as Gradio has time for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

STEP = 0.001
"""About how many seconds Gradio takes to pass one piece on."""
_running = 0


async def newest(texts: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield the latest text, and leave out those that came while the consumer was busy.

    A task of its own reads the texts. If that is cancelled, there are no more.

    All answers share one event loop. If each passed on every piece, a hundred would keep the loop
    so busy that a new answer's first word takes seconds.
    """
    global _running
    latest = shown = ""
    changed = asyncio.Event()

    async def read() -> None:
        nonlocal latest
        try:
            async for latest in texts:
                changed.set()
        finally:
            changed.set()

    reading = asyncio.ensure_future(read())
    _running += 1
    try:
        while latest != shown or not reading.done():
            await changed.wait()
            changed.clear()
            if latest != shown:
                shown = latest
                yield shown
                await asyncio.sleep(STEP * _running)
        if not reading.cancelled():
            await reading
    finally:
        _running -= 1
        reading.cancel()
        await asyncio.wait([reading])  # the model is stopped then
