"""inkwash evaluate."""

import json as jsonlib
from pathlib import Path

from inkwash.cli.common import pairs, progress, tell, user_code
from inkwash.core.disk import read_json, write_text
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.files import CONFIG
from inkwash.core.model import Sequence
from inkwash.inference.evaluate import DISTANCES, evaluate_folder, evaluate_model, wanted
from inkwash.inference.load import bundled, load
from inkwash.metrics.features.catalog import extractor


def run(
    what: str,
    data: str,
    n: int,
    metrics: str,
    extractor_name: str,
    seeds: int,
    options: list[str],
    batch: int,
    device: str,
    code: str | None,
    json: bool,
) -> None:
    user_code(code)
    path = Path(what)
    own = not path.exists() and what in bundled()
    if not path.exists() and not own:
        raise FileError(f"There is no {what}: name a run, a model folder, or a folder of images.")
    if not own and not ((path / "run.json").is_file() or (path / CONFIG).is_file()):
        if options or seeds > 1:
            raise ConfigError(f"{what} holds pictures that are made already: --seeds and -o are for models.")
        net = extractor(extractor_name) if DISTANCES & set(wanted(metrics, None)) else None
        report = evaluate_folder(what, data, n, metrics, net, progress)
        return tell(report.record(), json, [report.text()])
    given = pairs(options)
    if mine := {"loaded", "data", "n", "metrics", "net", "seeds", "batch", "watch"} & set(given):
        raise ConfigError(f"-o is for the model's own options: {min(mine)} is said by an option of the command.")
    loaded = load(path, device)
    needs_net = not isinstance(loaded.model, Sequence) and DISTANCES & set(wanted(metrics, loaded))
    net = extractor(extractor_name).to(loaded.model.device) if needs_net else None
    report = evaluate_model(loaded, data, n, metrics, net, seeds, batch, progress, **given)
    book = loaded.path / "metrics.json"
    if own:  # inside the package nothing is written
        return tell(report.record(), json, [report.text()])
    record = read_json(book) if book.is_file() else {}
    key = " ".join(filter(None, [data, f"n={n}", *sorted(options), net.id if net else ""]))
    record.setdefault("figures", {})[key] = report.record()
    write_text(book, jsonlib.dumps(record, indent=2, ensure_ascii=False))
    tell({**report.record(), "wrote": str(book)}, json, [report.text(), f"wrote {book}"])
