"""A server that speaks Gradio's protocol and says whatever a test wants, and a bounded client."""

import copy
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from network import Handler, WebServer

RIGHT = "The right answer."
GIB = 2**30
MOST_SECONDS = 120


class Reply:
    """A response: a body of bytes with its length, or of pieces, which are sent in chunks."""

    def __init__(self, body=b"", status=200, headers=()):
        self.body, self.status, self.headers = body, status, headers


def messages_of(*texts, final=None):
    """Return the messages of a job with these texts. The first one is sent whole."""
    found = [{"msg": "estimation", "rank": 0, "queue_size": 1, "rank_eta": 0.5},
             {"msg": "process_starts", "eta": 0.5}]
    before = None
    for text in texts:
        data = text if before is None else [["append", [], text.removeprefix(before)]]
        found.append(generating(data))
        before = text
    return [*found, completed(before if final is None else final)]


def generating(*data):
    output = {"data": list(data), "is_generating": True, "duration": 0.1}
    return {"msg": "process_generating", "output": output, "success": True}


def completed(*data):
    output = {"data": list(data), "is_generating": False, "duration": 0.1}
    return {"msg": "process_completed", "output": output, "success": True}


def failed(words):
    """Return the message of an app that raises an error with these words."""
    return {"msg": "process_completed", "output": {"error": words}, "success": False}


class HostileSpace(WebServer):
    """A server that answers as a Gradio Space does, but for what a test replaces.

    Attributes:
        config: what it answers to /config.
        info: what it answers to /info.
        messages: the events of each answer's stream. A dict is sent as JSON with the event's id,
            a piece of bytes as it is.
        replies: by the end of a path, a ``Reply``, a function that is called with the handler, or
            a list of them, of which the last one stays.
        requests: method and path of each request.
        heads, bodies: the headers and the body of each request.
    """

    def __init__(self, config, info):
        self.config, self.info = copy.deepcopy(config), copy.deepcopy(info)
        self.messages = messages_of(RIGHT[:3], RIGHT[:9], RIGHT)
        self.replies, self.requests, self.heads, self.bodies = {}, [], [], []
        self.closed = threading.Event()

        class Hostile(_Handler):
            space = self

        super().__init__(Hostile)

    def count(self, end):
        """Return the number of requests whose path has this end."""
        return sum(path.endswith(end) for _, path in self.requests)

    def __exit__(self, *error):
        self.closed.set()
        super().__exit__()


