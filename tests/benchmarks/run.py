"""Measure qvq_wrapper beside what a user would take instead, and beside the bare protocol.

Run ``python tests/benchmarks/run.py``, on Linux, where ``qvq_wrapper[bench]`` is installed. The
first run makes the peers' environments, in the temporary directory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from relay import Relay, certificate

HERE = Path(__file__).resolve().parent
CACHE = Path(tempfile.gettempdir())
G4F = CACHE / "qvq-bench-g4f-0.5.2.1"
JS = CACHE / "qvq-bench-js"
NAMES = ["limit", "call", "stock-new", "stock-kept", "g4f", "js", "this"]
IMPORTS = {
    "limit": "import httpx", "call": "import httpx", "stock-new": "import gradio_client",
    "stock-kept": "import gradio_client", "this": "import qvq_wrapper",
    "g4f": "from g4f.Provider.hf_space.Qwen_QVQ_72B import Qwen_QVQ_72B",
    "js": "import '@gradio/client'"}
PAGE = os.sysconf("SC_PAGE_SIZE")
Row = tuple[str, str, str, float]
Values = dict[str, dict[str, list[float | None]]]  # of a row and a contender, for each round


@dataclass
class Scenario:
    """What is asked, and which of the results are shown.

    Attributes:
        steps: what contenders.py runs, one after the other, each with results of its own.
        rows: label, step, metric, and the factor to the label's unit.
        line: None for straight to the Space, else ``count``, ``long`` or ``state``.
        most: seconds after which a contender is given up.
        rounds: at most so many.
    """

    key: str
    steps: list[dict[str, Any]]
    rows: list[Row]
    who: list[str] = field(default_factory=lambda: NAMES)
    line: str | None = None
    warm: bool = True
    most: float = 60
    rounds: int | None = None


@dataclass
class Cell:
    """What one contender needed in all rounds.

    Attributes:
        ratio: the median of the ratios to ``limit`` in the same round: the machine's speed drifts.
        note: where to read why there is none of some rounds.
    """

    median: float
    least: float
    most: float
    rounds: int
    ratio: float | None
    note: str = ""


def step(mark: str = "run", *, tokens: int, size: int = 8, **rest: Any) -> dict[str, Any]:
    knobs = {name: rest.pop(name) for name in ("delay", "stamp", "mark_file") if name in rest}
    whole = None if knobs.get("stamp") or rest.get("cancel") else tokens * size
    prompt = {"tokens": tokens, "size": size, **knobs}
    return {"mark": mark, "prompt": prompt, "chars": whole, **rest}


def scenarios(smoke: bool) -> list[Scenario]:
    """All of them, in the order of the table."""
    def pick(full: Any, small: Any) -> Any:
        return small if smoke else full

    ms, mb, kb = 1e3, 1e-6, 1e-3
    words = pick(200, 20)
    steady: list[Row] = [
        ("first word, ms", "firsts", "first", ms), ("gap p50, ms", "run", "gap50", ms),
        ("gap p99, ms", "run", "gap99", ms)]
    first = step("firsts", tokens=3, delay=0.01, times=pick(20, 3))
    slow = step(tokens=words, delay=0.01)
    found = [
        Scenario("a", [first, slow], steady),
        Scenario("b", [each | {"picture": True} for each in (first, slow)], [
            (f"2 MB picture: {label}", *rest) for label, *rest in steady])]  # type: ignore[misc]
    many = pick(100, 10)
    found.append(Scenario("c", [step(tokens=pick(30, 10), delay=0.1, count=many)], [
        (f"{many} at once: all done, s", "run", "total", 1),
        (f"{many} at once: median first word, ms", "run", "first", ms),
        (f"{many} at once: last first word, ms", "run", "first_max", ms)]))
    chunks = pick(4000, 200)
    fast = [step(tokens=chunks)]
    found.append(Scenario("d", fast, [
        (f"{chunks} chunks: time, s", "run", "total", 1),
        (f"{chunks} chunks: CPU, ms", "run", "cpu", ms),
        (f"{chunks} chunks: memory, MB", "run", "memory", mb)]))
    found.append(Scenario("d", fast, [(f"{chunks} chunks: on the wire, kB", "run", "bytes", kb)],
                          line="count", rounds=1))
    later = [{"mark": f"later{i}"} for i in range(pick(3, 1))]
    for what, picture in (("text", False), ("picture", True)):
        calls = [step(tokens=3, picture=picture) | mark for mark in [{"mark": "first"}, *later]]
        found.append(Scenario("e", calls, [
            (f"long line, {what}, {when} call: {label}", mark, metric, factor)
            for when, mark in (("first", "first"), ("later", later[-1]["mark"]))
            for label, metric, factor in (
                ("first word, ms", "first", ms), ("connections", "connections", 1),
                ("requests", "requests", 1))
        ], line="long"))
    for crowd, rounds in pick(((200, None), (500, 1), (1000, 3)), ((20, None),)):
        found.append(Scenario("f", [step(tokens=pick(10, 3), delay=1, stamp=True, count=crowd)], [
            (f"{crowd} slow answers: threads", "run", "threads", 1),
            (f"{crowd} slow answers: memory, MB", "run", "memory", mb),
            (f"{crowd} slow answers: CPU, s", "run", "cpu", 1),
            (f"{crowd} slow answers: median first word, ms", "run", "first", ms),
            (f"{crowd} slow answers: word late p50, ms", "run", "late50", ms),
            (f"{crowd} slow answers: word late p99, ms", "run", "late99", ms)], rounds=rounds))
    found.append(Scenario("g", [step(tokens=3)], [
        ("import, over a bare interpreter, ms", "run", "import", ms),
        ("fresh process to its first word, ms", "run", "fresh", ms)], warm=False))
    for length in pick((1000, 4000), (200,)):
        found.append(Scenario("h", [step(tokens=length, pause=pick(5, 1))], [
            (f"slow consumer, {length} chunks wait: memory, MB", "run", "memory", mb)]))
    found.append(Scenario("i", [step(tokens=15, delay=1, cancel=True, mark_file=True)], [
        ("cancel: the Space has stopped after, ms", "run", "stopped", ms)]))
    pair = ["limit", "this"]
    length, pauses = pick(6, 1), pick((3, 7), (1,))
    when = {"after": f"after an answer of {length} s"}
    when |= {f"paused{pause}": f"after a pause of {pause} s" for pause in pauses}
    found.append(Scenario("j", [
        step("first", tokens=3), step("slow", tokens=length, delay=1), step("after", tokens=3),
        *(step(f"paused{pause}", tokens=3, wait=pause) for pause in pauses)
    ], [
        (f"long line, call {words}: {label}", mark, metric, factor) for mark, words in when.items()
        for label, metric, factor in (
            ("first word, ms", "first", ms), ("connections", "connections", 1),
            ("/app_id requests", "app_id", 1))
    ], pair, line="long"))
    times = pick(10, 3)
    found.append(Scenario("k", [step("first", tokens=3), step("later", tokens=3, times=times)], [
        (f"Space with a State, later call: {label}", "later", metric, 1 / times)
        for label, metric in (
            ("connections", "connections"), ("of them heartbeats", "heartbeats"),
            ("requests", "requests"))
    ], pair, line="state"))
    times = pick(200, 20)
    found.append(Scenario("l", [step(tokens=1, times=times)], [
        (f"{times} questions, one after the other: a second (more is better)", "run", "rate", 1)]))
    for crowd in pick((1, 10, 100, 1000), (1, 10)):
        found.append(Scenario("growth", [step(tokens=pick(20, 3), delay=0.5, count=crowd)], [
            (f"{crowd} at once: CPU for each, ms", "run", "cpu", ms / crowd),
            (f"{crowd} at once: memory for each, kB", "run", "memory", kb / crowd),
        ], pair, rounds=1))
    for length in pick((1, 4, 16, 64, 256, 1024), (1, 16)):
        found.append(Scenario("growth", [step(tokens=length * 4, size=256)], [
            (f"{length} kB answer: CPU, ms", "run", "cpu", ms),
            (f"{length} kB answer: memory, kB", "run", "memory", kb)], pair, rounds=1))
    return found


class Failed(Exception):
    """A contender gave no result; says why."""


class Bench:
    """The Space, the lines to it, and the processes of the contenders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.picture, self.small = folder / "large.png", folder / "small.png"
        self.picture.write_bytes(png(832))
        self.small.write_bytes(png(64))
        self.ports = port, state_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        cert = certificate(folder)
        if not cert:
            print("no openssl: the long line is without TLS")
        self.lines = {
            "count": Relay(port), "long": Relay(port, 0.05, cert), "state": Relay(state_port)}
        self.env = os.environ | {
            # After each answer, gradio 6.31 computes statistics of all. That slows a Space down.
            "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
            # Without Internet, the Hub's telemetry would delay gradio_client. It is not measured.
            "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HOME": str(folder), "HF_HOME": str(folder), "GRADIO_TEMP_DIR": str(folder),
            "QVQ_BENCH_TEMP": str(folder),
            "NO_PROXY": "127.0.0.1,localhost"}
        if cert:
            self.env |= {"SSL_CERT_FILE": str(cert), "NODE_EXTRA_CA_CERTS": str(cert)}
        self.space: subprocess.Popen[str] | None = None

    def __enter__(self) -> Bench:
        self.start_space()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop_space()
        for line in self.lines.values():
            line.close()

    def start_space(self) -> None:
        self.stop_space()
        self.space = subprocess.Popen(
            [sys.executable, str(HERE / "space.py"), *map(str, self.ports)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=(self.folder / "space.log").open("a"), env=self.env,
            text=True)
        out = self.space.stdout
        assert out
        if not select.select([out], [], [], 60)[0] or "ready" not in out.readline():
            log = (self.folder / "space.log").read_text()
            raise SystemExit(f"the Space does not start:\n{log[-2000:]}")

    def stop_space(self) -> None:
        if self.space:
            self.space.kill()
            self.space.wait()

    def measure(self, scenario: Scenario, name: str) -> dict[str, dict[str, Any]]:
        """The results of each step. Raises Failed."""
        line = self.lines.get(scenario.line or "")
        mark = self.folder / f"mark-{time.monotonic_ns()}"
        steps = json.loads(json.dumps(scenario.steps))
        for each in steps:
            if each["prompt"].pop("mark_file", None):
                each["prompt"]["mark"] = str(mark)
        spec = {
            "url": line.url if line else self.url, "warm": self.url if scenario.warm else None,
            "picture": str(self.small if line else self.picture), "steps": steps}
        imported = self.import_time(name) if scenario.key == "g" else 0
        started = time.time()
        try:
            results = self.run_child(name, spec, scenario.most, line)
        except Failed:
            self.start_space()  # what it left behind would burden the next one
            raise
        for each in steps:
            result = results[each["mark"]]
            result["rate"] = each.get("times", 1) / result["total"]
            result["import"] = imported
            result["fresh"] = (result.get("first_at") or started) - started
            if result.get("cancelled_at"):
                deadline = time.monotonic() + 20
                while not mark.exists() and time.monotonic() < deadline:
                    time.sleep(0.02)
                time.sleep(0.05)
                if not mark.exists():
                    raise Failed("the Space had not stopped after 20 s")
                result["stopped"] = float(mark.read_text()) - result["cancelled_at"]
        return results

    def run_child(
        self, name: str, spec: dict[str, Any], most: float, line: Relay | None
    ) -> dict[str, dict[str, Any]]:
        script = JS / "peer.mjs" if name == "js" else HERE / "contenders.py"
        command = [*interpreter(name), str(script)]
        command += [json.dumps(spec)] if name == "js" else [name, json.dumps(spec)]
        results: dict[str, dict[str, Any]] = {}
        buffer, deadline = b"", time.monotonic() + most
        base = peak = threads = 0
        with (self.folder / "child.log").open("w+") as log, subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self.env,
            cwd=self.folder,
        ) as child:
            assert child.stdin and child.stdout
            try:
                while set(results) != {"start", *(each["mark"] for each in spec["steps"])}:
                    if time.monotonic() > deadline:
                        raise Failed(f"not done after {most:g} s")
                    memory, count = usage(child.pid)
                    peak, threads = max(peak, memory), max(threads, count)
                    if not select.select([child.stdout], [], [], 0.02)[0]:
                        continue
                    data = os.read(child.stdout.fileno(), 65536)
                    if not data:
                        raise Failed(f"ended early: {last_line(log)}")
                    buffer += data
                    if not buffer.endswith(b"\n"):
                        continue
                    result, buffer = json.loads(buffer), b""
                    if result.get("error"):
                        raise Failed(result["error"])
                    if line:
                        time.sleep(0.3)  # what is on its way
                        result |= line.counts()
                    result |= {"memory": max(peak, usage(child.pid)[0]) - base, "threads": threads}
                    results[result["mark"]] = result
                    base = peak = usage(child.pid)[0]
                    threads = 0
                    child.stdin.write(b"\n")
                    child.stdin.flush()
            finally:
                child.kill()
        return results

    def import_time(self, name: str) -> float:
        """Seconds of the import over a bare interpreter, the least of three."""
        def least(code: str) -> float:
            options = ["--input-type=module", "-e"] if name == "js" else ["-c"]
            command = interpreter(name) + options
            times = []
            for _ in range(3):
                start = time.perf_counter()
                subprocess.run(
                    [*command, code], env=self.env, cwd=JS if name == "js" else self.folder,
                    check=True, timeout=60, stdout=subprocess.DEVNULL)
                times.append(time.perf_counter() - start)
            return min(times)

        return least(IMPORTS[name]) - least("")


