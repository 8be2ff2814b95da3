"""Answers in Jupyter, shown as they arrive: nothing in them is live but links, and nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from html import escape
from typing import Any

import anyio
import IPython
import IPython.display

from ..errors import (
    AuthenticationError, MediaError, RateLimitError, ResponseError, ResponseTimeoutError,
    SpaceConnectionError, SpaceUnavailableError,
)
from ..question.media import Picture
from ..stream import AnswerStream
from ..types import describe_seconds
from .markdown import as_markdown

INTERVAL = 0.14  # seconds from one drawing to the next; with the line below, twice a second, under ten updates

Bundle = dict[str, str]
"""A thing to show, by MIME type."""

Place = Callable[[Bundle], None]
"""A place on the screen, which shows what it is given."""


async def show(stream: AnswerStream) -> None:
    """Show a picture and its answer in the notebook as it arrives; afterwards it is ``stream.text``.

    Interrupting the cell cancels the job at the Space and leaves what had arrived.

    Raises:
        ResponseError: as the stream does, after a box that says what to do.

    Example::

        stream = ask("What is the area?", "triangle.png")
        await show(stream)
    """
    if not isinstance(stream, AnswerStream):
        raise TypeError(f"show() takes the stream that ask() gives, not {type(stream).__name__}")
    place = _place(_note("picture")) if stream.picture else None
    screen = _Screen(stream)
    screen.draw()
    failure: Exception | None = None
    try:
        async with stream, anyio.create_task_group() as group:
            if place and stream.picture:
                group.start_soon(_show_picture, stream.picture, place)
            group.start_soon(screen.follow)
            try:
                await stream.read()
            except Exception as error:  # leaving the group with it would wrap it
                failure = error
            screen.over.set()
    except BaseException as stop:
        screen.end(_note(f"■ Interrupted after {screen.elapsed:.1f} s"))
        raise stop.with_traceback(None)  # below the cell it would be a page of what goes on in here
    if failure:
        screen.end(_box(failure))
        raise failure.with_traceback(None)
    ended = "■ Cancelled" if stream.status.stage == "cancelled" else f"{screen.elapsed:.1f} s"
    screen.end(_note(ended))


class _Screen:
    """The cell's output: the answer, once there is one, and a line on how it goes."""

    def __init__(self, stream: AnswerStream) -> None:
        self.over = anyio.Event()
        self._stream = stream
        self._began = time.monotonic()
        self._answer: Place | None = None
        self._line: Place | None = None
        self._drawn = ""
        self._beat = -1

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    async def follow(self) -> None:
        while not self.over.is_set():
            # A long answer, which takes the browser longer to set, is drawn less often.
            with anyio.move_on_after(INTERVAL + len(self._drawn) / 40_000):
                await self.over.wait()
                return
            self.draw()

    def draw(self) -> None:
        text = self._stream.text
        if text != self._drawn:
            self._draw_answer(text, partial=True)
        beat = int(2 * self.elapsed)
        if beat != self._beat or self._line is None:
            self._beat = beat
            self._draw_line(_note(_how_it_goes(self._stream, int(self.elapsed))))

    def end(self, last: Bundle) -> None:
        self._draw_answer(self._stream.text, partial=self._stream.status.stage != "finished")
        self._draw_line(last)

    def _draw_answer(self, text: str, *, partial: bool) -> None:
        self._drawn = text
        bundle = {"text/markdown": as_markdown(text, partial=partial), "text/plain": text}
        if self._answer:
            self._answer(bundle)
        elif bundle["text/markdown"]:  # the answer takes the line's place, and the line goes below it
            self._answer, self._line = self._line or _place(bundle), None
            self._answer(bundle)

    def _draw_line(self, bundle: Bundle) -> None:
        if self._line:
            self._line(bundle)
        else:
            self._line = _place(bundle)


def _how_it_goes(stream: AnswerStream, seconds: int) -> str:
    """One line: the stage, place and wait where they are known, seconds so far, and how much has come."""
    parts = stream.status.describe()
    if stream.text:
        parts[0] = f"{len(stream.text):,} characters"
    if seconds:
        parts.append(describe_seconds(seconds))
    return "… " + " · ".join(parts)


