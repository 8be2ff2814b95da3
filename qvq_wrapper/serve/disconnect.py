"""Passes answers on to their readers, and stops one whose reader has gone away.

Gradio looks for the reader only after each new piece of text. A model can be silent for minutes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import QueryParams

from ..errors import ResponseError

PATIENCE = 30.0  # seconds that an answer waits for its reader to come
STEP = 0.001
"""About how many seconds Gradio takes to pass one piece on."""


class Readers:
    """An ASGI application around Gradio's that knows which answers run for which reader.

    Attributes:
        app: Gradio's application.
    """

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self._answers: dict[asyncio.Future[None], str] = {}  # those that run, with their sessions
        self._reading: list[str] = []  # the session of each open connection
        self._left: deque[str] = deque(maxlen=1000)  # sessions whose reader left, the latest

    async def newest(self, session: str, texts: AsyncIterator[str]) -> AsyncIterator[str]:
        """Yield the latest text, and leave out those that came while the consumer was busy.

        All answers share one event loop. If each passed on every piece, a hundred would keep the
        loop so busy that a new answer's first word takes seconds.

        A task of its own reads the texts, because Gradio waits for this generator only now and
        then. If the reader with this session leaves, the task is cancelled: there are no more.

        Raises:
            ResponseError: the reader did not come.
        """
        if session in self._left:
            return
        latest = shown = ""
        changed = asyncio.Event()
        nobody_came = False

        async def read() -> None:
            nonlocal latest
            async for latest in texts:
                changed.set()

        def stop_if_unread() -> None:
            nonlocal nobody_came
            if session not in self._reading:
                nobody_came = reading.cancel()

        reading = asyncio.ensure_future(read())
        reading.add_done_callback(lambda _: changed.set())
        self._answers[reading] = session
        timer = asyncio.get_running_loop().call_later(PATIENCE, stop_if_unread)
        try:
            while latest != shown or not reading.done():
                await changed.wait()
                changed.clear()
                if latest != shown:
                    shown = latest
                    yield shown
                    await asyncio.sleep(STEP * len(self._answers))
            if nobody_came:
                raise ResponseError(f"Nobody read this answer for {PATIENCE:g} s.")
            if not reading.cancelled():
                await reading
        finally:
            timer.cancel()
            del self._answers[reading]
            reading.cancel()
            await asyncio.wait([reading])  # the model is stopped then

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on. When a reader's connection breaks off, cancel its answers."""
        session = _session(scope)
        if not session:
            await self.app(scope, receive, send)
            return
        ended = left = False
        if session in self._left:  # and is back
            self._left.remove(session)

        async def receive_on() -> Any:
            nonlocal left
            message = await receive()
            left = left or message["type"] == "http.disconnect" and not ended
            return message

        async def send_on(message: Any) -> None:
            nonlocal ended
            is_body = message["type"] == "http.response.body"
            ended = ended or is_body and not message.get("more_body")
            await send(message)

        self._reading.append(session)
        try:
            await self.app(scope, receive_on, send_on)
        finally:
            self._reading.remove(session)
            if left or not ended:  # a reader may leave, and gradio 6 end its response
                self._left.append(session)
                for answer, its_session in self._answers.items():
                    if its_session == session:
                        answer.cancel()


def _session(scope: Any) -> str:
    """Return whose answers a request reads, or "" if it reads no answers."""
    path = str(scope.get("path", ""))
    if path.endswith("/queue/data"):
        return QueryParams(scope["query_string"]).get("session_hash", "")
    if scope.get("method") == "GET" and "/call/" in path:
        return path.rpartition("/")[2]  # /call/generate/<event>, which is the session too
    return ""
