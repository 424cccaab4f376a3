"""Fair evaluation: a model, or a folder of images, against real images, with a floor that says what perfect would read.

The reference is the training split. The floor row compares held-out real images with it: no honest model reads lower. Every row
has as many images as the others where the data allow, since distances shrink with the number of images.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inkwash.core.batch import Batch
from inkwash.core.errors import ConfigError, DataError, nearest
from inkwash.core.model import Aligner, Autoencoder, Captioner, Codes, Density, Importance, Likelihood, Sampler, Tag, weighed
from inkwash.core.model import Sequence as Continues
from inkwash.core.pixels import from_uint8
from inkwash.core.rng import Rng, mix
from inkwash.data import Dataset, Loader, Source, View, open_source
from inkwash.data.decode import to_channels
from inkwash.data.files import FilesSource
from inkwash.inference.captions import caption_rows
from inkwash.inference.clips import clip_rows
from inkwash.inference.draw import draw_texts
from inkwash.inference.features import MOST, features_of, thinned
from inkwash.inference.load import Loaded
from inkwash.inference.prompts import prompt_rows
from inkwash.inference.retrieval import retrieval_rows
from inkwash.metrics.features.base import FeatureNet, extract
from inkwash.metrics.frechet import Moments, frechet_distance, moments
from inkwash.metrics.kid import kid
from inkwash.metrics.likelihood import bits_per_dim
from inkwash.metrics.neighbours import memorisation
from inkwash.metrics.paired import WINDOW, psnr, ssim
from inkwash.metrics.prdc import prdc
from inkwash.metrics.tables import Figure, Table

METRICS = ("fd", "kid", "prdc", "memory", "bpd", "iwae", "density", "codes", "psnr", "ssim", "prompts", "captions", "retrieval")
DISTANCES = frozenset(METRICS[:4])
PAIRED = {"psnr": ("PSNR dB", psnr), "ssim": ("SSIM", ssim)}  # a measure's title, and the measure of two images
FEW = 2000  # samples whose nearest training image is looked for; and images for likelihoods and reconstructions, beside distances
DRAWS = 50  # of the bound "iwae", as most of the literature has it
PAIRWISE = 10_000  # reference images in figures that compare all pairs

Watch = Callable[[str], Any]  # a stage's name to a context manager that yields on_step


@dataclass
class Report:
    """A table, and the facts that no column holds: seconds and network evaluations an image, the options sampled with."""

    table: Table
    facts: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        return "\n".join([self.table.text(), *(f"{k.replace('_', ' ')}: {v}" for k, v in self.facts.items())])

    def possible(self, names: list[str], n: int, auto: bool) -> list[str]:
        """Under "auto", the measures that n images can give; what is left out is said."""
        few = {"prdc": 6, "kid": 4}  # fifth neighbours; two halves of two
        left = [m for m in names if auto and n < few.get(m, 2)]
        if left:
            self.facts["left out"] = f"{', '.join(left)}: {n} images are too few"
        return [m for m in names if m not in left]

    def floor(self, known: "Reference", names: Sequence[str], n: int) -> None:
        """The floor row; a note where it stands on fewer images than the n that are measured."""
        self.table.add("held-out (floor)", *known.figures(known.held_out, names))
        if len(known.held_out) < n:
            self.facts["note"] = f"the floor has {len(known.held_out)} images, and FD reads higher the fewer there are"

    def record(self) -> dict[str, Any]:
        return {"title": self.table.title, "figures": self.table.records(), **self.facts}


@dataclass
class Reference:
    """The training split as features, and what is computed of it once."""

    net: FeatureNet
    name: str
    train: Tensor
    held_out: Tensor
    moments: Moments

    def figures(self, features: Tensor, metrics: Sequence[str]) -> list[Figure]:
        """Figures of one set of features (N, D) against the reference."""
        n, known = len(features), {"extractor": self.net.id, "reference": self.name}
        every = evenly(self.train, PAIRWISE)  # never the first ones: sets are often sorted by class
        out = []
        if "fd" in metrics:
            out.append(Figure("FD", frechet_distance(moments(features), self.moments), n, **known))
        if "kid" in metrics:
            value = kid(features, every)
            out.append(Figure("KID", value.value, n, value.spread, **known))
        if "prdc" in metrics:
            four = prdc(evenly(every, n), features)
            out += [Figure(name, value, n, **known) for name, value in four._asdict().items()]
        if "memory" in metrics:
            near = memorisation(evenly(features, FEW), evenly(self.held_out, FEW), self.train)
            out.append(Figure("nearest ratio", near.ratio, n, **known))
            out.append(Figure("copies", near.copies, n, **known))
        return out


def evenly(features: Tensor, most: int) -> Tensor:
    """Up to `most` rows, evenly spread over all of them."""
    return features[thinned(len(features), most)]


def is_auto(metrics: str | Sequence[str]) -> bool:
    """Whether the choice of measures is left to us."""
    return metrics in ("auto", ["auto"])


def wanted(metrics: str | Sequence[str], loaded: Loaded | None) -> list[str]:
    """The measures asked for; "auto" is every one that the model can give. Raises ConfigError for one that it cannot."""
    able = set(DISTANCES if loaded is None or isinstance(loaded.model, Sampler) else ())
    if loaded is None:  # a folder: PSNR and SSIM against pictures of the same names, where they are asked for
        able |= set() if is_auto(metrics) else set(PAIRED)
    else:
        able |= {"bpd"} if isinstance(loaded.model, Likelihood) else set()
        able |= {"iwae"} if isinstance(loaded.model, Importance) and not is_auto(metrics) else set()
        able |= {"density"} if isinstance(loaded.model, Density) and not is_auto(metrics) else set()  # minutes: only where asked for
        able |= {"prompts"} if "tokens" in loaded.model.accepts and not is_auto(metrics) else set()
        able |= {"retrieval"} if isinstance(loaded.model, Aligner) else set()
        able |= {"captions"} if isinstance(loaded.model, Captioner) else set()
        able |= {"codes"} if isinstance(loaded.model, Codes) else set()
        if isinstance(loaded.model, Autoencoder):
            able |= {"psnr", "ssim"} if min(loaded.model.config.shape[1:]) >= WINDOW else {"psnr"}
    names = [m.strip() for m in metrics.split(",")] if isinstance(metrics, str) else list(metrics)
    if is_auto(metrics):
        return [m for m in METRICS if m in able]
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"There is no metric {name!r}; {nearest(name, METRICS)}")
        if name not in able:
            raise ConfigError(f"{name} cannot be measured here; what can: {', '.join(m for m in METRICS if m in able)}.")
    return names


def open_pair(data: str, view: View) -> tuple[Dataset, Dataset]:
    """The reference split (the spec's, else train) and the held-out one (test, else val) through one view.

    Raises DataError where nothing is held out.
    """
    train = Dataset(open_source(data), view)
    mine = train.source.split
    others = [s for s in ("test", "val", "train") if s in train.source.splits and mine not in (s, "all")]
    if not others:
        raise DataError(f"{data} leaves no other split for the floor row: name data of two splits or more, and not :all.")
    held_out = Dataset(open_source(data, others[0]), train.view)
    if not len(held_out):
        raise DataError(f"{data} has no held-out images, so there is no floor to compare with.")
    return train, held_out


def reference(net: FeatureNet, train: Dataset, held_out: Dataset, n: int, watch: Watch) -> Reference:
    """Features of both splits, from the cache where they are known."""
    with watch("features of the training split") as on_step:
        features = features_of(net, train, MOST, on_step)
    with watch("features of the held-out split") as on_step:
        held = features_of(net, held_out, n, on_step)
    name = f"{train.source.name} {train.source.split}, {len(features)} images, {train.fingerprint()}"
    return Reference(net, name, features, held, moments(features))


def silent(stage: str) -> Any:
    """A watch that shows nothing."""
    return nullcontext(None)


def evaluate_model(
    loaded: Loaded,
    data: str,
    n: int = 10_000,
    metrics: str | Sequence[str] = "auto",
    net: FeatureNet | None = None,
    seeds: int = 1,
    batch: int = 128,
    watch: Watch = silent,
    **options: Any,
) -> Report:
    """Measure a model. seeds: sampling seeds; with more than one, a figure is their mean and its spread their deviation.

    Of a model that continues clips, the options are those of `clip_rows`. Raises ConfigError for measures that cannot be.
    """
    title = f"{loaded.name} ({loaded.kind}) on {data}"
    if isinstance(loaded.model, Continues):
        return _rows(title, clip_rows(loaded, data, n, metrics, batch, watch, **options))
    names = wanted(metrics, loaded)
    if names == ["captions"]:
        return _rows(title, caption_rows(loaded, data, n, batch, watch, **options))
    if names == ["retrieval"]:
        return _rows(title, retrieval_rows(loaded, data, n, batch, watch, **options))
    if names == ["prompts"]:
        return _rows(title, prompt_rows(loaded, data, n, seeds, batch, watch, **options))
    if "prompts" in names:
        raise ConfigError("Prompts have a table of their own: ask for --metrics prompts alone.")
    view = loaded.view
    train, held_out = open_pair(data, view)
    report = Report(Table(title))
    if distances := [m for m in names if m in DISTANCES]:
        known = reference(net, train, held_out, n, watch)
        distances = report.possible(distances, min(n, len(known.held_out)), is_auto(metrics))
        report.floor(known, distances, n)
        runs, seconds = [], 0.0
        for k in range(seeds):
            with watch(f"samples, seed {k}") as on_step:
                start = time.perf_counter()
                prompts = draw_texts(range(k * 10**6, k * 10**6 + n), held_out) if "tokens" in loaded.model.accepts else None
                batches = loaded.sample_batches(n, k * 10**6, None, batch, on_step, prompts, **options)
                parts = []
                for images in batches:
                    seconds += time.perf_counter() - start
                    parts.append(extract(net, images))
                    start = time.perf_counter()
            runs.append(known.figures(torch.cat(parts), distances))
        report.table.add(loaded.name, *map(_mean, zip(*runs)))
        chosen = loaded.options(**options)
        report.facts |= {"seconds_per_image": round(seconds / (n * seeds), 6), "evaluations": loaded.model.evaluations(chosen)}
        report.facts |= {"seeds": seeds, "precision": loaded.precision.name, "options": chosen.model_dump()}
    if exact := [m for m in names if m not in DISTANCES]:
        report.table.add(loaded.name, *held_out_figures(loaded, held_out, min(n, FEW) if distances else n, exact, batch, watch))
    return report


def _rows(title: str, rows: dict[str, list[Figure]]) -> Report:
    table = Table(title)
    for row, figures in rows.items():
        table.add(row, *figures)
    return Report(table)


def _mean(figures: Sequence[Figure]) -> Figure:
    """One figure from those of several seeds."""
    if len(figures) == 1:
        return figures[0]
    first, values = figures[0], [f.value for f in figures]
    spread = statistics.stdev(values)
    return Figure(first.name, statistics.fmean(values), first.n, spread, first.extractor, first.reference, first.tag)


@torch.no_grad()
def held_out_figures(loaded: Loaded, data: Dataset, n: int, metrics: Sequence[str], batch: int, watch: Watch) -> list[Figure]:
    """Bits per dimension of held-out images, and how well they are reconstructed. The spread is the standard error."""
    n, model = min(n, len(data)), loaded.model
    loader = Loader(data, 1, augment=False)  # shuffled: sets are often sorted by class
    values: dict[str, list[Tensor]] = {m: [] for m in metrics}
    with watch("held-out images") as on_step:
        for start in range(0, n, batch):
            rows: Batch = loader.batch_at(start, min(batch, n - start)).to(model.device)
            for name in (m for m in ("bpd", "iwae", "density") if m in metrics):  # in fp32: bf16 has too few digits for nats
                rng = Rng([mix(i, "evaluate" if name == "bpd" else name) for i in rows.index.tolist()], model.device)
                values[name].append(PROBABLE[name](model, rows.image, rows.cond, rng))
            if "codes" in metrics:
                values["codes"].append(model.codes(rows.image).flatten(1))
            if paired := [m for m in metrics if m in PAIRED]:
                again = model.reconstruct(rows.image, rows.cond)
                for name in paired:
                    values[name].append(PAIRED[name][1](again, rows.image))
            if on_step:
                on_step(min(start + batch, n), n)
    out = []
    for name, parts in values.items():
        v = torch.cat(parts).cpu()
        if name == "codes":
            out.append(Figure("codes in use", len(v.unique()) / model.codebook_size, n, None, None, data.fingerprint()))
            continue
        v = v.double()
        if name in PAIRED:
            out.append(_figure(PAIRED[name][0], v, data.fingerprint()))
        else:
            out += _likelihood(name, v, loaded, data.fingerprint())
    return out


PROBABLE = {  # a measure, and the log-probabilities that it reports
    "bpd": lambda model, *rows: model.log_prob(*rows),
    "iwae": lambda model, *rows: weighed(model, *rows, DRAWS),
    "density": lambda model, *rows: model.log_density(*rows),
}


def _figure(title: str, v: Tensor, against: str, tag: Tag | None = None) -> Figure:
    """The mean of v, with its standard error as the spread."""
    return Figure(title, v.mean().item(), len(v), (v.std() / len(v) ** 0.5).item(), None, against, tag)


def _likelihood(name: str, nats: Tensor, loaded: Loaded, against: str) -> list[Figure]:
    """Log-probabilities as bits per dimension, and as nats of the image."""
    levels, tag = loaded.model.levels, "density" if name == "density" else loaded.model.tag
    against = f"{against}, " + ("uniform dequantisation" if name == "density" else f"{levels} levels")
    kind = {"iwae": f", {DRAWS} draws", "density": ", density"}.get(name, "")
    kind = kind if levels == 256 else f", {levels} levels{kind}"
    bits = bits_per_dim(nats, math.prod(loaded.model.config.shape))
    return [_figure(f"bits/dim{kind}", bits, against, tag), _figure(f"nats{kind}", -nats, against, tag)]


def evaluate_folder(
    folder: str,
    data: str,
    n: int = 10_000,
    metrics: str | Sequence[str] = "auto",
    net: FeatureNet | None = None,
    watch: Watch = silent,
) -> Report:
    """Measure images that are already on disk, brought to the size and channels of the data.

    PSNR and SSIM compare each picture with the one of the same name in the data, at its own size.
    Raises DataError for fewer than two pictures, or pairs that do not match.
    """
    names = wanted(metrics, None)
    report = Report(Table(f"{Path(folder).name} on {data}"))
    if paired := [m for m in names if m in PAIRED]:
        report.table.add(Path(folder).name, *paired_figures(folder, data, paired))
    names = [m for m in names if m in DISTANCES]
    if not names:
        return report
    train, held_out = open_pair(data, View())
    source = open_source(folder, "all")
    if isinstance(source, FilesSource):
        source.leave_out("grid.png")  # the sheet that `sample` puts beside its pictures is no picture
    pictures = Dataset(source, train.view)
    if len(pictures) < 2:
        raise DataError(f"{folder} holds {len(pictures)} images: a distance needs at least two.")
    n = min(n, len(pictures))
    known = reference(net, train, held_out, n, watch)
    with watch(f"features of {folder}") as on_step:
        features = features_of(net, pictures, n, on_step)
    names = report.possible(names, min(len(features), len(known.held_out)), is_auto(metrics))
    report.floor(known, names, len(features))
    report.table.add(Path(folder).name, *known.figures(features, names))
    return report


def paired_figures(folder: str, data: str, metrics: Sequence[str]) -> list[Figure]:
    """PSNR and SSIM of the pictures of a folder against those of the same names in the data. The spread is the standard error.

    Raises DataError where no names agree, or two sizes differ.
    """
    ours, theirs = (_by_name(open_source(place, "all")) for place in (folder, data))
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise DataError(f"No picture in {folder} has the name of one in {data}: pairs are found by file name.")
    values: dict[str, list[float]] = {m: [] for m in metrics}
    for name in common:
        x, y = (_picture(source, i) for source, i in (ours[name], theirs[name]))
        if x.shape != y.shape:
            raise DataError(f"{name} is {tuple(x.shape[-2:])} pixels in {folder} and {tuple(y.shape[-2:])} in {data}.")
        for metric in metrics:
            values[metric].append(PAIRED[metric][1](x, y).item())
    n = len(common)
    spread = {m: statistics.stdev(v) / n**0.5 if n > 1 and math.isfinite(sum(v)) else None for m, v in values.items()}
    return [Figure(PAIRED[m][0], statistics.fmean(v), n, spread[m], None, data) for m, v in values.items()]


def _by_name(source: Source) -> dict[str, tuple[Source, int]]:
    if isinstance(source, FilesSource):  # files tell their names unread
        return {Path(file).stem: (source, i) for i, file in enumerate(source.files)}
    return {Path(source.read(i).name).stem: (source, i) for i in range(len(source))}


def _picture(source: Source, i: int) -> Tensor:
    return from_uint8(torch.from_numpy(to_channels(source.read(i).image, 3).transpose(2, 0, 1).copy()))[None]  # (1, 3, H, W)
