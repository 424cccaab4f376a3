"""Grids over HTTP: each cell is a job like any other, so a grid survives what the queue survives."""

import json
import secrets
import time
from typing import Any, NamedTuple

from PIL import Image

from inkwash.core.errors import ConfigError
from inkwash.inference.axes import AXES, Axis, cells, check, sheets, stacked
from inkwash.server.errors import ApiError, invalid
from inkwash.server.protocol import Generation, read
from inkwash.server.queue import DONE, Job
from inkwash.server.serving import Serving

SCHEMA = "CREATE TABLE IF NOT EXISTS grids (id TEXT PRIMARY KEY, created REAL NOT NULL, axes TEXT NOT NULL, jobs TEXT NOT NULL)"


class Plot(NamedTuple):
    """A grid. jobs: ids by place, as "x-y-z"."""

    id: str
    created: float
    axes: list[Axis]
    jobs: dict[str, str]


class Plots:
    """The grids of a server."""

    def __init__(self, serving: Serving):
        self.serving, self.db = serving, serving.queue.db
        self.db.execute(SCHEMA)

    def begin(self, values: Any) -> Plot:
        """All cells as jobs, or, where one of them cannot be, none. Raises ApiError."""
        if not isinstance(values, dict):
            raise invalid("The body is not a JSON object.", code="invalid_json")
        fields = {
            "seed": self.serving.fresh_seed(),
            **{k: v for k, v in values.items() if k != "axes" and v is not None},
        }  # one for all cells
        axes = _axes(values.get("axes"))
        try:
            places = cells(axes)
        except ConfigError as error:
            raise invalid(str(error), "axes") from None
        asked = {cell.at: read(Generation, {**fields, **cell.changes, "n": 1, "stream": False}) for cell in places}
        room = self.serving.queue.most - self.serving.queue.counts()["queued"]
        if len(asked) > room:
            raise ApiError(
                429, f"The grid has {len(asked)} cells, and the queue has room for {room}.", "queue_full", headers={"Retry-After": "30"}
            )
        payloads = {at: self.serving.order(wishes) for at, wishes in asked.items()}  # refuses before the first is queued
        jobs = {"-".join(map(str, at)): self.serving.submit("generate", *payload).id for at, payload in payloads.items()}
        plot = Plot(f"grid_{secrets.token_urlsafe(12)}", time.time(), axes, jobs)
        stored = [{"name": a.name, "values": list(a.values)} for a in axes]
        self.db.execute("INSERT INTO grids VALUES (?, ?, ?, ?)", (plot.id, plot.created, json.dumps(stored), json.dumps(jobs)))
        return plot

    def get(self, id: str) -> Plot:
        """Raises ApiError where there is none."""
        row = self.db.execute("SELECT id, created, axes, jobs FROM grids WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise ApiError(404, f"There is no grid {id[:60]!r}.", "not_found")
        return _plot(row)

    def latest(self, limit: int = 50) -> list[Plot]:
        """The latest first."""
        return [_plot(r) for r in self.db.execute("SELECT id, created, axes, jobs FROM grids ORDER BY created DESC LIMIT ?", (limit,))]

    def jobs(self, plot: Plot) -> dict[str, Job | None]:
        """The job of each place, None for one that was removed."""
        return {place: self.serving.queue.get(id) for place, id in plot.jobs.items()}

    def cancel(self, plot: Plot) -> None:
        for id in plot.jobs.values():
            self.serving.queue.cancel(id)

    def resume(self, plot: Plot) -> None:
        """Queue again what ended without a picture."""
        for id in plot.jobs.values():
            self.serving.queue.again(id)

    def picture(self, plot: Plot) -> Image.Image:
        """Labelled sheets of what there is so far."""
        jobs = self.jobs(plot)

        def of(at: tuple[int, int, int]) -> Image.Image | None:
            job = jobs["-".join(map(str, at))]
            path = self.serving.pictures.path(job.result["pictures"][0]["file"]) if job and job.state == DONE else None
            return Image.open(path) if path else None

        return stacked(list(sheets(plot.axes, of)))


def _axes(told: Any) -> list[Axis]:
    """{"x": {"name", "values"}, ...} as axes. Raises ApiError."""
    if not isinstance(told, dict) or not told or not set(told) <= set(AXES):
        raise invalid('"axes" holds x, and y and z where they are wanted: {"x": {"name": "steps", "values": [5, 10]}}.', "axes")
    axes = []
    for key in AXES:
        if key not in told:
            continue
        axis = told[key]
        if not isinstance(axis, dict) or set(axis) != {"name", "values"} or not isinstance(axis["name"], str):
            raise invalid(f"The axis {key!r} holds a name and values.", "axes")
        values = axis["values"]
        if not isinstance(values, list) or len(values) > 400 or any(not isinstance(v, str | int | float) for v in values):
            raise invalid(f"The values of the axis {key!r} are at most 400 numbers and words.", "axes")
        try:
            axes.append(check(Axis(axis["name"][:60], tuple(values))))
        except ConfigError as error:
            raise invalid(str(error), "axes") from None
    if "y" not in told and "z" in told:
        raise invalid("A grid has a z only beside an x and a y.", "axes")
    return axes


def _plot(row: Any) -> Plot:
    axes = [Axis(a["name"], tuple(a["values"])) for a in json.loads(row["axes"])]
    return Plot(row["id"], row["created"], axes, json.loads(row["jobs"]))
