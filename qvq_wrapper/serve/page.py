"""The local Space itself: its web page, its endpoint ``/generate`` and its answers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import gradio as gr

from .child import SAMPLE
from .reader import Reader

TITLE = "A text reader in place of QVQ"
ABOUT = f"""# {TITLE}
This is not QVQ. It is a small program that reads the text in a picture. It understands neither the
picture nor the question. Pictures stay on its machine, and are deleted after about an hour."""
INTRO = "*A text reader in place of QVQ: it reads the text in a picture and answers no questions.*"
NO_PICTURE = "There is no picture. Send one with the question."
NO_TEXT = "I found no readable text. I can miss text that is small, blurred or handwritten."
ESTIMATE = "The percentages are my own estimates. I leave out lines that I cannot read."
MIN_SCORE = 0.5  # of a line that is shown, from 0 to 1


def build_page(reader: Reader) -> gr.Blocks:
    """Return the page. Its endpoint takes a picture and a prompt and yields growing Markdown."""

    def generate(picture: str | None, prompt: str) -> Iterator[str]:
        yield from _answer(reader, picture)

    # Pictures outlive their answer, because the page can ask again about the picture it shows.
    page = gr.Blocks(title=TITLE, delete_cache=(600, 3600))  # (interval, age) in seconds
    with page:
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(label="Picture", type="filepath", image_mode=None, height=300,
                                   sources=["upload", "clipboard"])
                prompt = gr.Textbox(label="Question", placeholder="What does the sign say?")
                button = gr.Button("Ask", variant="primary")
            with gr.Column():
                answer = gr.Markdown("*The answer appears here.*", label="Answer", container=True,
                                     padding=True, min_height=300, latex_delimiters=[])
                gr.Examples([[str(SAMPLE), prompt.placeholder]], [picture, prompt], label="Example")
        gr.on([button.click, prompt.submit], generate, [picture, prompt], answer,
              api_name="generate", concurrency_limit=4)
    return page


def _answer(reader: Reader, picture: str | None) -> Iterator[str]:
    yield INTRO
    if picture is None:
        yield f"{INTRO}\n\n{NO_PICTURE}"
        return
    text = f"{INTRO}\n"
    for line_image in reader.find_lines(picture):
        line, score = reader.read_line(line_image)
        if line and score >= MIN_SCORE:
            text += f"\n- {_code_span(line)} ({min(99, int(score * 100))}% sure)"
            yield text
    yield f"{text}\n\n{ESTIMATE}" if "\n-" in text else f"{text}\n{NO_TEXT}"


def _code_span(line: str) -> str:
    """Return ``line`` as a code span (https://spec.commonmark.org/0.31.2/#code-spans)."""
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"
