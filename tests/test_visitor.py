"""What a visitor of an own Space can send: nothing private comes back or goes to the model.

test_serve.py has a short form of this for the default run.
"""

import asyncio
import base64
import io
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from conftest import BOUND, HERE
from PIL import Image, PngImagePlugin

import qvq_wrapper
from qvq_wrapper import Qwen_QVQ_72B, ResponseError
from qvq_wrapper.serve import SAMPLE
from qvq_wrapper.serve.addresses import is_public
from qvq_wrapper.serve.uploads import Refused, Uploads

attack = pytest.mark.attack
KEY = "sk-secret-0123456789"
CANARY = "canary-7f3a9c1e"
META = {"meta": {"_type": "gradio.FileData"}}
API = "/gradio_api"
BOUNDS = {"MAX_FILE": 200_000, "MAX_FOLDER": 10_000_000, "MAX_DECODED": 1_000_000}


def picture(width=40, height=20, text=""):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


PRIVATE = picture(text=CANARY)
PUBLIC = SAMPLE.read_bytes()


class Site(BaseHTTPRequestHandler):
    """As 127.0.0.1 a private site, and as 127.0.0.2 a public one."""

    asked = []
    at_once = threading.Barrier(4)

    def do_GET(self):
        self.asked.append(self.headers["Host"] + self.path)
        private = self.connection.getsockname()[0] == "127.0.0.1"
        body = PRIVATE if private else PUBLIC
        if self.path.startswith("/at_once"):
            self.at_once.wait(BOUND)
            body += self.path.encode() * 3000
        elif self.path in ("/large.png", "/far.png"):
            body += bytes(2 * 2**20)
        status = {"/missing.png": 404, "/redirect.png": 302, "/far.png": 302}.get(self.path, 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/private.png")
        if self.path == "/compressed.png":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site():
    with ThreadingHTTPServer(("0.0.0.0", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Visit:
    """A Space, and a visitor who keeps every byte that comes back."""

    def __init__(self, url, log):
        self.url, self.log, self.seen = url, log, []
        # Uvicorn closes a connection after an exception.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=url, timeout=BOUND, limits=limits)
        config = self.client.get("/config").json()
        self.functions = [each for each in config["dependencies"] if each["backend_fn"]]
        self.example = re.search(r'"path": ?"([^"]*sample.png)"', json.dumps(config))[1]

    def request(self, method, path, **options):
        with self.client.stream(method, path, **options) as response:
            data = b"".join(response.iter_raw(2**16) if "heartbeat" not in path else [])
        self.seen.append(str(response.headers).encode() + data)
        return response.status_code, data

    def post(self, path, content):
        return self.request("POST", API + path, json=content)

    def upload(self, data, name="a picture.png"):
        files = {"files": (name, data)}
        return json.loads(self.request("POST", f"{API}/upload", files=files)[1])[0]

    def ask(self, value, route="join", function=None, place=0):
        """Send a value in one place of a function's input, and return what comes back."""
        generate = next(each for each in self.functions if each["api_name"] == "generate")
        function = function or generate
        data = [value if n == place else None for n in range(len(function["inputs"]))]
        if function is generate and place != 1:
            data[1] = "What is it?"
        name, session = function["api_name"], uuid.uuid4().hex
        path = "/queue/join" if route == "join" else f"/{route}/{name}"
        content = {"data": data, "session_hash": session, "fn_index": function["id"]}
        if route == "call/v2":
            content = {"image": value, "picture": value, "prompt": "What is it?"}
        status, said = self.post(path, content)
        if status == 200 and route == "join":
            said = self.request("GET", f"{API}/queue/data?session_hash={session}")[1]
        elif status == 200 and route.startswith("call"):
            event = json.loads(said)["event_id"]
            said = self.request("GET", f"{API}/{route}/{name}/{event}")[1]
        return said.decode()


@contextmanager
def started(*command, log):
    """Run a Space's command. Its environment holds the canary."""
    with open(log, "w") as errors, subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=errors, text=True,
            env=os.environ | {"PRIVATE": CANARY, "OPENAI_API_KEY": KEY}) as process:
        try:
            yield process.stdout.readline().strip().rstrip("/").replace("0.0.0.0", "127.0.0.1")
        finally:
            process.terminate()


READER = pytest.param("reader", marks=pytest.mark.test_all)  # needs the extra demo


@pytest.fixture(scope="module", params=["model", READER])
def visit(request, server, site, tmp_path_factory):
    """A Space with bounds that a test can reach, which all machines can reach."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "picture.png").write_bytes(PRIVATE)
    (folder / "text").write_text(CANARY)
    command = [HERE / "spaces" / "visited.py", json.dumps(BOUNDS), "--host", "0.0.0.0"]
    model = ["--base-url", server.url, "--model", "m", "--system", ""]
    options = ["--port", "0", *(model if request.param == "model" else [])]
    with started(*command, *options, log=folder / "log") as url:
        visit = Visit(url, folder / "log")
        visit.name, visit.private, visit.site = request.param, folder, site
        visit.folder, visit.options = Path(visit.example).parents[1], options
        yield visit
        visit.client.close()


def private_paths(visit):
    links = [visit.folder / name for name in ("link.png", "linked")]
    for link, target in zip(links, (visit.private / "picture.png", visit.private)):
        if not link.is_symlink():
            link.symlink_to(target)
    out = "../" * 20
    private = str(visit.private / "picture.png")
    return [
        private, str(visit.private / "text"), "/proc/self/environ", "/proc/self/cmdline",
        "/etc/passwd", f"{visit.folder}/{out}{private}", f"{out}{private}",
        f"file://{private}", f"FILE://{private}", f"~/../..{private}", str(links[0]),
        f"{links[1]}/picture.png", str(visit.folder), f"{private}\0.png", "a" * 5000,
        qvq_wrapper.__file__, str(SAMPLE)]


def private_urls(visit):
    hosts = ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]",
             "[::ffff:127.0.0.1]", "0.0.0.0", "user@127.0.0.1"]
    far = ["10.0.0.1", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.100.100.200",
           "[fe80::1]", "[fd00::1]"]
    return [
        *(f"http://{host}:{visit.site}/private.png" for host in hosts),
        *(f"http://{host}/private.png" for host in far), f"{visit.url}/config", "http://",
        "https://[", f"http://127.0.0.2:{visit.site}/redirect.png",
        f"HTTP://127.0.0.1:{visit.site}/private.png"]


def forms(value):
    """Return the objects by which Gradio or a component could take a path or a URL."""
    named = {"path": value, **META}
    return [
        named, {"path": value}, {"path": value, "orig_name": "a.svg", "is_stream": True, **META},
        {"path": value, "url": value, **META}, {"url": value, "path": None, **META},
        {"a": {"b": named}}, [[named]], [{"image": named}], {"value": named, "__type__": "update"},
        {"background": named, "layers": [named], "composite": None}, value]


@attack
@pytest.mark.parametrize("kind", [private_paths, private_urls])
def test_nothing_private_by_any_route_and_input(visit, server, kind):
    """Each value in each form, and some by each route in each place."""
    visit.seen.clear()
    Site.asked.clear()
    asked, values, folder = len(server.requests), kind(visit), str(visit.folder)
    places = [(function, place) for function in visit.functions
              for place in range(len(function["inputs"]))]
    routes = itertools.cycle(["join", "run", "api", "call", "call/v2"])
    for value in values:
        for form in forms(value):
            assert folder not in (said := visit.ask(form, next(routes))), (form, said)
        for form in ("file={}", "file/{}", "proxy={}", "file=file://{}"):
            for method in ("GET", "HEAD") if "\0" not in value else ():
                path = f"{API}/{form.format(value)}"
                assert visit.request(method, path)[0] in (403, 404), path
    for value, (function, place), _ in itertools.product(values[:3], places, range(5)):
        said = visit.ask(forms(value)[0], next(routes), function, place)
        assert folder not in said.replace(visit.example, ""), (value, said)
    path = {"path": str(visit.private / "picture.png"), **META}
    for place in ("meta", "event_data", "extra"):
        content = {"data": [None, "Hi"], place: path, "session_hash": "a"}
        status, said = visit.post("/run/generate", content)
        assert status == 400 and "uploaded" in said.decode(), place
    for url in private_urls(visit)[:7]:
        said = visit.ask({"path": url, **META})
        assert "The picture at this URL is not fetched: its address is not on the public" in said
    assert not [host for host in Site.asked if "127.0.0.2" not in host]
    # A visitor would follow each path that came back.
    for path in set(re.findall(rb"/tmp/[\w./-]+", b"".join(visit.seen))):
        visit.request("GET", f"{API}/file={path.decode()}")
    said, sent = str(b"".join(visit.seen)), json.dumps(server.requests[asked:])
    assert "base64" not in sent
    for secret in (CANARY, KEY, "root:x:0"):
        assert secret not in said and secret not in sent
        assert secret == CANARY or secret not in visit.log.read_text()
    for path in (visit.private, Path(qvq_wrapper.__file__).parent, sys.prefix):
        assert str(path) not in said


@attack
def test_a_request_that_is_refused(visit):
    """The address is not one of the page's, or the body is no JSON, or too much."""
    for path in [
            "component_server", "process_recording", "vibe-edit", "vibe-code", "stream/an-event",
            "queue/../component_server", "run-history/connect", "unknown"]:
        status, _ = visit.post(f"/{path}", {"data": [{"path": "/etc/passwd"}]})
        assert status in (404, 405), path
        assert visit.request("PUT", f"{API}/{path}")[0] == 404, path
    for path in ("deep_link?session_hash=a", "vibe-code", "dev/reload", "runs"):
        assert visit.request("GET", f"{API}/{path}")[0] == 404, path
    assert visit.request("GET", "/monitoring/summary")[0] == 404
    nested = b"[" * 100_000, b'{"data": [' + b'{"a":' * 20_000
    for body in (b"", b"{", *nested, b"\xff\xfe", b"1" * 5000):
        status, _ = visit.request("POST", f"{API}/queue/join", content=body)
        assert status in (400, 422), body[:20]
    for path, status, body in [
            (f"{API}/run/generate", 413, {"content": bytes(5 * 2**20)}),
            ("/login", 413, {"content": bytes(2**17)}),
            (f"{API}/upload", 413, {"files": {"files": bytes(200_001)}}),
            (f"{API}/upload", 413, {"files": {"files": bytes(300_000)}}),
            (f"{API}/upload", 400, {"files": [("files", (f"{n}", b"x")) for n in range(1001)]}),
            (f"{API}/upload", 411, {"content": iter([b"x"])})]:
        assert visit.request("POST", path, **body)[0] == status, (path, status)
    url = f"http://127.0.0.2:{visit.site}/many.png"
    said = visit.ask([{"path": f"{url}?{number}", **META} for number in range(100)])
    assert "one picture" in said and not any("many" in path for path in Site.asked)


@attack
def test_a_picture_of_the_visitor_is_used(visit, server):
    path = visit.upload(PUBLIC)
    data = base64.b64encode(PUBLIC).decode()
    example = json.loads(visit.post("/run/load_example", {"data": [0]})[1])["data"][0]["value"]
    page = {"path": path, "url": f"{visit.url}{API}/file={path}", "orig_name": "a.png", "size": 1,
            "mime_type": "image/png", **META}  # with the address of its own Space
    assert visit.request("GET", f"{API}/file={path}") == (200, PUBLIC)
    forms = {
        "upload": {"path": path, **META}, "example": example, "page": page,
        "url": {"path": f"http://127.0.0.2:{visit.site}/{uuid.uuid4()}.png", **META},
        "data": {"url": f"data:image/png;base64,{data}", **META}}
    for how, form in forms.items():
        said = visit.ask(form)
        words = "OPEN DAILY" if visit.name == "reader" else "You asked: What is it?"
        assert words in said, how
        if visit.name == "model":
            content = server.requests[-1]["messages"][-1]["content"]
            sent = content[0]["image_url"]["url"].partition("base64,")[2]
            assert base64.b64decode(sent) == PUBLIC, how


@attack
def test_a_url_that_cannot_be_used(visit):
    for name, words in [
            ("redirect.png", "not on the public internet"), ("missing.png", "HTTP 404"),
            ("compressed.png", "compresses it"), ("large.png", "has more than"),
            ("far.png", "has more than")]:
        url = f"http://127.0.0.2:{visit.site}/{name}"
        with pytest.raises(ResponseError, match=words):
            asyncio.run(Qwen_QVQ_72B.ask("Hi", url, url=visit.url).read())


@attack
def test_a_file_that_cannot_be_used(visit, server):
    """The header of a damaged one is right, and so is that of a decompression bomb."""
    buffer = io.BytesIO()
    Image.effect_noise((300, 300), 99).convert("RGB").save(buffer, "WEBP")
    damaged = buffer.getvalue()[:-999]
    asked = len(server.requests)
    for data in (b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", PUBLIC[:20], damaged):
        said = visit.ask({"path": visit.upload(data), **META})
        assert "The picture cannot be read" in said, data[:20]
        assert str(visit.folder) not in said, data[:20]
    bomb = picture(10_000, 10_000)
    data = f"data:image/png;base64,{base64.b64encode(bomb).decode()}"
    for form in ({"path": visit.upload(bomb), **META}, {"url": data, **META}):
        assert "The picture has more than 1,000,000 pixels." in visit.ask(form)
    assert len(server.requests) == asked


@attack
def test_no_unexpected_error_is_told(visit):
    """Each of these is an exception inside Gradio."""
    for path, content in [
            ("/run/load_example", {"data": [99]}), ("/run/generate", {"data": []}),
            ("/run/nothing", {"data": []}), ("/call/v2/nothing", {}),
            ("/run/generate", {"data": [{"path": visit.example, "size": "x"}, *[None] * 4]})]:
        _, said = visit.post(path, content)
        assert re.fullmatch(rb'\{"error":null\}|Internal Server Error', said), said


@attack
def test_a_path_is_refused_by_gradio_as_well(visit, server, tmp_path):
    """If the check in front of Gradio knew an input too little."""
    code = (
        "from qvq_wrapper.serve import visitors\n"
        "async def call(self, scope, receive, send): await self._app(scope, receive, send)\n"
        "visitors.Visitors.__call__ = call\n"
        "from qvq_wrapper.serve.__main__ import main\nmain()")
    with started("-c", code, *visit.options, log=tmp_path / "log") as url:
        other, asked = Visit(url, tmp_path / "log"), len(server.requests)
        said = other.ask({"path": str(visit.private / "picture.png"), **META})
        assert "process_completed" in said and '"success":false' in said
        assert str(visit.private) not in said and len(server.requests) == asked
        other.client.close()
    # A warning comes only where other machines can reach the Space.
    counts = [each.log.read_text().count("--auth-file") for each in (visit, other)]
    assert counts == [1, 0]


@attack
def test_the_folder_has_a_bound(visit):
    """Many visitors upload at once. Half of them send files that are almost empty.

    Then there is room for one of four pictures that are taken from a URL or a data URI at once.
    """
    bound, before = BOUNDS["MAX_FOLDER"], set(visit.folder.rglob("*"))

    def upload(number):
        files = [("files", ("a", number.to_bytes(4, "big") * 40_000))]
        if number % 2:
            files = [("files", (f"{part}", b"%d %d" % (number, part))) for part in range(990)]
        return httpx.post(f"{visit.url}{API}/upload", files=files, timeout=BOUND).status_code

    def taken():
        files = [path for path in visit.folder.rglob("*") if path.is_file()]
        return sum(max(4096, path.stat().st_size) for path in files)

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(upload, range(60))) == {200, 507}
    assert 4_000_000 < taken() <= bound
    for path in set(visit.folder.rglob("*")) - before:
        path.is_file() and path.unlink()
    urls = [f"http://127.0.0.2:{visit.site}/at_once/{uuid.uuid4()}.png" for _ in range(4)]
    noise = [picture(400, 400, uuid.uuid4().hex * 4000) for _ in range(4)]
    data = [f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in noise]
    for forms in ([{"path": url, **META} for url in urls], [{"url": each} for each in data]):
        full = visit.folder / "full"
        full.write_bytes(bytes(bound - taken() - 220_000))
        with ThreadPoolExecutor(4) as pool:
            refused = ["folder is full" in said for said in pool.map(visit.ask, forms)]
        assert taken() <= bound and sum(refused) == 3, forms[0]
        full.unlink()


# Without a Space


@pytest.mark.anyio
@pytest.mark.backends("asyncio")
async def test_a_disk_that_is_nearly_full_has_room_for_a_picture(tmp_path, monkeypatch):
    for free, refusal in ((2**33, nullcontext()), (2**20, pytest.raises(Refused, match="full"))):
        monkeypatch.setattr(
            "shutil.disk_usage", lambda _, free=free: SimpleNamespace(total=2**40, free=free))
        with refusal:
            await Uploads(tmp_path).keep(b"a picture")


def test_old_files_are_deleted(tmp_path):
    """Also those that Gradio does not know, such as an upload that broke off."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    uploads = Uploads(folder)
    old = [folder / name for name in ("own/sample.png", "a/old.png", "b/old.png", "broken")]
    for path in [*old, folder / "b/new.png"]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        if path == old[0]:
            uploads.keep_present()
        if path in old:
            os.utime(path, (1, 1))
    for _ in range(2):  # a folder goes with its last file
        uploads.delete_old()
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert found == {"own", "own/sample.png", "b", "b/new.png"}


def test_public_addresses():
    public = ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"]
    private = [
        "::1", "10.0.0.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "240.0.0.1",
        "fe80::1", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1",
        "2001:0:1:1::80ff:fffe"]
    assert [address for address in public + private if is_public(address)] == public