class _Handler(Handler):
    def serve(self, body):
        path = urlsplit(self.path).path
        self.space.requests.append((self.command, path))
        self.space.heads.append(dict(self.headers))
        self.space.bodies.append(body)
        for end, reply in list(self.space.replies.items()):
            if path.endswith(end):
                if isinstance(reply, list):
                    reply = reply.pop(0) if len(reply) > 1 else reply[0]
                reply(self) if callable(reply) else self.reply(reply)
                return
        self.serve_default(path)

    def serve_default(self, path):
        space = self.space
        if path.endswith("/queue/data"):
            self.reply(Reply(_events(space.messages), headers=[("Content-Type", EVENTS)]))
        elif "/heartbeat/" in path:
            self.reply(Reply([b"data: ALIVE\n\n"], headers=[("Content-Type", EVENTS)]))
        else:
            said = {
                "/config": space.config, "/info": space.info, "/upload": ["/tmp/picture.png"],
                "/queue/join": {"event_id": "the-event"}, "/cancel": {"success": True},
                "/app_id": {"app_id": space.config.get("app_id")}, "/login": {"success": True}}
            found = [value for end, value in said.items() if path.endswith(end)]
            self.reply(Reply(as_json(found[0])) if found else Reply(b"{}", 404))

    def reply(self, reply):
        """Send a reply."""
        whole = isinstance(reply.body, bytes)
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", **dict(reply.headers)}
        for name, value in headers.items():
            self.send_header(name, value)
        if whole:
            self.send_header("Content-Length", str(len(reply.body)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if whole:
            self.wfile.write(reply.body)
            return
        for piece in reply.body:
            if piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def drip(self, *pieces, pause=0.1, again=b" "):
        """Send pieces as they are, and then ``again`` for ever, each after a pause in seconds."""
        self.close_connection = True
        for piece in pieces:
            self.wfile.write(piece)
        while not self.space.closed.wait(pause):
            self.wfile.write(again)


EVENTS = "text/event-stream"
HUGE = "@1e400"
"""Stands for the number 1e400, which json.dumps cannot write."""


def as_json(value):
    """Return JSON that also has what no JSON should have: NaN, lone surrogates and 1e400."""
    return json.dumps(value).replace(f'"{HUGE}"', "1e400").encode()


def _events(messages):
    for message in messages:
        if isinstance(message, bytes):
            yield message
        else:
            yield b"data: %b\n\n" % as_json({"event_id": "the-event", **message})
    yield b'data: {"msg": "close_stream"}\n\n'


class BoundedClient:
    """Asks questions, each in a process that may take a bounded amount of memory.

    One process imports the package. It forks for each question.
    """

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, prompt="bomb", memory=GIB, filters="always", **options):
        """Ask. Return ``text``, ``error``, ``words``, ``worked`` (seconds of CPU) and more."""
        job = {"prompt": prompt, "memory": memory, "filters": filters, "options": options}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self):
        with self._process:
            self._process.kill()


def _measure(job):
    """Ask the question of a job. Return what happened."""
    from qvq_wrapper import ask

    warnings.simplefilter(job["filters"])
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + job["memory"]
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    statuses, found = [], {"error": None, "words": ""}
    worked = time.process_time()
    stream = ask(job["prompt"], on_status=statuses.append, **job["options"])
    try:
        for _ in stream.iterate():
            pass
    except BaseException as error:
        found = {"error": type(error).__name__, "words": str(error)[:3000]}
    end = time.monotonic() + MOST_SECONDS / 2
    while any(thread.name.startswith("qvq_wrapper") for thread in threading.enumerate()):
        if time.monotonic() > end:
            return {"error": "hangs", "words": "the thread of the call has not ended"}
        time.sleep(0.01)
    found["worked"] = time.process_time() - worked
    found["text"], found["statuses"] = stream.text[:1000], len(statuses)
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found


def _serve_jobs():
    import anyio  # noqa: F401

    import inside  # noqa: F401

    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as result, tempfile.TemporaryFile("w+") as printed:
            pid = os.fork()
            if pid == 0:
                signal.alarm(MOST_SECONDS)  # ends the process, whatever its threads do
                try:
                    os.dup2(printed.fileno(), 1)
                    os.dup2(printed.fileno(), 2)
                    json.dump(_measure(json.loads(line)), result)
                    result.flush()
                except BaseException:
                    traceback.print_exc()
                    sys.stderr.flush()
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            result.seek(0)
            printed.seek(0)
            found = {"error": "died", "words": str(status), "worked": 0}
            with suppress(ValueError):
                found = json.load(result)
            found["printed"] = printed.read()[:10_000]
            print(json.dumps(found), flush=True)


def replaced(target, path, value):
    """Return a copy of ``target`` in which the item at ``path``, keys and numbers, is ``value``."""
    result = copy.copy(target)
    if len(path) == 1:
        result[path[0]] = value
    else:
        result[path[0]] = replaced(target[path[0]], path[1:], value)
    return result


def paths_in(value, depth=6):
    """Yield the paths of all items in dicts and lists."""
    if isinstance(value, (dict, list)) and depth:
        for key in value if isinstance(value, dict) else range(len(value)):
            yield [key]
            for rest in paths_in(value[key], depth - 1):
                yield [key, *rest]


if __name__ == "__main__":
    _serve_jobs()
