"""The web pages of local Spaces, each with an endpoint ``/generate``."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.themes import Soft

from ..bridge.titles import title_of
from ..errors import MediaError, ResponseError
from .child import SAMPLE
from .disconnect import Readers

if TYPE_CHECKING:  # each needs packages that the other does without
    from .reader import Reader
    from .upstream import Upstream

# A single $ is left out: it is more often a price.
FORMULAS = [{"left": left, "right": right, "display": left != r"\("}
            for left, right in (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)"))]
CSS = ".katex-display { overflow: auto hidden }"  # a formula that is wider than the page scrolls
MAX_SESSIONS = 100
"""Sessions that Gradio remembers, at 38 kB each. Each question through the API is one."""
ABOUT = """# {name}
This Space asks a model, `{name}`. Your picture and your question go to the server that runs the
model. The Space itself deletes pictures after about an hour."""


def theme() -> gr.Theme:
    """Return the pages' theme. The font that comes with gradio's own is ornamental."""
    return Soft(font=["system-ui", "sans-serif"])


def reader_page(reader: Reader) -> gr.Blocks:
    """Return the text reader's page. Its endpoint takes a picture and a prompt."""
    from .reader import ABOUT, TITLE

    def generate(picture: str | None, prompt: str) -> Iterator[str]:
        try:
            yield from reader.answer(picture)
        except MediaError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception as error:  # the log has it
            raise gr.Error(f"The picture cannot be read ({type(error).__name__}).") from error

    return _page(TITLE, ABOUT, generate, concurrency_limit=4)


def model_page(upstream: Upstream, readers: Readers, concurrency: int) -> gr.Blocks:
    """Return the page of a model on a server.

    Its endpoint takes a picture and a prompt, and also ``temperature``, ``max_tokens`` and
    ``system``, whose defaults are the upstream's.

    Args:
        readers: stops the answers of readers that leave.
        concurrency: how many answers run at once. Further questions wait in the queue.
    """

    async def generate(
        image: str | None, prompt: str, request: gr.Request, temperature: float | None = None,
        max_tokens: int | None = None, system: str | None = None,
    ) -> AsyncIterator[str]:
        answer = upstream.answer(image, prompt, temperature, max_tokens, system)
        try:
            async for text in readers.newest(str(request.session_hash), answer):
                yield text
        except ResponseError as error:
            message = html.escape(error.message, quote=False)  # the page shows HTML
            raise gr.Error(message, title=title_of(error), print_exception=False) from None

    def add_settings() -> list[Any]:
        with gr.Accordion("Settings", open=False):
            return [
                gr.Number(upstream.temperature, label="Temperature", minimum=0, step=0.1,
                          placeholder="the server's own"),
                gr.Number(upstream.max_tokens, label="Longest answer, in tokens", minimum=1,
                          precision=0),
                gr.Textbox(upstream.system, label="System message", placeholder="none")]

    return _page(
        upstream.model, ABOUT.format(name=upstream.model), generate, add_settings,
        formulas=FORMULAS, concurrency_limit=concurrency)


def _page(
    title: str, about: str, generate: Callable[..., Any],
    add_settings: Callable[[], list[Any]] = list, *, formulas: Any = (), concurrency_limit: int,
) -> gr.Blocks:
    page = gr.Blocks(title=title)
    with page:
        gr.Markdown(about)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(label="Picture", type="filepath", image_mode=None, height=300,
                                   sources=["upload", "clipboard"])
                prompt = gr.Textbox(label="Question", placeholder="What does the sign say?")
                settings = add_settings()
                with gr.Row():
                    button = gr.Button("Ask", variant="primary")
                    stop = gr.Button("Stop", visible=bool(settings))
            with gr.Column():
                answer = gr.Markdown("*The answer appears here.*", label="Answer", container=True,
                                     padding=True, min_height=300, latex_delimiters=[*formulas])
                gr.Examples([[str(SAMPLE), prompt.placeholder]], [picture, prompt], label="Example")
        asking = gr.on(
            [button.click, prompt.submit], generate, [picture, prompt, *settings], answer,
            api_name="generate", concurrency_limit=concurrency_limit)
        stop.click(None, cancels=asking)
    page.max_threads = max(page.max_threads, concurrency_limit)  # of all events together
    page.state_session_capacity = MAX_SESSIONS
    page.queue()
    return page
