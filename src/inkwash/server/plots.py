"""Grids over HTTP: each cell is a job like any other, so a grid survives what the queue survives."""

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from PIL import Image

from inkwash.core.errors import ConfigError
from inkwash.inference.axes import AXES, MOST, Axis, cells, check, check_order
from inkwash.inference.provenance.write import encode
from inkwash.inference.sheets import sheets, stacked
from inkwash.server.errors import ApiError, invalid
from inkwash.server.protocol import NAMES, Generation, read
from inkwash.server.queue import DONE, Job
from inkwash.server.serving import Serving

SCHEMA = "CREATE TABLE IF NOT EXISTS grids (id TEXT PRIMARY KEY, created REAL NOT NULL, axes TEXT NOT NULL, jobs TEXT NOT NULL)"
COLUMNS = "rowid AS number, id, created, axes, jobs"
TELLING = {"model", "prompt", "seed", "size", "background", "negative_prompt", "num_inference_steps", "guidance_scale"}
ALIKE = {"axes", *Generation.model_fields} - TELLING  # fields that make no other picture


class Plot(NamedTuple):
    """A grid. number: the higher, the later. jobs: ids by place, as "x-y-z"."""

    number: int
    id: str
    created: float
    axes: list[Axis]
    jobs: dict[str, str]


class Plots:
    """The grids of a server."""

    def __init__(self, serving: Serving):
        self.serving, self.db = serving, serving.queue.db
        self.db.execute(SCHEMA)

    def begin(self, values: Any, repeat: str | None = None) -> Plot:
        """All cells as jobs, or, where one of them cannot be, none. repeat: a name for this request, by whoever asks: a second one of the
        same name is the same grid. Raises ApiError."""
        id = f"grid_{hashlib.sha256(repeat.encode()).hexdigest()[:24] if repeat else secrets.token_urlsafe(12)}"
        if known := self._found(id):
            return known
        if not isinstance(values, dict):
            raise invalid("The body is not a JSON object.", code="invalid_json")
        axes = _axes(values.get("axes"))
        taken = {_plain_name(axis.name) for axis in axes}
        fields = {k: v for k, v in values.items() if k != "axes" and v is not None and _plain_name(k) not in taken}
        fields = {"seed": self.serving.fresh_seed()} | fields  # one for all cells
        try:
            places = cells(axes)
        except ConfigError as error:
            raise invalid(str(error), "axes") from None
        asked = [read(Generation, {**fields, **cell.changes, "n": 1, "stream": False}) for cell in places]
        orders = [self.serving.order(wishes) for wishes in asked]  # refuses before the first is queued
        keys = ["-".join(map(str, cell.at)) for cell in places]
        now = time.time()
        stored = json.dumps([{"name": a.name, "values": list(a.values)} for a in axes])

        def note(ids: list[str]) -> None:
            self.db.execute("INSERT INTO grids VALUES (?, ?, ?, ?)", (id, now, stored, json.dumps(dict(zip(keys, ids)))))

        self.serving.submit_all("generate", orders, note)
        return self.get(id)

    def get(self, id: str) -> Plot:
        """Raises ApiError where there is none."""
        if (known := self._found(id)) is None:
            raise ApiError(404, f"There is no grid {id[:60]!r}.", "not_found")
        return known

    def _found(self, id: str) -> Plot | None:
        row = self.db.execute(f"SELECT {COLUMNS} FROM grids WHERE id = ?", (id,)).fetchone()
        return row and _plot(row)

    def page(self, before: int | None = None, limit: int = 50) -> list[Plot]:
        """The latest first. before: number of the grid where the last page ended."""
        asked = f"SELECT {COLUMNS} FROM grids WHERE ? IS NULL OR rowid < ? ORDER BY rowid DESC LIMIT ?"
        return [_plot(row) for row in self.db.execute(asked, (before, before, limit))]

    def jobs(self, plot: Plot) -> dict[str, Job]:
        """Its jobs by their ids, without those that were removed."""
        return self.serving.queue.several(list(plot.jobs.values()))

    def cancel(self, plot: Plot) -> None:
        for id in plot.jobs.values():
            self.serving.queue.cancel(id)

    def resume(self, plot: Plot) -> None:
        """Queue again what ended without a picture."""
        for id in plot.jobs.values():
            self.serving.again(id)

    def remove(self, plot: Plot) -> None:
        """A grid, its cells' jobs and their pictures. Raises ApiError where one of them has not ended."""

        def note() -> None:
            self.db.execute("DELETE FROM grids WHERE id = ?", (plot.id,))

        if self.serving.remove_all(list(plot.jobs.values()), note) is None:
            raise ApiError(409, f"The grid {plot.id} has cells that have not ended; cancel it first.", "not_ended")

    def picture(self, plot: Plot) -> Callable[[], bytes]:
        """What makes labelled sheets of what there is so far. It takes a while, and may be called in another thread."""
        jobs = self.jobs(plot)
        there = {place: jobs[id] for place, id in plot.jobs.items() if id in jobs and jobs[id].state == DONE}
        files = {place: self.serving.pictures.path(job.result["pictures"][0]["file"]) for place, job in there.items()}
        models = ", ".join(dict.fromkeys(job.model for job in there.values()))
        facts = {"model": models, "axes": {a.name: list(a.values) for a in plot.axes}} if there else None
        given = self.serving.config.provenance  # a sheet of pictures says of itself what each of them has to

        def of(at: tuple[int, int, int]) -> Image.Image | None:
            path = files.get("-".join(map(str, at)))
            try:
                return None if path is None else Image.open(path)
            except FileNotFoundError:  # removed in the meantime
                return None

        return lambda: encode(stacked(list(sheets(plot.axes, of))), facts, "png", given)


def _plain_name(name: str) -> str:
    """A field's name among its others: steps and num_inference_steps are one."""
    return {"cfg_scale": "guidance", **NAMES}.get(name, name)


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
        if not isinstance(values, list) or len(values) > MOST or any(not isinstance(v, str | int | float) for v in values):
            raise invalid(f"The values of the axis {key!r} are at most {MOST} numbers and words.", "axes")
        if axis["name"] in ALIKE:
            raise invalid(f"{axis['name']!r} changes nothing in a picture: it is no axis.", "axes")
        try:
            axes.append(check(Axis(axis["name"][:60], tuple(values))))
            check_order(told)
        except ConfigError as error:
            raise invalid(str(error), "axes") from None
    if len({_plain_name(axis.name) for axis in axes}) < len(axes):
        raise invalid("Two axes of a grid have the same name.", "axes")
    return axes


def _plot(row: Any) -> Plot:
    axes = [Axis(a["name"], tuple(a["values"])) for a in json.loads(row["axes"])]
    return Plot(row["number"], row["id"], row["created"], axes, json.loads(row["jobs"]))