def interpreter(name: str) -> list[str]:
    if name == "js":
        return ["node"]
    return [str(G4F / "bin/python") if name == "g4f" else sys.executable]


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def usage(pid: int) -> tuple[int, int]:
    """Resident bytes and threads of a process."""
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        return resident, len(os.listdir(f"/proc/{pid}/task"))
    except (OSError, IndexError):
        return 0, 0


def last_line(log: Any) -> str:
    log.seek(0)
    return ([line.strip() for line in log if line.strip()] or ["silently"])[-1][:200]


def png(side: int) -> bytes:
    """A picture of noise: 3 bytes for each pixel."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows = b"".join(b"\0" + os.urandom(3 * side) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b""))


def prepare(names: list[str], install: bool) -> dict[str, str]:
    """Make the peers' environments; says which contenders cannot run, and why."""
    reasons: dict[str, str] = {}
    if "g4f" in names and not (G4F / "done").exists():
        if install:
            print(f"making {G4F}", flush=True)
            made = run_quietly([sys.executable, "-m", "venv", "--clear", str(G4F)]) or run_quietly(
                [str(G4F / "bin/python"), "-m", "pip", "install", "--quiet", "g4f==0.5.2.1"])
            if made:
                reasons["g4f"] = f"cannot be installed: {made}"
            else:
                (G4F / "done").touch()
        else:
            reasons["g4f"] = f"no environment at {G4F} (a full run makes it)"
    if "js" in names and not shutil.which("node"):
        reasons["js"] = "there is no node"
    elif "js" in names and not (JS / "node_modules/@gradio/client").exists():
        if install and shutil.which("npm"):
            print(f"making {JS}", flush=True)
            JS.mkdir(exist_ok=True)
            made = run_quietly([
                "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(JS),
                "@gradio/client"])
            if made:
                reasons["js"] = f"cannot be installed: {made}"
        else:
            reasons["js"] = f"no environment at {JS} (a full run makes it, with npm)"
    if "js" in names and "js" not in reasons:  # node looks for the package beside the script
        shutil.copy(HERE / "peer.mjs", JS / "peer.mjs")
    return reasons


