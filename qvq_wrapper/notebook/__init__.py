"""Displays answers in Jupyter as they arrive.

Links are the only active content of an answer. Nothing is loaded from outside the notebook.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Awaitable, Callable
from html import escape
from types import CoroutineType
from typing import Any

import anyio

try:
    from IPython import get_ipython
    from IPython.display import display

    from .markdown import as_markdown  # needs markdown-it-py
    from .terminal import TerminalOutput, is_terminal
    from .thumbnail import thumbnail  # needs Pillow
except ImportError as error:
    raise ImportError(
        f'{error}. The notebook needs: pip install "qvq_wrapper[notebook]"') from None

from ..errors import (
    AuthenticationError, MediaError, RateLimitError, ResponseError, ResponseTimeoutError,
    SpaceConnectionError, SpaceUnavailableError,
)
from ..printable import printable
from ..question.media import Picture
from ..stream import AnswerStream
from ..types import describe_seconds

# Seconds between two displays of the answer. The status line changes twice a second, so that a cell
# sends fewer than ten updates a second.
INTERVAL = 0.14

logger = logging.getLogger("qvq_wrapper")

MimeBundle = dict[str, str]
"""One thing to display, by MIME type
(https://jupyter-client.readthedocs.io/en/stable/messaging.html#display-data)."""


async def show(stream: AnswerStream) -> None:
    """Display a picture and the answer as it arrives. The answer is then in ``stream.text``.

    In IPython's terminal the text alone is printed.
    Interrupting the cell cancels the job at the Space. The text that arrived stays on the screen.

    Raises:
        TypeError: ``stream`` is not an AnswerStream.
        RuntimeError: this is neither a notebook nor IPython's terminal.
        ResponseError, MediaError: as the stream raises them. A box first says what to do.

    Example::

        stream = ask("What is the area?", "triangle.png")
        await show(stream)
    """
    if not isinstance(stream, AnswerStream):
        raise TypeError(f"show() takes the stream that ask() returns, not {type(stream).__name__}")
    if (shell := get_ipython()) is None:  # display() would print the bundle
        raise RuntimeError("show() needs a notebook; elsewhere use the stream: await stream.read()")
    start, ended = time.monotonic(), anyio.Event()
    output = TerminalOutput(stream) if is_terminal(shell) else _CellOutput(stream, start)
    failure: Exception | None = None
    try:
        async with stream, anyio.create_task_group() as group:
            if stream.picture and output.picture:
                group.start_soon(_try, _show_picture, stream.picture, output.picture)
            group.start_soon(_try, output.keep_refreshing, ended)
            try:
                await stream.read()
            except Exception as error:  # raised in here, it would become an ExceptionGroup
                failure = error
            ended.set()
    except BaseException as stop:
        output.finish(_small_text(f"■ Interrupted after {time.monotonic() - start:.1f} s"))
        raise _in_one_line(stop)
    if stream.status.stage == "cancelled":  # by stream.cancel(), so there is no need of an error
        output.finish(_small_text("■ Cancelled"))
    elif failure:
        output.finish(_error_box(failure))
        raise _in_one_line(failure)
    else:
        output.finish(_small_text(f"{time.monotonic() - start:.1f} s"))


def _in_one_line(error: BaseException) -> BaseException:
    """Return the error. IPython prints it without this package's frames, as the box has said it."""
    line = printable(f"{type(error).__name__}: {error}".removesuffix(": "))
    error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]
    return error.with_traceback(None)


async def _try(function: Callable[..., Awaitable[None]], *args: Any) -> None:
    """Run a function that draws. If drawing fails, the answer is read all the same.

    A picture that Pillow cannot read is one that the Space may be able to.
    """
    try:
        await function(*args)
    except Exception as error:
        logger.debug("show() stopped drawing: %s", type(error).__name__)


class _CellOutput:
    """The displays of one answer: its picture, its text, and a status line below them.

    All are there from the start, so that several answers in a cell keep their parts together.
    """

    def __init__(self, stream: AnswerStream, start: float) -> None:
        self._stream = stream
        self._start = start
        self._shown_text = ""
        self._shown_half_second = -1
        self.picture = _new_display(_EMPTY) if stream.picture else None
        self._update_answer = _new_display(_EMPTY)
        self._update_status = _new_display(self._status())

    async def keep_refreshing(self, ended: anyio.Event) -> None:
        while not ended.is_set():
            # A browser takes longer to render a long answer, so update that less often.
            with anyio.move_on_after(INTERVAL + len(self._shown_text) / 40_000):
                await ended.wait()
                return
            await self._refresh()

    async def _refresh(self) -> None:
        text = self._stream.text
        if text != self._shown_text:
            self._shown_text = text
            self._update_answer(await anyio.to_thread.run_sync(_bundle, text, True))
        half_second = int(2 * (time.monotonic() - self._start))
        if half_second != self._shown_half_second:
            self._shown_half_second = half_second
            self._update_status(self._status())

    def _status(self) -> MimeBundle:
        """Return the status, or the length of a text that has begun, and the seconds so far."""
        parts = self._stream.status.describe()
        if self._stream.text:
            parts[0] = f"{len(self._stream.text):,} characters"
        if seconds := int(time.monotonic() - self._start):
            parts.append(describe_seconds(seconds))
        return _small_text("… " + " · ".join(parts))

    def finish(self, status: MimeBundle) -> None:
        if self._stream.text or self._shown_text:
            partial = self._stream.status.stage != "finished"
            self._update_answer(_bundle(self._stream.text, partial))
        self._update_status(status)


