"""A Gradio Space that does what the prompt tells it, and keeps a log of what it saw.

A prompt that begins with ``script:`` goes on with a JSON list of steps: a string is the whole text so far,
a number is a sleep in seconds, and a dict does what its key says (see ``_do``). Any other prompt is echoed
word by word.
"""

import argparse
import hashlib
import inspect
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import gradio as gr

options = argparse.Namespace(running=False)
_lock = threading.Lock()


def log(event, **facts):
    with _lock, open(options.log, "a") as file:
        file.write(json.dumps({"event": event, "time": time.time(), **facts}) + "\n")


def _do(step):
    """Carry out one step; gives what the endpoint is to output, or None."""
    if "raise" in step:
        raise gr.Error(step["raise"])
    if "hidden" in step:
        raise ValueError(step["hidden"])
    if "info" in step:
        gr.Info(step["info"])
    if "exit" in step:
        os._exit(1)
    if "grow" in step:
        return "x" * step["grow"]
    return step.get("output")


def _look(image):
    if image is None:
        return {"image": None}
    data = Path(image).read_bytes()
    return {"image": Path(image).name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def generate(image, prompt, request: gr.Request, progress=gr.Progress()):
    log("asked", prompt=prompt, headers=dict(request.headers), **_look(image))
    try:
        if prompt.startswith("script:"):
            for step in json.loads(prompt.removeprefix("script:")):
                log("step", prompt=prompt)
                if isinstance(step, str):
                    yield step
                elif isinstance(step, dict):
                    if "progress" in step:
                        progress(step["progress"], desc="thinking")
                    output = _do(step)
                    if output is not None or "output" in step:
                        yield output
                else:
                    time.sleep(step)
        else:
            text = ""
            for word in f"You asked: {prompt}".split(" "):
                text += word if not text else " " + word
                yield text
                time.sleep(0.01)
        log("finished", prompt=prompt)
    finally:
        log("left", prompt=prompt)


def endless(image, prompt):
    """Goes on until it is cancelled, but for half a minute at most."""
    log("asked", prompt=prompt, **_look(image))
    text = ""
    try:
        for number in range(1500):
            text += f"{number} "
            yield text
            log("step", prompt=prompt)
            time.sleep(0.02)
        log("finished", prompt=prompt)
    finally:
        log("left", prompt=prompt)


def once(image, prompt):
    log("asked", prompt=prompt)
    return f"At once: {prompt}"


def swapped(prompt, image):
    log("swapped", prompt=prompt, **_look(image))
    return prompt


def long_enough(image, prompt):
    return [gr.validate(True, ""), gr.validate(len(prompt) > 5, "the prompt is too short")]


def with_more(image, state, prompt, temperature, headers):
    log("asked", prompt=prompt, temperature=temperature)
    yield f"{prompt} at {temperature}, {headers}"


# With one letter changed on its way to the client, it names a file of the client's machine.
FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.XileData"}}


def build():
    with gr.Blocks() as app:
        image = gr.Image(type="filepath", image_mode=None)
        prompt = gr.Textbox()
        state = gr.State()
        temperature = gr.Slider(0, 2, value=0.5)
        headers = gr.Textbox("no headers")
        number = gr.Number()
        answer = gr.Markdown()
        if options.first:
            gr.Button().click(lambda image, prompt: "the wrong function", [image, prompt], answer, api_name="another")
        gr.Button().click(generate, [image, prompt], answer, api_name=options.endpoint)
        gr.Button().click(generate, [image, prompt], gr.JSON(), api_name="json")
        gr.Button().click(generate, [image, prompt], gr.Textbox(), api_name="text")
        gr.Button().click(endless, [image, prompt], answer, api_name="endless")
        gr.Button().click(once, [image, prompt], answer, api_name="once")
        gr.Button().click(swapped, [prompt, image], answer, api_name="swapped")
        if "validator" in inspect.signature(gr.Button.click).parameters:
            gr.Button().click(once, [image, prompt], answer, api_name="validated", validator=long_enough)
        gr.Button().click(lambda image, prompt, the_number: "", [image, prompt, gr.Number()], answer, api_name="needy")
        gr.Button().click(with_more, [image, state, prompt, temperature, headers], answer, api_name="more")
        gr.Button().click(lambda image, prompt, more: "", [image, prompt, gr.JSON(FILE)], answer, api_name="file")
        gr.Button().click(lambda number: number, [number], [number], api_name="number")
        gr.Button().click(lambda image, prompt: image, [image, prompt], [image], api_name="picture")
        app.unload(lambda: log("unloaded"))
    return app


def serve(arguments):
    """Run one Space; prints its process and its address."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--queue", type=int, help="places in the queue")
    parser.add_argument("--at-once", type=int, help="answers at once")
    parser.add_argument("--max-file-size", type=int)
    parser.add_argument("--login", nargs=2)
    parser.add_argument("--certificate", nargs=2, help="files of the certificate and its key")
    parser.add_argument("--first", action="store_true", help="another function before the others: other numbers")
    parser.add_argument("--hide-errors", action="store_true")
    parser.add_argument("--endpoint", default="generate")
    parser.parse_args(arguments, options)
    if hasattr(gr.processing_utils, "PUBLIC_HOSTNAME_WHITELIST"):  # the tests' pictures come from loopback
        gr.processing_utils.PUBLIC_HOSTNAME_WHITELIST.append("127.0.0.1")
    app, url = launch()
    options.running = True
    print(os.getpid(), url, gr.__version__, file=announcements, flush=True)
    while True:
        signal.sigwait([signal.SIGUSR1])  # as a notebook does it: the same process and port, other functions
        options.first = not options.first
        app.close()
        app, _ = launch()
        log("launched again")


def launch():
    app = build()
    app.queue(max_size=options.queue, default_concurrency_limit=options.at_once)
    certificate, key = options.certificate or (None, None)
    _, url, _ = app.launch(
        server_name="127.0.0.1", server_port=options.port or None, max_threads=300, quiet=True,
        show_error=not options.hide_errors, max_file_size=options.max_file_size,
        auth=tuple(options.login) if options.login else None, ssl_certfile=certificate, ssl_keyfile=key,
        ssl_verify=False, prevent_thread_lock=True)
    return app, url


# A Space for each line on stdin, each in a process of its own that need not import gradio again.
announcements = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # gradio 4 has things to say
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for line in sys.stdin:
    if os.fork() == 0:
        random.seed()  # a Space's app_id is a random number
        try:
            serve(json.loads(line))
        finally:
            if not options.running:
                print("failed", file=announcements, flush=True)
            os._exit(1)