def run_quietly(command: list[str]) -> str:
    """What went wrong, or nothing."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    except subprocess.CalledProcessError as error:
        return (error.stderr.strip().splitlines() or [str(error)])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""


def versions(names: list[str]) -> dict[str, str]:
    found = {"python": platform.python_version(), "cores": str(os.cpu_count())}
    packages = ("qvq_wrapper", "gradio", "gradio_client", "httpx", "anyio")
    found |= {name: version(name) for name in packages}
    if "g4f" in names:
        found["g4f"] = "0.5.2.1"
    if "js" in names:
        found["node"] = subprocess.check_output(["node", "--version"], text=True).strip()
        package = JS / "node_modules/@gradio/client/package.json"
        found["@gradio/client"] = json.loads(package.read_text())["version"]
    return found


def table(rows: dict[str, dict[str, Any]], names: list[str]) -> str:
    """What was measured, as a simple table of reStructuredText."""
    lines = [["", *names]]
    for label, cells in rows.items():
        line = [label]
        for name in names:
            cell = cells.get(name, "-")
            if isinstance(cell, Cell):
                shown = short(cell.median)
                if cell.ratio is not None and name != "limit":
                    shown += f" ({cell.ratio:.2f})"
                if cell.rounds > 1:
                    shown += f" [{short(cell.least)}-{short(cell.most)}]"
                cell = shown + cell.note
            line.append(cell)
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = "  ".join("=" * width for width in widths)
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in lines]
    body[0] = "\\" + body[0][1:]  # reStructuredText wants a first column in every row
    return "\n".join([rule, body[0], rule, *body[1:], rule])


def summary(found: list[float | None], base: list[float | None]) -> Cell | None:
    """Sum up a contender's values, one for each round, beside those of ``limit``."""
    known = [value for value in found if value is not None]
    ratios = [value / least for value, least in zip(found, base)
              if value is not None and least is not None and least > 0]
    if not known:
        return None
    return Cell(statistics.median(known), min(known), max(known), len(known),
                statistics.median(ratios) if ratios else None)


