"""The Space itself: its page, its endpoint ``/generate``, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gradio as gr

from .child import SAMPLE
from .reader import Reader

TITLE = "A reader, standing in for QVQ"
ABOUT = f"""# {TITLE}
This is not QVQ. It is a small program that reads the text in a picture, and understands neither the picture
nor the question. Pictures go no further than the machine it runs on, and are deleted after an hour or so."""
INTRO = "*A text reader, standing in for QVQ: it reads what is written in a picture, and answers no questions.*"
NO_PICTURE = "There is no picture to read. Send one along with the question."
NO_TEXT = "I found no text that I can read. Text that is small, blurred or handwritten can escape me."
ESTIMATE = "The percentages are my own estimate. What I cannot make out, I leave out."
LEAST_SCORE = 0.5


def build(reader: Reader) -> gr.Blocks:
    """The page, with the endpoint: a picture and a prompt in, Markdown out."""

    def generate(picture: str | None, prompt: str) -> Iterator[str]:
        yield from _answer(reader, picture)

    # A page may ask again about the picture it shows, so the end of an answer is too early to delete it.
    page = gr.Blocks(title=TITLE, delete_cache=(600, 3600))
    with page:
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(label="Picture", type="filepath", image_mode=None, height=300,
                                   sources=["upload", "clipboard"])
                prompt = gr.Textbox(label="Question", placeholder="What does the sign say?")
                button = gr.Button("Ask", variant="primary")
            with gr.Column():
                answer = gr.Markdown("*The answer appears here.*", label="Answer", container=True, padding=True,
                                     min_height=300, latex_delimiters=[])
                gr.Examples([[str(SAMPLE), "What does the sign say?"]], [picture, prompt], label="Try this one")
        gr.on([button.click, prompt.submit], generate, [picture, prompt], answer,
              api_name="generate", concurrency_limit=4)
    return page


def _answer(reader: Reader, picture: str | None) -> Iterator[str]:
    yield INTRO
    if picture is None:
        yield f"{INTRO}\n\n{NO_PICTURE}"
        return
    text = f"{INTRO}\n"
    for cutting in reader.find(picture):
        line, score = reader.read(cutting)
        if line and score >= LEAST_SCORE:
            text += f"\n- {_verbatim(line)} ({min(99, int(score * 100))}% sure)"
            yield text
    yield f"{text}\n\n{ESTIMATE}" if "\n-" in text else f"{text}\n{NO_TEXT}"


def _verbatim(line: str) -> str:
    """A code span, in which nothing is markup (https://spec.commonmark.org/0.31.2/#code-spans)."""
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"
