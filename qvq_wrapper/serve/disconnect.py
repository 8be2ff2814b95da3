"""Stops an answer whose reader has gone away.

Gradio looks for the reader only after each new piece of text. A model can be silent for minutes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

from ..errors import ResponseError

PATIENCE = 30.0  # seconds that an answer waits for its reader to come


class Readers:
    """An ASGI application around Gradio's that knows which answers run for which reader.

    Attributes:
        app: Gradio's application.
    """

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self._answers: dict[str, set[asyncio.Task[Any]]] = {}
        self._reading: Counter[str] = Counter()  # open connections by session
        self._left: deque[str] = deque(maxlen=1000)  # sessions whose reader left, the latest

    async def while_reading(
        self, session: str, texts: AsyncIterator[str]
    ) -> AsyncIterator[str]:
        """Yield the texts. If the reader with this session leaves, cancel the task that iterates.

        Iterate in a task of your own. While Gradio passes on an earlier text, its task does not
        wait for this generator. Cancelling that task would leave the generator open.

        Raises:
            ResponseError: the reader did not come.
        """
        if session in self._left:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task
        answers = self._answers.setdefault(session, set())
        answers.add(task)
        nobody_came = False

        def stop_if_unread() -> None:
            nonlocal nobody_came
            if not self._reading[session]:
                nobody_came = True
                task.cancel()

        timer = asyncio.get_running_loop().call_later(PATIENCE, stop_if_unread)
        try:
            async for text in texts:
                yield text
        except asyncio.CancelledError:
            if not nobody_came:
                raise
            raise ResponseError(f"Nobody read this answer for {PATIENCE:g} s.") from None
        finally:
            timer.cancel()
            answers.discard(task)
            if not answers:
                self._answers.pop(session, None)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on. When a reader's connection breaks off, cancel its answers."""
        session = _session(scope)
        ended = left = False
        if session and session in self._left:  # and is back
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

        if session:
            self._reading[session] += 1
        try:
            await self.app(scope, receive_on, send_on)
        finally:
            if session:
                self._reading[session] -= 1
                self._reading += Counter()  # drops those without a connection
            if session and (left or not ended):  # a reader may leave, and gradio 6 end its response
                self._left.append(session)
                for task in self._answers.get(session, ()):
                    task.cancel()


def _session(scope: Any) -> str | None:
    """Return whose answers a request reads, or None if it reads none."""
    path = scope.get("path", "")
    if path.endswith("/queue/data"):
        query = parse_qs(scope["query_string"].decode("latin-1"))
        return "".join(query.get("session_hash", []))
    if scope.get("method") == "GET" and "/call/" in path:
        return str(path.rpartition("/")[2])  # /call/generate/<event>, which is the session too
    return None