def short(value: float) -> str:
    if value.is_integer():
        return f"{value:.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def plot(rows: dict[str, dict[str, Any]], names: list[str], file: str) -> None:
    """One line for each row, with a dot for each contender: how many times ``limit``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = {label: ratios for label, cells in rows.items() if (ratios := {
        name: cell.ratio for name, cell in cells.items() if isinstance(cell, Cell) and cell.ratio})}
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.22 * len(shown)), layout="constrained")
    for name in names:
        dots = [(ratios[name], row) for row, ratios in enumerate(shown.values()) if name in ratios]
        mark = "D" if name == "this" else "o"
        axes.plot([x for x, _ in dots], [y for _, y in dots], mark, label=name)
    axes.set(xscale="log", xlabel="times limit", yticks=range(len(shown)), yticklabels=list(shown))
    axes.grid(axis="both", alpha=0.3)
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=len(names))
    figure.savefig(file)


def collect(
    bench: Bench, scenario: Scenario, name: str, values: Values,
    failures: dict[str, dict[str, str]],
) -> None:
    """Measure once. Sort the results, or the reason why there are none, into the table's rows."""
    results: dict[str, dict[str, Any]] = {}
    reason = ""
    try:
        results = bench.measure(scenario, name)
    except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
        reason = str(error)
    for label, mark, metric, factor in scenario.rows:
        value = results.get(mark, {}).get(metric)
        values[f"{scenario.key}  {label}"][name].append(
            None if value is None else float(value * factor))
        if value is None and reason:
            failures[f"{scenario.key}  {label}"][name] = reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write every value there")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios there")
    parser.add_argument("--smoke", action="store_true", help="small and fast; installs nothing")
    parser.add_argument("--only", metavar="a,c,...", help="these scenarios (a to l, growth)")
    parser.add_argument("--contenders", metavar="limit,this,...", help="these contenders")
    parser.add_argument("--repeat", type=int, metavar="N", help="7, or 1 with --smoke")
    options = parser.parse_args()
    names = [name for name in NAMES
             if not options.contenders or name in options.contenders.split(",")]
    wanted = [each for each in scenarios(options.smoke)
              if not options.only or each.key in options.only.split(",")]
    reasons = prepare(names, not options.smoke)
    for name, reason in reasons.items():
        print(f"without {name}: {reason}")
    names = [name for name in names if name not in reasons]
    values: Values = defaultdict(lambda: defaultdict(list))
    failures: dict[str, dict[str, str]] = defaultdict(dict)
    rounds = options.repeat or (1 if options.smoke else 7)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    temporary = tempfile.TemporaryDirectory(prefix="qvq-bench-", ignore_cleanup_errors=True)
    try:
        with temporary as folder, Bench(Path(folder)) as bench:
            for repetition in range(rounds):
                for number, scenario in enumerate(wanted):
                    if repetition < (scenario.rounds or rounds):
                        running = [name for name in names if name in scenario.who]
                        turn = (repetition + number) % len(running) if running else 0
                        now = f"{repetition + 1}/{rounds} {scenario.key}  {scenario.rows[0][0]}"
                        print(time.strftime("%H:%M:%S"), now, file=sys.stderr)
                        for name in running[turn:] + running[:turn]:
                            collect(bench, scenario, name, values, failures)
    except KeyboardInterrupt:
        print("interrupted; this is what there is")
    order = [f"{scenario.key}  {row[0]}" for scenario in wanted for row in scenario.rows]
    rows: dict[str, dict[str, Any]] = {}
    notes: dict[str, str] = {}
    for label in order:
        base = values[label].get("limit", [])
        rows[label] = {name: cell for name, found in values[label].items()
                       if (cell := summary(found, base))}
        for name, reason in failures[label].items():
            note = notes.setdefault(f"{name}: {reason}", f"[{len(notes) + 1}]")
            if isinstance(cell := rows[label].setdefault(name, note), Cell):
                cell.note = f" {note}"
    about = versions(names)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    main_rows = {label: cells for label, cells in rows.items() if not label.startswith("growth")}
    growth = {label.removeprefix("growth  "): cells for label, cells in rows.items()
              if label not in main_rows}
    if main_rows:
        print("\nMedian (median ratio to `limit` in the same round) [least-most]:\n")
        print(table(main_rows, names))
    if growth:
        compared = [name for name in names if name in ("limit", "this")]
        print("\nHow cost grows:\n\n" + table(growth, compared))
    for reason, note in notes.items():
        print(f"{note} {reason}")
    if options.json:
        Path(options.json).write_text(json.dumps(
            {"about": about, "rows": rows, "values": values, "failures": failures}, indent=1,
            default=vars))
    if options.plot:
        plot(main_rows, names, options.plot)


if __name__ == "__main__":
    main()