def _bundle(text: str, partial: bool) -> MimeBundle:
    text = printable(text, "\n\t")  # nor could Jupyter send a lone surrogate
    return {"text/markdown": as_markdown(text, partial=partial), "text/plain": text}


_EMPTY = {"text/html": "", "text/plain": ""}


def _new_display(bundle: MimeBundle) -> Callable[[MimeBundle], None]:
    """Return a function that replaces the content of this new display."""
    handle: Any = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
    return lambda bundle: handle.update(bundle, raw=True)


def _small_text(text: str) -> MimeBundle:
    html = f'<div style="opacity: .65; font-size: .9em">{escape(text)}</div>'
    return {"text/html": html, "text/plain": printable(text)}


_ADVICE = {
    AuthenticationError: "Give a valid token (api_key), or the Space's login (auth).",
    RateLimitError: "Wait, then run the cell again. With a token (api_key) you use your own quota.",
    SpaceConnectionError: "Check the connection to the Space, then run the cell again.",
    SpaceUnavailableError: "Look at the Space in a browser, or ask another Space (url).",
    ResponseTimeoutError: "Run the cell again. A slow Space may need a longer timeout.",
    MediaError: "Give another picture, or a smaller one.",
    ResponseError: "The Space's app says this. Another question or picture may help.",
}


def _error_box(error: Exception) -> MimeBundle:
    """Return a box with the error's message and advice on what to do."""
    kind, message = type(error).__name__, str(error)
    advice = next((words for known, words in _ADVICE.items() if isinstance(error, known)), "")
    if (wait := getattr(error, "retry_after", None)) is not None:
        advice = f"Try again in {describe_seconds(wait)}."
    box = ("border: 1px solid #d3455b; border-left-width: 5px; border-radius: 4px; "
           "padding: .6em 1em; background: rgba(211, 69, 91, .1); max-width: 50em; "
           "overflow-wrap: anywhere")
    html = (f'<div style="{box}"><b>{escape(kind)}</b><div style="margin: .3em 0">{escape(message)}'
            f'</div><div style="opacity: .75">{escape(advice)}</div></div>')
    return {"text/html": html, "text/plain": advice}  # IPython prints kind and message below it


async def _show_picture(picture: Picture, update: Callable[[MimeBundle], None]) -> None:
    """Display a thumbnail, or the URL of a picture that the Space fetches itself."""
    if picture.url:
        url = escape(picture.url)
        link = f'<a href="{url}" target="_blank" rel="noopener noreferrer">{url}</a>'
        update({"text/html": link, "text/plain": printable(picture.url)})
        return
    kind, data = await anyio.to_thread.run_sync(thumbnail, picture)
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    style = "max-height: 120px; max-width: 240px; border-radius: 4px; background: white"
    image = f'<img alt="the picture asked about" style="{style}" src="{source}">'
    update({"text/html": image, "text/plain": "(the picture asked about)"})


def _result_markdown(stream: AnswerStream) -> str:
    """Return the Markdown that a notebook displays when a stream is a cell's last expression."""
    stage = stream.status.stage
    if stage == "idle":
        return ("*Not asked yet: `await show(stream)` displays the answer as it arrives, "
                "`await stream.read()` returns it.*")
    answer = _bundle(stream.text, stage != "finished")["text/markdown"]
    return f"{answer}\n\n*{stage}, {len(stream.text):,} characters*".strip()


def _show_coroutine(coroutine: CoroutineType[Any, Any, Any], printer: Any, cycle: bool) -> None:
    """Say what is missing where a cell ends with ``show(stream)``."""
    forgot = coroutine.cr_code is show.__code__
    printer.text("Not shown yet: write `await show(stream)`" if forgot else repr(coroutine))


if shell := get_ipython():
    formatters = shell.display_formatter.formatters
    formatters["text/markdown"].for_type(AnswerStream, _result_markdown)
    formatters["text/plain"].for_type(CoroutineType, _show_coroutine)
