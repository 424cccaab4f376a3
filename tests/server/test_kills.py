"""A server that is killed at any moment: no job is lost or done twice, no broken file is served, the database opens.

INKWASH_KILLS=100 python -m pytest tests/server/test_kills.py -s    for the long version.
"""

import http.client
import io
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error

import pytest
from PIL import Image

from live import PROMPT, Server

KILLS = int(os.environ.get("INKWASH_KILLS", "1"))


class Load(threading.Thread):
    """Submits jobs as long as a server answers. Every accepted job is remembered; a request whose answer was lost is sent again."""

    def __init__(self, name: str):
        super().__init__(daemon=True)
        self.tag, self.server, self.accepted, self.count, self.over = name, None, {}, 0, threading.Event()
        self.strange = []  # answers that there should not be

    def run(self) -> None:
        while not self.over.is_set():
            key = f"{self.tag}-{self.count}"
            body = {"prompt": PROMPT, "seed": self.count, "n": 1 + self.count % 3, "steps": 3 + self.count % 5}
            try:
                head = {"Prefer": "respond-async", "Idempotency-Key": key}
                status, _, job = self.server.post("/v1/images/generations", body, headers=head)
            # The server is gone, in the middle of an answer perhaps.
            except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError, AttributeError):
                time.sleep(0.05)
                continue
            if status == 202:
                self.accepted[key] = job["id"]
                self.count += 1
            elif status != 429:
                self.strange.append((status, job))
            time.sleep(0.02)


def everything(server) -> list[dict]:
    jobs, before = [], None
    while True:
        page = server.get("/v1/jobs?limit=200" + (f"&before={before}" if before else ""))[2]
        jobs += page["data"]
        if not page["more"]:
            return jobs
        before = page["data"][-1]["number"]


@pytest.fixture
def running():
    """Servers that were started, the last one alive: whatever happens, none stays."""
    servers = []
    yield servers
    for server in servers:
        if server.process.poll() is None:
            server.kill()


@pytest.mark.slow
def test_kill_minus_nine(models, tmp_path, running):
    order, retried = random.Random(5), {}
    loads = [Load(f"client{i}") for i in range(3)]
    begun = time.monotonic()
    for kill in range(KILLS + 1):
        server = Server(tmp_path, [models["reader"]], "--limit", "queue=40")
        running.append(server)
        for load in loads:
            load.server = server
            if kill == 0:
                load.start()
        for job in server.get("/v1/jobs?state=interrupted&limit=200")[2]["data"]:
            assert server.post(f"/v1/jobs/{job['id']}/retry")[2]["state"] in ("queued", "running", "done")
            retried[job["id"]] = retried.get(job["id"], 0) + 1
        if kill < KILLS:
            time.sleep(order.uniform(0.0, 1.5))
            if kill % 3 == 2:  # the worker alone first: the server starts another, or dies while it does
                workers = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True).stdout.split()
                for worker in workers:
                    os.kill(int(worker), 9)
                time.sleep(order.uniform(0.0, 0.5))
            server.kill()
    for load in loads:
        load.over.set()
        load.join(60)
    assert not [answer for load in loads for answer in load.strange] and all(load.accepted for load in loads)
    accepted = {id for load in loads for id in load.accepted.values()}
    end = time.monotonic() + 120
    while time.monotonic() < end:
        counts = server.get("/v1/jobs?limit=1")[2]["counts"]
        for job in server.get("/v1/jobs?state=interrupted&limit=200")[2]["data"]:
            server.post(f"/v1/jobs/{job['id']}/retry")
            retried[job["id"]] = retried.get(job["id"], 0) + 1
        if counts["queued"] + counts["running"] + counts["interrupted"] == 0:
            break
        time.sleep(0.2)
    jobs = {job["id"]: job for job in everything(server)}
    assert len(accepted) >= KILLS and accepted <= set(jobs), "an accepted job is lost"
    assert {job["state"] for job in jobs.values()} == {"done"}
    seen = set()
    for job in jobs.values():
        assert len(job["pictures"]) == job["asked"]["n"]
        for picture in job["pictures"]:
            status, _, data = server.get(picture["url"].replace(picture["url"].split("/v1/")[0], server.url))
            assert status == 200 and picture["url"] not in seen
            seen.add(picture["url"])
            Image.open(io.BytesIO(data)).load()
    server.stop()
    db = sqlite3.connect(tmp_path / "data" / "queue.db")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for id, runs in db.execute("SELECT id, runs FROM jobs"):
        assert runs == 1 + retried.get(id, 0), "a job was done twice"
    said = f"{KILLS} kills, {len(jobs)} jobs, {sum(retried.values())} interrupted and queued again, {len(seen)} pictures, "
    print(said + f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
