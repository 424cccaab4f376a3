"""What a captioner says of pictures: of files, where it looked as it said so, and how often it is right."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inkwash.core.errors import ConfigError, DataError
from inkwash.core.extras import library
from inkwash.core.model import Captioner, Written
from inkwash.core.rng import Rng, mix
from inkwash.core.words import is_chinese
from inkwash.data import Dataset, Loader, Source, open_held_out, open_source
from inkwash.data.scenes import ScenesSource, tells
from inkwash.data.source import Few
from inkwash.inference.edit import read_picture
from inkwash.inference.features import thinned
from inkwash.inference.load import Loaded
from inkwash.inference.pictures import grid
from inkwash.inference.prompts import LANGUAGES
from inkwash.metrics.tables import Figure, share
from inkwash.nn.tokenizer import plain

LOOKED = 20_000  # training images that the nearest one is sought among, unless there are fewer


def writer_of(loaded: Loaded) -> Captioner:
    """The model as a captioner. Raises ConfigError where it is none."""
    if not isinstance(loaded.model, Captioner):
        raise ConfigError(f"A {loaded.kind!r} model writes no captions; one trained with the recipe 'caption' does.")
    return loaded.model


@torch.no_grad()
def describe(loaded: Loaded, paths: Sequence[str], seed: int = 0, options: dict[str, Any] | None = None) -> list[tuple[Tensor, Written]]:
    """Each file as the model saw it, (C, H, W), and what it wrote. Raises InkwashError for a file that cannot be read."""
    model, chosen = writer_of(loaded), loaded.options(**(options or {}))
    pictures = [read_picture(path, loaded, model.any_size) for path in paths]
    out = []
    for i, x in enumerate(pictures):  # one by one: what is said of a picture shall not depend on the others
        rng = Rng([mix(seed + i, "caption")], loaded.model.device)
        out.append((x, model.caption(x[None].to(loaded.model.device), rng, chosen)[0]))
    return out


def looked(picture: Tensor, written: Written) -> Image.Image:
    """The picture once for each word: bright where the model looked before it wrote that. (C, H, W) in [-1, 1]."""
    grey = picture[:3].mean(0, keepdim=True).expand(3, -1, -1)
    shown = []
    for seen in written.maps:
        heat = F.interpolate(seen[None, None].float(), picture.shape[-2:], mode="bilinear", align_corners=False)[0]
        shown.append(grey * 0.4 + (heat / heat.max().clamp(min=1e-9)) * torch.tensor([1.0, 0.5, -0.2])[:, None, None] * 0.9 - 0.2)
    labels = ["", *(w if w.isascii() else str(i + 1) for i, w in enumerate(written.words))]
    return grid(torch.stack([picture[:3].expand(3, -1, -1), *shown]).clamp(-1, 1), labels=labels)


@torch.no_grad()
def caption_rows(loaded: Loaded, data: str, n: int, batch: int, watch: Callable[[str], Any], **options: Any) -> dict[str, list[Figure]]:
    """Figures of captions of held-out images, beside those of the nearest training image (a row of its own; of at most LOOKED).

    right: of scenes, the share of captions that name every object and a relation that holds, and nothing else; of two: of scenes with
    at most two objects. BLEU-4 and CIDEr against the images' own captions (extra `captions`). A row for each language that the
    captions are in. Raises ConfigError for a model that writes nothing or where the extra is missing, DataError where no image has any.
    """
    writer_of(loaded)
    library("sacrebleu", "captions")  # said before anything is written
    view = loaded.view
    source = Few.where_slow(open_held_out(data), n)
    held_out, train = Dataset(source, view), Dataset(Few.where_slow(open_source(data, "train"), LOOKED), view)
    if not held_out.facts.captions:
        raise DataError(f"{data} has no captions to compare with.")
    loader = Loader(held_out, 1, augment=False)  # shuffled: sets are often sorted
    at = loader.rows_at(np.arange(min(n, len(held_out)))).tolist()
    texts = [held_out.text(i) for i in at]
    with watch("nearest training images") as on_step:
        near = [train.text(j) for j in _nearest(held_out, train, at, batch, on_step)]
    rows, against = {}, held_out.fingerprint()
    speaks = "lang" in type(loaded.model.default_options()).model_fields
    for lang in loaded.model.config.languages:
        name = LANGUAGES[lang]
        known, copied = ([[t for t in row if is_chinese(t) == (lang == "zh")] for row in these] for these in (texts, near))
        have = [i for i, row in enumerate(known) if row]  # images that have captions in it
        if not have:
            continue
        with watch(f"captions, {name}") as on_step:
            said = _said(loaded, loader, len(at), batch, on_step, options | ({"lang": lang} if speaks else {}))
        for row, lines in ((loaded.name, said), ("nearest training image", [row[0] if row else "" for row in copied])):
            lines, own = [lines[i] for i in have], [known[i] for i in have]
            rows[f"{row}, {name}"] = [*_right(lines, source, [at[i] for i in have], against), *_overlap(lines, own, lang, against)]
    return rows


def _said(loaded: Loaded, loader: Loader, n: int, batch: int, on_step, options: dict) -> list[str]:
    chosen, out = loaded.options(**options), []
    for start in range(0, n, batch):
        rows = loader.batch_at(start, min(batch, n - start)).to(loaded.model.device)
        rng = Rng([mix(i, "caption") for i in rows.index.tolist()], loaded.model.device)
        out += [w.text for w in loaded.model.caption(rows.image, rng, chosen)]
        if on_step:
            on_step(len(out), n)
    return out


def _nearest(data: Dataset, train: Dataset, at: list[int], batch: int, on_step, side: int = 16) -> list[int]:
    """For each row the training image that differs least, seen `side` pixels a side; of more than LOOKED an even share is looked at."""

    def small(which: Sequence[int], of: Dataset) -> Tensor:
        x = of.rows(which).images.float()
        return F.adaptive_avg_pool2d(x, side).flatten(1)

    queries = torch.cat([small(at[i : i + batch], data) for i in range(0, len(at), batch)])
    best, where = torch.full((len(at),), torch.inf), torch.zeros(len(at), dtype=torch.long)
    shown = thinned(len(train), LOOKED)
    for start in range(0, len(shown), 1000):
        which = shown[start : start + 1000]
        far, nearest = torch.cdist(queries, small(which.tolist(), train)).min(1)
        closer = far < best
        best, where = torch.where(closer, far, best), torch.where(closer, which[nearest], where)
        if on_step:
            on_step(start + len(which), len(shown))
    return where.tolist()


def _right(lines: list[str], source: Source, at: list[int], against: str) -> list[Figure]:
    if isinstance(source, Few):
        source, at = source.source, [int(source.at[i]) for i in at]
    if not isinstance(source, ScenesSource):
        return []
    scenes = [source.scene(i) for i in at]
    told = [(len(scene.objects), tells(line, scene)) for line, scene in zip(lines, scenes)]
    groups = {"right": [t for _, t in told], "right of two": [t for count, t in told if count <= 2]}
    return [share(k, v, against) for k, v in groups.items() if v]


def _overlap(lines: list[str], known: list[list[str]], lang: str, against: str) -> list[Figure]:
    """BLEU-4 (Papineni et al. 2002) by sacrebleu, and CIDEr (Vedantam et al. 2015) by pycocoevalcap where that is installed."""
    sacrebleu = library("sacrebleu", "captions")
    lines, known = [plain(t).strip() for t in lines], [[plain(t).strip() for t in row] for row in known]  # as the model can write
    most = max(map(len, known))
    references = [[row[min(k, len(row) - 1)] for row in known] for k in range(most)]
    bleu = sacrebleu.corpus_bleu(lines, references, tokenize="zh" if lang == "zh" else "13a", lowercase=True).score / 100
    figures = [Figure("BLEU-4", bleu, len(lines), None, None, against)]
    if find_spec("pycocoevalcap"):
        cut = (lambda t: " ".join(t)) if lang == "zh" else str.lower
        own, said = {i: [cut(t) for t in row] for i, row in enumerate(known)}, {i: [cut(t)] for i, t in enumerate(lines)}
        scorer = library("pycocoevalcap.cider.cider", "captions").Cider()
        figures.append(Figure("CIDEr", float(scorer.compute_score(own, said)[0]), len(lines), None, None, against))
    return figures
