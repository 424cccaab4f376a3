"""Many clients of one server: what each waits, whether memory stays, and what it gains that requests are made together.

usage: python benchmarks/serving.py [--model scenes-64] [--clients 32] [--minutes 5] [--steps 8] [--out FILE]

First one client asks for a picture at a time, for a fifth of the time; then all of them do. Every answer but a picture and 429 (come
back later) is an error. Memory is of server and worker, at the end of the first and of the last minute. The preview is the first one
of a stream of a picture, alone. Linux only: memory is read from /proc.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

PROMPTS = (
    "a small red circle above a large blue square",
    "a green star in a bare dark room",
    "一个黄色三角形在蓝色圆形左边",
    "a small purple ring to the left of a red heart, with a large yellow cross",
)


class Client(threading.Thread):
    """Asks for one picture after the other, on one connection."""

    def __init__(self, port: int, number: int, until: float, options: dict):
        super().__init__(daemon=True)
        self.port, self.number, self.until, self.options = port, number, until, options
        self.waits, self.statuses = [], Counter()

    def run(self) -> None:
        wire, k = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300), 0
        while time.monotonic() < self.until:
            body = {"prompt": PROMPTS[(self.number + k) % len(PROMPTS)], "seed": 1000 * self.number + k, **self.options}
            start, k = time.monotonic(), k + 1
            wire.request("POST", "/v1/images/generations", json.dumps(body), {"Content-Type": "application/json"})
            answer = wire.getresponse()
            answer.read()
            self.statuses[answer.status] += 1
            if answer.status == 200:
                self.waits.append(time.monotonic() - start)
            elif answer.status == 429:
                time.sleep(min(5.0, float(answer.headers["retry-after"])))


def together(port: int, clients: int, seconds: float, options: dict) -> tuple[list[float], Counter, float]:
    """Waits and statuses of clients at once, and seconds."""
    start = time.monotonic()
    threads = [Client(port, i, start + seconds, options) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [w for t in threads for w in t.waits], sum((t.statuses for t in threads), Counter()), time.monotonic() - start


def memory(pid: int) -> int:
    """MiB of a process and its children."""
    children = [p for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]
    pages = sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in [pid, *map(int, children)])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def first_preview(port: int, options: dict) -> float:
    """Seconds to the first byte of the first preview."""
    wire, start = http.client.HTTPConnection("127.0.0.1", port, timeout=60), time.monotonic()
    body = {"prompt": PROMPTS[0], "stream": True, "partial_images": 3, **options}
    wire.request("POST", "/v1/images/generations", json.dumps(body), {"Content-Type": "application/json"})
    wire.getresponse().readline()
    return time.monotonic() - start


def served(args: argparse.Namespace, folder: str) -> tuple[subprocess.Popen, int]:
    """A server's process and its port."""
    command = [sys.executable, "-m", "inkwash", "serve", args.model, "--folder", folder, "--port", "0", "--no-training"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "serving at" in line:
            return process, int(line.split("serving at ")[1].split()[0].rpartition(":")[2])
    raise SystemExit("The server did not start.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes-64")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    options = {"steps": args.steps}
    with tempfile.TemporaryDirectory() as folder:
        process, port = served(args, folder)
        try:
            together(port, 1, 3.0, options)
            previews = [first_preview(port, {}) for _ in range(5)]
            alone, _, spent = together(port, 1, 12 * args.minutes, options)
            one = len(alone) / spent
            levels, done = [], threading.Event()
            watch = threading.Thread(target=lambda: [levels.append(memory(process.pid)) for _ in iter(lambda: done.wait(5.0), True)])
            watch.start()
            waits, statuses, spent = together(port, args.clients, 60 * args.minutes, options)
            done.set()
            watch.join()
        finally:
            process.terminate()
    waits.sort()
    minute = max(1, round(12 / max(1.0, args.minutes / 5)))
    row = {
        "clients": args.clients, "minutes": args.minutes, "statuses": dict(statuses), "pictures_a_second": len(waits) / spent,
        "alone_a_second": one, "gain": len(waits) / spent / one, "p50": statistics.median(waits), "p99": waits[int(0.99 * len(waits))],
        "alone_p50": statistics.median(alone), "preview": statistics.median(previews),
        "memory_mib": [levels[min(minute, len(levels) - 1)], levels[-1]],
    }  # fmt: skip
    print(json.dumps(row, indent=2))
    if args.out:
        args.out.write_text(json.dumps(row))


if __name__ == "__main__":
    main()
