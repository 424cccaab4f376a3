"""The queue: jobs in an SQLite file that two processes share, the one that answers and the one that works.

A job is queued, running, and then done, failed, cancelled or interrupted. Every step is one transaction, so that a process may be killed
at any moment: a job that was running then is interrupted, all others stay what they are. The file is in WAL mode: whoever reads does
not wait for whoever writes.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inkwash.core.errors import InkwashError

QUEUED, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED = STATES = ("queued", "running", "done", "failed", "cancelled", "interrupted")
ENDED = (DONE, FAILED, CANCELLED, INTERRUPTED)
TRAINING = "training"  # jobs that have a lane of their own
KINDS = ("generate", "edit", "caption", "upscale", "style", TRAINING, "serve")
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, payload TEXT NOT NULL,
    repeat TEXT UNIQUE, state TEXT NOT NULL, cancel INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, finished REAL,
    done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0, previews TEXT NOT NULL DEFAULT '[]', result TEXT, error TEXT,
    runs INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_waiting ON jobs (state, kind, number);
CREATE INDEX IF NOT EXISTS jobs_changed ON jobs (changed);
CREATE TABLE IF NOT EXISTS clock (n INTEGER NOT NULL);
INSERT INTO clock SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM clock);
CREATE TABLE IF NOT EXISTS models (name TEXT PRIMARY KEY, facts TEXT NOT NULL);
"""


class QueueFull(InkwashError):
    """No more jobs are taken. never: more were wanted than a queue takes. seconds: after which there is likely to be room."""

    def __init__(self, most: int, waiting: int, wanted: int, seconds: float):
        super().__init__(f"The queue takes at most {most} jobs: {waiting} wait already, and there is no room for {wanted} more.")
        self.never, self.seconds = wanted > most, seconds


@dataclass(frozen=True)
class Job:
    """payload: what was asked for. previews: file names. result: what came of it. error: {"message", "fault"}, fault "user" or "server"."""

    number: int
    id: str
    kind: str
    model: str
    payload: dict[str, Any]
    state: str
    cancel: bool
    created: float
    started: float | None
    finished: float | None
    done: int
    total: int
    previews: list[str]
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    runs: int
    changed: int

    @property
    def ended(self) -> bool:
        return self.state in ENDED


COLUMNS = ", ".join(Job.__dataclass_fields__)
JSON = ("payload", "previews", "result", "error")


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    return Job(**{k: json.loads(v) if k in JSON and v is not None else bool(v) if k == "cancel" else v for k, v in values.items()})


