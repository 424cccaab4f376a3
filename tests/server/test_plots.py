"""Grids without HTTP and without a worker: what is asked of each cell, all or none, and their picture."""

import asyncio
import io
import json

import numpy as np
import pytest
from PIL import Image

from inkwash.inference.pictures import read_facts
from inkwash.inference.provenance.write import Provenance
from inkwash.server.errors import ApiError
from inkwash.server.plots import Plots
from inkwash.server.queue import CANCELLED, DONE, QUEUED
from inkwash.server.serving import Serving
from inkwash.server.settings import Limits, ServerConfig
from live import png

FACTS = {
    "kind": "latent",
    "path": "runs/reader",
    "shape": [3, 64, 64],
    "does": ["generate"],
    "reads": True,
    "classes": [],
    "options": {"steps": {"default": 14}, "guidance": {"default": 1.0}, "negative": {"default": ""}, "eta": {"default": 0.0}},
}


def plots_of(folder, **settings) -> Plots:
    made = Serving(ServerConfig(models=("m",), folder=folder, limits=Limits(queue=12), **settings))
    made.queue.describe({"reader": FACTS})
    return Plots(made)


@pytest.fixture
def plots(tmp_path):
    return plots_of(tmp_path)


def axis(name, *values):
    return {"name": name, "values": list(values)}


def begun(plots, **body) -> list[dict]:
    """The requests of the cells, in reading order."""
    plot = plots.begin({"prompt": "a", **body})
    return [plots.jobs(plot)[id].payload["request"] for id in plot.jobs.values()]


def finish(plots, plot, place: str, picture: bytes) -> None:
    job, queue = plot.jobs[place], plots.serving.queue
    queue.claim([job])
    file = plots.serving.pictures.put(picture, "png")
    queue.finish(job, DONE, {"pictures": [{"file": file, "seed": 1, "size": [8, 8], "made": [8, 8], "facts": {}}]})


@pytest.mark.parametrize(
    "name, field, own",
    [
        ("steps", {"num_inference_steps": 7}, "steps"),
        ("num_inference_steps", {"steps": 7}, "steps"),
        ("guidance", {"cfg_scale": 7}, "guidance"),
        ("guidance_scale", {"guidance": 7}, "guidance"),
        ("negative", {"negative_prompt": "x"}, "negative"),
    ],
)
def test_an_axis_counts_more_than_a_field_under_any_of_its_names(plots, name, field, own):
    values = ("p", "q") if own == "negative" else (2, 3)
    assert [r["options"][own] for r in begun(plots, axes={"x": axis(name, *values)}, **field)] == list(values)


@pytest.mark.parametrize(
    "axes, said",
    [
        ({"x": axis("steps", 1), "y": axis("num_inference_steps", 2)}, "same name"),
        ({"x": axis("n", 1, 2)}, "changes nothing in a picture"),
        ({"x": axis("stream", True)}, "changes nothing in a picture"),
        ({"x": axis("quality", "low", "high")}, "changes nothing in a picture"),
        ({"x": axis("axes", 1)}, "changes nothing in a picture"),
        ({"y": axis("seed", 1)}, "a y only beside an x"),
        ({"x": axis("seed", 1), "z": axis("steps", 1)}, "a z only beside both"),
        ({"x": axis("steps")}, "has no values"),
    ],
)
def test_axes_that_would_not_do_what_they_say_are_refused(plots, axes, said):
    with pytest.raises(ApiError, match=said):
        begun(plots, axes=axes)
    assert plots.serving.queue.counts()[QUEUED] == 0 and plots.page() == []


def test_cells_that_do_not_fit_are_refused_and_one_that_never_will_is_not_tried_again(plots):
    for count in (6, 4):
        plots.begin({"prompt": "a", "axes": {"x": axis("seed", *range(count))}})
    with pytest.raises(ApiError, match=r"10 wait already, and there is no room for 3 more\. Try again") as later:
        begun(plots, axes={"x": axis("seed", 1, 2, 3)})
    assert later.value.status == 429 and set(later.value.headers) == {"Retry-After"}
    with pytest.raises(ApiError, match=r"at most 12 jobs: .* no room for 13 more\.$") as never:
        begun(plots, axes={"x": axis("seed", *range(13))})
    assert never.value.headers["x-should-retry"] == "false"
    assert plots.serving.queue.counts()[QUEUED] == 10 and len(plots.page()) == 2


def test_a_grid_that_is_asked_for_twice_is_one(plots):
    body = {"prompt": "a", "axes": {"x": axis("seed", *range(9))}}
    first = plots.begin(body, "once")
    assert plots.begin(body, "once") == first and plots.page() == [first], "and room in the queue is needed once"
    assert plots.begin({**body, "axes": {"x": axis("seed", 1)}}, "twice").id != first.id


