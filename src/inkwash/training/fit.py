"""Models that are fitted at once, without steps: the same folder, card and figures as any run."""

import json
import sys
import time
from pathlib import Path

import inkwash
from inkwash.core.device import peak_memory
from inkwash.core.disk import make_folder, write_text
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.files import save_model
from inkwash.core.model import Fittable, Sampler
from inkwash.core.rng import Rng
from inkwash.data import Dataset, Loader
from inkwash.inference.draw import draw
from inkwash.inference.pictures import grid, save_png
from inkwash.training.card import card
from inkwash.training.config import RunConfig
from inkwash.training.log import Log, duration
from inkwash.training.trainer import fill_from


def fit(config: RunConfig, data: Dataset, out: Path, log: Log) -> None:
    """Fit a `Fittable` to the data's images, and write RUN/model, a grid of samples and run.json.

    Raises FileError where there is a run already, ConfigError where the data are not the model's.
    """
    if (out / "run.json").exists():
        raise FileError(f"There is already a run in {out}: choose another --out.")
    found = (data.facts.channels, data.facts.height, data.facts.width)
    if tuple(config.model.shape) != found:
        raise ConfigError(
            f"model.shape is {tuple(config.model.shape)} and the data are {found}: set data.view.size and data.view.channels."
        )
    model = config.model.build()
    if not isinstance(model, Fittable):
        raise ConfigError(f"A {config.model.kind!r} model is trained in steps: objective.kind=fit is not for it.")
    if config.start:
        fill_from(model, config.start)
    make_folder(out / "samples")
    count, start = min(config.objective.images, len(data)), time.monotonic()
    batch = Loader(data, count, config.train.seed, augment=False).batch_at(0)
    log.say(f"  fitting a {config.model.kind!r} model to {count} images")
    model.fit(batch.image, batch.cond.label, Rng.of_rows(config.train.seed, batch.index, "fit"))
    seconds = round(time.monotonic() - start, 1)
    facts = {"source": config.data.source, "split": config.data.split, "count": len(data)}
    facts |= {"label_counts": data.label_counts().tolist() if data.classes else [], "fingerprint": data.fingerprint()}
    facts |= {"view": data.view.model_dump(mode="json")}
    trained = {"step": 1, "images": count, "seconds": seconds}
    extra = {"metrics.json": json.dumps({"data": facts, "trained": trained}, indent=2, ensure_ascii=False)}
    save_model(out / "model", config.model, model.state_dict(), card(config, model, facts, trained), extra)
    if isinstance(model, Sampler) and config.train.samples:
        images = draw(model.eval(), range(config.train.samples), model.default_options())
        save_png(out / "samples" / f"{count:09d}.png", grid(images), {"model": config.model.kind, "images": count})
    log.line({"step": 1, "images": count, "elapsed": seconds, "figures": {}})
    write_text(out / "run.json", json.dumps(_record(config, data, count, seconds), indent=2, ensure_ascii=False))
    log.say(f"fitted in {duration(seconds)}")


def _record(config: RunConfig, data: Dataset, count: int, seconds: float) -> dict:
    return {
        "inkwash": inkwash.__version__,
        "status": "finished",
        "config": config.model_dump(mode="json"),
        "data": {"fingerprint": data.fingerprint(), "count": len(data), "source": config.data.source},
        "step": 1,
        "images": count,
        "elapsed": seconds,
        "precision": "fp32",
        "peak_memory": peak_memory(),
        "command": sys.argv,
        "saved": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
