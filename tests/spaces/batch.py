"""A door before a Space: logs each question that is handed in, and refuses those that are too many.

It is an ASGI middleware, so the Space behind it is a real one.
"""

import math
import time

from starlette.responses import JSONResponse


class Door:
    """Let ``count`` questions in within ``seconds``. The others get 429 with Retry-After."""

    def __init__(self, app, log, count, seconds):
        self._app, self._log, self._count, self._seconds = app, log, count, seconds
        self._start, self._let_in = -math.inf, 0

    async def __call__(self, scope, receive, send):
        if not scope.get("path", "").endswith("/queue/join"):
            return await self._app(scope, receive, send)
        now = time.monotonic()
        if now >= self._start + self._seconds:
            self._start, self._let_in = now, 0
        self._let_in += 1
        if self._let_in > self._count:
            self._log("join", status=429)
            wait = math.ceil(self._start + self._seconds - now)
            body = {"detail": "one after the other, please"}
            response = JSONResponse(body, 429, {"Retry-After": str(wait)})
            return await response(scope, receive, send)

        async def send_and_log(message):
            if message["type"] == "http.response.start":
                self._log("join", status=message["status"])
            await send(message)

        await self._app(scope, receive, send_and_log)