def _place(bundle: Bundle) -> Place:
    display: Any = IPython.display.display  # it has no types
    handle = display(bundle, raw=True, display_id=True)
    if handle is None:
        raise RuntimeError("show() needs a notebook; elsewhere iterate over the stream, or await stream.read()")
    return lambda bundle: handle.update(bundle, raw=True)


def _note(text: str) -> Bundle:
    return {"text/html": f'<div style="opacity: .65; font-size: .9em">{escape(text)}</div>', "text/plain": text}


_ADVICE = {
    AuthenticationError: "Give a valid token, api_key=\"hf_...\", or the Space's login, auth=(user, password).",
    RateLimitError: "Wait a while and run the cell again. With a token (api_key=...) the quota is your own.",
    SpaceConnectionError: "Run the cell again once the Space can be reached from this machine.",
    SpaceUnavailableError: "Open the Space in a browser to see how it does, or give the url of another one.",
    ResponseTimeoutError: "Run the cell again, with a longer timeout or read_timeout if the Space is only slow.",
    MediaError: "Give another picture, or a smaller one.",
    ResponseError: "This is what the Space's app itself says; another question or picture may help.",
}


def _box(error: Exception) -> Bundle:
    """What happened, and what to do."""
    kind, message = type(error).__name__, str(error)
    advice = next((words for known, words in _ADVICE.items() if isinstance(error, known)), "")
    if (wait := getattr(error, "retry_after", None)) is not None:
        advice = f"Try again in {describe_seconds(wait)}."
    box = ("border: 1px solid #d3455b; border-left-width: 5px; border-radius: 4px; padding: .6em 1em; "
           "background: rgba(211, 69, 91, .1); max-width: 50em")
    return {
        "text/html": f'<div style="{box}"><b>{escape(kind)}</b><div style="margin: .3em 0">{escape(message)}</div>'
                     f'<div style="opacity: .75">{escape(advice)}</div></div>',
        "text/plain": "\n".join([f"{kind}: {message}", advice]),
    }


async def _show_picture(picture: Picture, place: Place) -> None:
    """A small picture of a picture. One at an address is not fetched: its address is shown."""
    if picture.url:
        address = escape(picture.url)
        link = f'<a href="{address}" target="_blank" rel="noopener noreferrer">{address}</a>'
        place({"text/html": link, "text/plain": picture.url})
        return
    try:
        kind, data = await anyio.to_thread.run_sync(_thumbnail, picture)
    except Exception:  # the Space may still take what cannot be shown here, and says so if not
        return
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    style = "max-height: 120px; max-width: 240px; border-radius: 4px; background: white"
    shown = f'<img alt="the picture asked about" style="{style}" src="{source}">'
    place({"text/html": shown, "text/plain": "(the picture asked about)"})


def _thumbnail(picture: Picture) -> tuple[str, bytes]:
    """Its kind and its bytes, for a place of 240 by 120 on a fine screen."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(picture.read())) as image:
        image.draft("RGB", (480, 240))  # a large JPEG is decoded no larger than needed
        small = ImageOps.exif_transpose(image)
    small.thumbnail((480, 240))
    kind, mode = ("png", "RGBA") if small.has_transparency_data else ("jpeg", "RGB")
    buffer = io.BytesIO()
    small.convert(mode).save(buffer, kind)
    return kind, buffer.getvalue()


def _show_as_result(stream: AnswerStream) -> str:
    """What a notebook shows of a stream that is the last expression of a cell."""
    stage = stream.status.stage
    if stage == "idle":
        return ("*Not asked yet: `await show(stream)` shows the answer as it comes, "
                "`await stream.read()` gives it.*")
    answer = as_markdown(stream.text, partial=stage != "finished")
    return f"{answer}\n\n*{stage}, {len(stream.text):,} characters*".strip()


if shell := IPython.get_ipython():
    formatter = shell.display_formatter.formatters["text/markdown"]
    formatter.for_type(AnswerStream, _show_as_result)
