"""The Space itself: its page, its endpoint, and the server of both."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import gradio as gr
import uvicorn
from fastapi import FastAPI

from .child import SAMPLE
from .reader import Reader

TITLE = "A reader, standing in for QVQ"
ABOUT = f"""# {TITLE}
This is not QVQ. It is a small program that reads the text in a picture, and understands neither the picture nor the
question. Pictures go no further than the machine it runs on, and are deleted within some 70 minutes."""
INTRO = "*A text reader, standing in for QVQ: it reads what is written in a picture, and cannot answer questions.*"
NO_PICTURE = "There is no picture to read here. Send one along with the question."
NO_TEXT = "I found no text in this picture. Text that is small, blurred or handwritten may escape me."
ESTIMATE = "The percentages are the reader's own estimate, which can be wrong too."
LEAST_SCORE = 0.5


def serve(server: socket.socket, url: str, reader: Reader) -> None:
    """Serve the Space on a listening socket until a signal comes; prints the URL once it answers."""
    app = gr.mount_gradio_app(FastAPI(), _page(reader), path="/", show_error=True, footer_links=["api", "gradio"])
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    _Server(config, url).run(sockets=[server])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._url, flush=True)


def _page(reader: Reader) -> gr.Blocks:
    def generate(picture: str | None, prompt: str) -> Iterator[str]:
        return _answer(reader, picture)

    # A page may ask again about the picture that it shows, so an answer's end is too early to delete it.
    with gr.Blocks(title=TITLE, delete_cache=(600, 3600)) as page:
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(label="Picture", type="filepath", image_mode=None, height=320)
                prompt = gr.Textbox(label="Question", placeholder="What does the sign say?")
                button = gr.Button("Ask", variant="primary")
                gr.Examples([[str(SAMPLE), "What does the sign say?"]], [picture, prompt])
            answer = gr.Markdown(label="Answer", show_label=True, container=True, latex_delimiters=[])
        gr.on([button.click, prompt.submit], generate, [picture, prompt], answer,
              api_name="generate", concurrency_limit=4)
    return page


def _answer(reader: Reader, picture: str | None) -> Iterator[str]:
    yield INTRO
    if picture is None:
        yield f"{INTRO}\n\n{NO_PICTURE}"
        return
    text = f"{INTRO}\n\nThe text in the picture:\n"
    readings, unreadable = 0, 0
    for place in reader.find(picture):
        line, score = reader.read(place)
        if not line or score < LEAST_SCORE:
            unreadable += 1
            continue
        text += f"\n- {_verbatim(line)} ({min(99, int(score * 100))}% sure)"
        yield text