class Queue:
    """One process's view of the queue; it is not shared between threads."""

    def __init__(self, path: Path, most: int = 100):
        self.most = most
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")  # after a loss of power the file is whole, and the last moments may be missing
        self.db.executescript(SCHEMA)

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def _change(self) -> Iterator[int]:
        """A transaction, and the number of this change."""
        with self.db:  # commits, or takes it all back
            self.db.execute("BEGIN IMMEDIATE")
            (n,) = self.db.execute("UPDATE clock SET n = n + 1 RETURNING n").fetchone()
            yield n

    # ---- asking

    def version(self) -> int:
        """A number that changes when another process has changed something."""
        return self.db.execute("PRAGMA data_version").fetchone()[0]

    def now(self) -> int:
        """The number of the latest change."""
        return self.db.execute("SELECT n FROM clock").fetchone()[0]

    def get(self, id: str) -> Job | None:
        row = self.db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (id,)).fetchone()
        return row and _job(row)

    def several(self, ids: Sequence[str]) -> dict[str, Job]:
        """Those of the jobs that there are, by id."""
        found: dict[str, Job] = {}
        for start in range(0, len(ids), 500):  # SQLite takes so many values at once, and more
            part = tuple(ids[start : start + 500])
            rows = self.db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id IN ({_marks(part)})", part)
            found |= {row["id"]: _job(row) for row in rows}
        return found

    def since(self, changed: int) -> list[Job]:
        """Jobs that changed after that change, in the order of their changes."""
        return [_job(r) for r in self.db.execute(f"SELECT {COLUMNS} FROM jobs WHERE changed > ? ORDER BY changed", (changed,))]

    def page(self, before: int | None = None, limit: int = 50, states: Sequence[str] = STATES, kinds: Sequence[str] = KINDS) -> list[Job]:
        """The latest jobs first. before: number of the job where the last page ended."""
        asked = [f"state IN ({_marks(states)})", f"kind IN ({_marks(kinds)})", *(["number < ?"] if before else [])]
        values = (*states, *kinds, *([before] if before else []), limit)
        return [
            _job(r) for r in self.db.execute(f"SELECT {COLUMNS} FROM jobs WHERE {' AND '.join(asked)} ORDER BY number DESC LIMIT ?", values)
        ]

    def every(self) -> Iterator[Job]:
        """One after the other, so that a long history takes no memory."""
        for row in self.db.execute(f"SELECT {COLUMNS} FROM jobs"):
            yield _job(row)

    def ended(self, before: float) -> list[Job]:
        """Jobs that ended before that time; trainings are no pictures and stay."""
        asked = f"SELECT {COLUMNS} FROM jobs WHERE finished < ? AND kind NOT IN (?, 'serve') AND state IN ({_marks(ENDED)}) ORDER BY number"
        return [_job(r) for r in self.db.execute(asked, (before, TRAINING, *ENDED))]

    def counts(self, kinds: Sequence[str] = KINDS) -> dict[str, int]:
        """How many jobs of these kinds are in each state."""
        asked = f"SELECT state, count(*) FROM jobs WHERE kind IN ({_marks(kinds)}) GROUP BY state"
        return dict.fromkeys(STATES, 0) | dict(self.db.execute(asked, tuple(kinds)).fetchall())

    def ahead(self, job: Job) -> int:
        """How many jobs will be worked on before a queued one."""
        same = "=" if job.kind == TRAINING else "!="
        asked = f"SELECT count(*) FROM jobs WHERE state IN (?, ?) AND number < ? AND kind {same} ?"
        return self.db.execute(asked, (QUEUED, RUNNING, job.number, TRAINING)).fetchone()[0]

    def pace(self) -> float:
        """Seconds from the end of one job to the end of the next, of the latest 20; 1 where none has ended yet."""
        asked = "SELECT finished, started FROM jobs WHERE state = ? AND kind != ? ORDER BY finished DESC LIMIT 20"
        rows = self.db.execute(asked, (DONE, TRAINING)).fetchall()
        if not rows:
            return 1.0
        busy = sum({row["started"]: row["finished"] - row["started"] for row in rows}.values())  # jobs that were done together count once
        return busy / len(rows)

    # ---- the answering side

    def submit(self, kind: str, model: str, payload: dict[str, Any], repeat: str | None = None) -> Job:
        """A new job. repeat: a name for this request, by whoever asks: a second one of the same name is the same job. Raises QueueFull."""
        with self._change() as n:
            if repeat is not None:
                known = self.db.execute(f"SELECT {COLUMNS} FROM jobs WHERE repeat = ?", (repeat,)).fetchone()
                if known:
                    return _job(known)
            self._room(1)
            id = self._insert(n, kind, model, payload, repeat)
        return self.get(id)

    def submit_all(self, kind: str, orders: Sequence[tuple[str, dict[str, Any]]], note: Callable[[list[str]], None]) -> list[str]:
        """New jobs, each of a model and a payload: all of them, or none. note: writes with them what knows their ids. Raises QueueFull."""
        with self._change() as n:
            self._room(len(orders))
            ids = [self._insert(n, kind, model, payload, None) for model, payload in orders]
            note(ids)
        return ids

    def _room(self, wanted: int) -> None:
        (waiting,) = self.db.execute("SELECT count(*) FROM jobs WHERE state = ?", (QUEUED,)).fetchone()
        if waiting + wanted > self.most:
            raise QueueFull(self.most, waiting, wanted, max(1.0, self.pace() * waiting / 2))

    def _insert(self, n: int, kind: str, model: str, payload: dict[str, Any], repeat: str | None) -> str:
        id = f"job_{secrets.token_urlsafe(12)}"
        values = (id, kind, model, json.dumps(payload), repeat, QUEUED, time.time(), n)
        self.db.execute("INSERT INTO jobs (id, kind, model, payload, repeat, state, created, changed) VALUES (?,?,?,?,?,?,?,?)", values)
        return id

    def cancel(self, id: str) -> Job | None:
        """A queued job is cancelled at once, one that runs is asked to stop."""
        with self._change() as n:
            end = "UPDATE jobs SET state = ?, finished = ?, changed = ? WHERE id = ? AND state = ?"
            self.db.execute(end, (CANCELLED, time.time(), n, id, QUEUED))
            self.db.execute("UPDATE jobs SET cancel = 1, changed = ? WHERE id = ? AND state = ?", (n, id, RUNNING))
        return self.get(id)

    def again(self, id: str) -> Job | None:
        """Queue a job that ended without a result once more. Raises QueueFull, but for one that was interrupted: it had its place."""
        with self._change() as n:
            known = self.get(id)
            if known and known.state in (FAILED, CANCELLED):
                self._room(1)
            fresh = (
                "state = ?, cancel = 0, done = 0, total = 0, previews = '[]', error = NULL, started = NULL, finished = NULL, changed = ?"
            )
            self.db.execute(f"UPDATE jobs SET {fresh} WHERE id = ? AND state IN ({_marks(ENDED[1:])})", (QUEUED, n, id, *ENDED[1:]))
        return self.get(id)

    def forget(self, id: str) -> Job | None:
        """Take an ended job off the list."""
        gone = self.forget_all([id])
        return gone[0] if gone else None

    def forget_all(self, ids: Sequence[str], note: Callable[[], None] = lambda: None) -> list[Job] | None:
        """Take ended jobs off the list: all that there are of these or, where one has not ended, none, which is None. note: takes off with
        them what knows their ids."""
        with self._change():
            jobs = list(self.several(ids).values())
            if not all(job.ended for job in jobs):
                return None
            self.db.executemany("DELETE FROM jobs WHERE id = ?", [(job.id,) for job in jobs])
            note()
        return jobs

    def describe(self, models: dict[str, dict[str, Any]]) -> None:
        """Note what the models that are served can do."""
        with self._change():
            self.db.execute("DELETE FROM models")
            self.db.executemany("INSERT INTO models VALUES (?, ?)", [(k, json.dumps(v)) for k, v in models.items()])

    def models(self) -> dict[str, dict[str, Any]]:
        """What the models that are served can do, in the order of their names on the command line."""
        return {row["name"]: json.loads(row["facts"]) for row in self.db.execute("SELECT name, facts FROM models ORDER BY rowid")}

    # ---- the working side

    def interrupt(self, training: bool) -> int:
        """At a start: what still runs was left by a process that is gone. How many."""
        with self._change() as n:
            asked = f"UPDATE jobs SET state = ?, finished = ?, changed = ? WHERE state = ? AND kind {'=' if training else '!='} ?"
            return self.db.execute(asked, (INTERRUPTED, time.time(), n, RUNNING, TRAINING)).rowcount

    def waiting(self, limit: int = 64, training: bool = False) -> list[Job]:
        """Queued jobs, the longest waiting first."""
        asked = f"SELECT {COLUMNS} FROM jobs WHERE state = ? AND kind {'=' if training else '!='} ? ORDER BY number LIMIT ?"
        return [_job(r) for r in self.db.execute(asked, (QUEUED, TRAINING, limit))]

    def claim(self, ids: Iterable[str]) -> list[Job]:
        """Those of the jobs that are still queued, now running, in this order."""
        claimed = []
        with self._change() as n:
            for id in ids:
                asked = "UPDATE jobs SET state = ?, started = ?, runs = runs + 1, changed = ? WHERE id = ? AND state = ?"
                if self.db.execute(asked, (RUNNING, time.time(), n, id, QUEUED)).rowcount:
                    claimed.append(id)
        return [self.get(id) for id in claimed]

    def progress(self, ids: Sequence[str], done: int, total: int) -> set[str]:
        """Note how far running jobs are. Returns those that were asked to stop."""
        with self._change() as n:
            self.db.executemany("UPDATE jobs SET done = ?, total = ?, changed = ? WHERE id = ?", [(done, total, n, id) for id in ids])
        return {r["id"] for r in self.db.execute(f"SELECT id FROM jobs WHERE cancel = 1 AND id IN ({_marks(ids)})", tuple(ids))}

    def preview(self, id: str, files: Sequence[str]) -> None:
        """Note the files of a running job's previews so far."""
        with self._change() as n:
            self.db.execute("UPDATE jobs SET previews = ?, changed = ? WHERE id = ?", (json.dumps(list(files)), n, id))

    def finish(
        self,
        id: str,
        state: str,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        then: tuple[str, str, dict[str, Any]] | None = None,
    ) -> None:
        """The end of a running job. then: the kind, model and payload of a job that comes of it: both are noted, or neither."""
        with self._change() as n:
            asked = "UPDATE jobs SET state = ?, finished = ?, result = ?, error = ?, changed = ? WHERE id = ? AND state = ?"
            told = [None if v is None else json.dumps(v) for v in (result, error)]
            ended = self.db.execute(asked, (state, time.time(), *told, n, id, RUNNING)).rowcount
            if ended and then:
                self._insert(n, *then, None)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