def test_jobs_and_their_grid_come_in_one_transaction(plots, monkeypatch):
    """What is killed in between leaves neither jobs without a grid nor a grid of half its cells."""
    monkeypatch.setattr(json, "dumps", lambda value, dumps=json.dumps: 1 / 0 if "0-0-0" in value else dumps(value))
    with pytest.raises(ZeroDivisionError):
        begun(plots, axes={"x": axis("seed", 1, 2)})
    monkeypatch.undo()
    assert plots.serving.queue.counts()[QUEUED] == 0 and plots.page() == []


def test_a_sheet_says_what_its_pictures_have_to_say(tmp_path):
    plots = plots_of(tmp_path, provenance=Provenance(label="cn", producer="inkwash-test"))
    plot = plots.begin({"prompt": "a", "axes": {"x": axis("seed", 1, 2), "y": axis("steps", 3)}})
    finish(plots, plot, "1-0-0", png(colour=(200, 30, 30)))
    data = plots.picture(plot)()
    (tmp_path / "sheet.png").write_bytes(data)
    assert b"TC260:AIGC" in data and b"trainedAlgorithmicMedia" in data
    assert read_facts(tmp_path / "sheet.png") == {"model": "reader", "axes": {"seed": [1, 2], "steps": [3]}}
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    assert (pixels == (200, 30, 30)).all(2).sum() == 128 * 128 and (pixels == 232).all(2).sum() >= 128 * 128  # one is there, one is not
    plots.serving.remove(plot.jobs["1-0-0"])
    assert (np.asarray(Image.open(io.BytesIO(plots.picture(plot)()))) != (200, 30, 30)).any(2).all()


def test_a_grid_is_followed_until_its_last_cell_has_ended(plots):
    plot = plots.begin({"prompt": "a", "axes": {"x": axis("seed", 1, 2)}})
    first, second = plot.jobs.values()

    async def watch() -> list[list[str]]:
        pump, seen = asyncio.create_task(plots.serving.pump()), []
        await asyncio.sleep(0)  # the pump looks where things stand
        async with asyncio.timeout(10):
            async for jobs in plots.serving.follow_all([first, second]):
                seen.append([jobs[id].state for id in (first, second)])
                if len(seen) == 1:
                    plots.serving.queue.cancel(second)
                elif len(seen) == 2:
                    finish(plots, plot, "0-0-0", png())
        pump.cancel()
        return seen

    seen = asyncio.run(watch())
    assert seen[0] == [QUEUED, QUEUED] and seen[1] == [QUEUED, CANCELLED] and seen[-1] == [DONE, CANCELLED]
    assert not plots.serving._events


def test_pages_lead_back_to_the_first_grid(plots):
    begun = [plots.begin({"prompt": "a", "axes": {"x": axis("seed", k)}}) for k in range(5)]
    seen = plots.page(limit=2)
    while page := plots.page(before=seen[-1].number, limit=2):
        seen += page
    assert seen == begun[::-1]


def test_a_grid_goes_with_its_jobs_and_pictures_once_all_have_ended(plots):
    kept, plot = (plots.begin({"prompt": "a", "axes": {"x": axis("seed", 1, 2)}}, name) for name in ("kept", "gone"))
    finish(plots, kept, "0-0-0", png())
    finish(plots, plot, "0-0-0", png())
    with pytest.raises(ApiError, match="cancel it first") as early:
        plots.remove(plot)
    assert (early.value.status, early.value.code) == (409, "not_ended")
    assert len(plots.jobs(plot)) == 2 and len(list(plots.serving.pictures.folder.iterdir())) == 2, "none of it has gone"
    plots.cancel(plot)
    plots.remove(plot)
    assert plots.page() == [kept] and not plots.jobs(plot) and len(plots.jobs(kept)) == 2
    assert [p.name for p in plots.serving.pictures.folder.iterdir()] == [plots.jobs(kept)[kept.jobs["0-0-0"]].result["pictures"][0]["file"]]
    with pytest.raises(ApiError) as unknown:
        plots.get(plot.id)
    assert unknown.value.status == 404
    assert plots.begin({"prompt": "a", "axes": {"x": axis("seed", 9)}}, "gone").id == plot.id, "its name is free again"


def test_a_grid_whose_jobs_were_removed_one_by_one_goes_too(plots):
    plot = plots.begin({"prompt": "a", "axes": {"x": axis("seed", 1, 2)}})
    plots.cancel(plot)
    plots.serving.remove(plot.jobs["0-0-0"])
    plots.remove(plot)
    assert plots.page() == [] and plots.serving.queue.page() == []
