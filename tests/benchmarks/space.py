"""The Space that is measured. Its prompt is a JSON object that says how the answer shall be."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import gradio as gr


async def generate(image: str | None, prompt: str) -> AsyncIterator[str]:
    """An answer of ``tokens`` words of ``size`` characters, ``delay`` seconds apart.

    With ``stamp`` each word is the time at which it was said. ``mark`` is a file that gets the time
    at which the answer ended, by itself or not.
    """
    knobs = json.loads(prompt)
    word, text = "x" * (knobs.get("size", 8) - 1) + " ", ""
    try:
        for _ in range(knobs["tokens"]):
            text += f"{time.time():.3f} " if knobs.get("stamp") else word
            yield text
            if knobs.get("delay"):
                await asyncio.sleep(knobs["delay"])
    finally:
        if knobs.get("mark"):
            Path(knobs["mark"]).write_text(str(time.time()))


def serve(port: int, state: bool) -> None:
    """Serve the endpoint. With ``state`` each client is to keep a heartbeat, as of a chat."""
    with gr.Blocks(analytics_enabled=False) as demo:
        if state:
            gr.State()
        parts = gr.Image(type="filepath"), gr.Textbox(), gr.Textbox()
        gr.Button().click(generate, parts[:2], parts[2], api_name="generate")
    demo.queue(default_concurrency_limit=None)
    demo.launch(
        server_name="127.0.0.1", server_port=port, max_threads=2000, quiet=True,
        prevent_thread_lock=True, ssr_mode=False)


if __name__ == "__main__":
    serve(int(sys.argv[1]), state=False)
    serve(int(sys.argv[2]), state=True)
    print("ready", flush=True)
    sys.stdin.read()  # ends with the process that started this one
