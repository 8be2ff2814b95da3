"""A Gradio Space that does what the prompt says, and logs what happens.

A prompt ``script:[...]`` holds a JSON list of steps. A string is the whole answer so far. A number
is a pause in seconds. A dict does what its key says (see ``_do``). Any other prompt is echoed word
by word.

The process starts a Space for each line on stdin: a JSON list of arguments (see ``serve``).
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

import batch
import gradio as gr
import shapes
from starlette.middleware import Middleware

options = argparse.Namespace(running=False)
_lock = threading.Lock()


def log(event, **fields):
    with _lock, open(options.log, "a") as file:
        file.write(json.dumps({"event": event, "time": time.time(), **fields}) + "\n")


def _do(step):
    """Carry out one step. Return the endpoint's next output, or None if it has none."""
    if "raise" in step:
        raise gr.Error(step["raise"])
    if "hidden" in step:
        raise ValueError(step["hidden"])
    if "info" in step:
        gr.Info(step["info"])
    if "grow" in step:
        return "x" * step["grow"]
    if "until" in step:  # a test makes this file
        end = time.monotonic() + 60
        while not Path(step["until"]).exists() and time.monotonic() < end:
            time.sleep(0.01)
    return step.get("output")


def _describe(image):
    """Return the log fields for a picture."""
    if image is None:
        return {"image": None}
    data = Path(image).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {"image": Path(image).name, "size": len(data), "sha256": digest}


def generate(image, prompt, request: gr.Request, progress=gr.Progress()):
    log("asked", prompt=prompt, headers=dict(request.headers), session=request.session_hash,
        **_describe(image))
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
    """Count until the job is cancelled, for half a minute at most."""
    log("asked", prompt=prompt, **_describe(image))
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


def check_length(image, prompt):
    long_enough = gr.validate(len(prompt) > 5, "the prompt is too short")
    return [gr.validate(True, ""), long_enough]


def unloaded(request: gr.Request):
    log("unloaded", session=request.session_hash)


def with_more(image, state, prompt, temperature, headers):
    log("asked", prompt=prompt, temperature=temperature)
    yield f"{prompt} at {temperature}, {headers}"


# A test changes the X to an F on the way. Then this names a file on the client's machine.
FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.XileData"}}


def build():
    """Return the app. Each endpoint has the name of what a test needs it for."""

    def add(function, inputs, outputs, api_name, **options):
        gr.Button().click(function, inputs, outputs, api_name=api_name, **options)

    with gr.Blocks() as app:
        image = gr.Image(type="filepath", image_mode=None)
        prompt = gr.Textbox()
        state = gr.State()
        temperature = gr.Slider(0, 2, value=0.5)
        headers = gr.Textbox("no headers")
        number = gr.Number()
        answer = gr.Markdown()
        both = [image, prompt]
        if options.first:
            add(lambda image, prompt: "the wrong function", both, answer, "another")
        add(generate, both, answer, options.endpoint)
        add(generate, both, gr.JSON(), "json")
        add(generate, both, gr.Textbox(), "text")
        add(endless, both, answer, "endless")
        add(once, both, answer, "once")
        if "validator" in inspect.signature(gr.Button.click).parameters:
            add(once, both, answer, "validated", validator=check_length)
        add(lambda image, prompt, the_number: "", [*both, gr.Number()], answer, "needy")
        add(with_more, [image, state, prompt, temperature, headers], answer, "more")
        add(lambda image, prompt, more: "", [*both, gr.JSON(FILE)], answer, "file")
        add(lambda number: number, [number], [number], "number")
        app.unload(unloaded)
    return app


def serve(arguments):
    """Run one Space. Print its process id, its address and the version of gradio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--queue", type=int, help="places in the queue")
    parser.add_argument("--at-once", type=int, help="how many answers it gives at once")
    parser.add_argument("--max-file-size", type=int)
    parser.add_argument("--login", nargs=2)
    parser.add_argument("--certificate", nargs=2, help="the files of certificate and key")
    parser.add_argument(
        "--first", action="store_true",
        help="put another function before the others, which changes their numbers")
    parser.add_argument("--hide-errors", action="store_true")
    parser.add_argument("--endpoint", default="generate")
    parser.add_argument(
        "--door", nargs="+", type=int, help="start with batch.Door(count, seconds)")
    parser.add_argument("--shapes", nargs="*", help="start shapes.py, with these endpoints or all")
    parser.parse_args(arguments, options)
    if hasattr(gr.processing_utils, "PUBLIC_HOSTNAME_WHITELIST"):
        # The tests' pictures are on a web server at this address.
        gr.processing_utils.PUBLIC_HOSTNAME_WHITELIST.append("127.0.0.1")
    app, url = launch()
    options.running = True
    print(os.getpid(), url, gr.__version__, file=announcements, flush=True)
    while True:
        # Launch again with other functions in the same process on the same port, as notebooks do.
        signal.sigwait([signal.SIGUSR1])
        options.first = not options.first
        app.close()
        app, _ = launch()
        log("launched again")


def launch():
    app = build() if options.shapes is None else shapes.build(options.shapes)
    app.queue(max_size=options.queue, default_concurrency_limit=options.at_once)
    certificate, key = options.certificate or (None, None)
    door = [Middleware(batch.Door, log, *options.door)] if options.door else []
    _, url, _ = app.launch(
        server_name="127.0.0.1", server_port=options.port or None, max_threads=300, quiet=True,
        show_error=not options.hide_errors, max_file_size=options.max_file_size,
        auth=tuple(options.login) if options.login else None,
        ssl_certfile=certificate, ssl_keyfile=key, ssl_verify=False, prevent_thread_lock=True,
        app_kwargs={"middleware": door})
    return app, url


# Each Space is a fork of this process, so that gradio is imported only once.
announcements = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # gradio 4 prints to stdout
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for line in sys.stdin:
    if os.fork() == 0:
        random.seed()  # app_id is a random number: each Space needs its own
        try:
            serve(json.loads(line))
        finally:
            if not options.running:
                print("failed", file=announcements, flush=True)
            os._exit(1)
