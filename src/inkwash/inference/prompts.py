"""How well a model draws what is written: it is given the captions of scenes, and what it draws is read by `parse`."""

from collections.abc import Callable
from typing import Any

from inkwash.core.errors import ConfigError
from inkwash.core.pixels import to_uint8
from inkwash.data import open_source
from inkwash.data.scenes import ScenesSource, Unreadable, agree, asked, parse
from inkwash.inference.load import Loaded
from inkwash.metrics.tables import Figure, share

LANGUAGES = {"en": "English", "zh": "Chinese"}
SPLITS = {"test": "held-out compositions", "val": "known compositions"}


def prompt_rows(
    loaded: Loaded, data: str, n: int, seeds: int, batch: int, watch: Callable[[str], Any], **options: Any
) -> dict[str, list[Figure]]:
    """For either language and either split, of n prompts each drawn with so many seeds: the share of objects of the right shape and
    colour (of all, and where two are asked for), of right counts, of relations that hold, and of pictures that cannot be read.

    Raises ConfigError for a model that reads no text, or data other than `scenes`.
    """
    if not isinstance(open_source(data), ScenesSource):
        raise ConfigError("Whether a prompt was obeyed can be read in scenes only: --data 'scenes?size=64'.")
    sources = {split: open_source(data, split) for split in SPLITS}
    if loaded.model.config.shape != (3, *(sources["test"].size,) * 2):
        raise ConfigError(f"{loaded.name} draws {loaded.model.config.shape[1]} pixels a side: --data 'scenes?size=SIDE' must say the same.")
    rows, against = {}, "scenes of " + " and ".join(s.fingerprint() for s in sources.values())  # the splits are there to be compared
    for split, kind in SPLITS.items():
        for language in sources[split].lang:
            row = f"{loaded.name}, {LANGUAGES[language]}, {kind}"
            with watch(row) as on_step:
                rows[row] = _figures(loaded, sources[split], language, min(n, len(sources[split])), seeds, batch, on_step, against, options)
    return rows


def _figures(
    loaded: Loaded, source: ScenesSource, language: str, n: int, seeds: int, batch: int, on_step, against: str, options: dict
) -> list[Figure]:
    at = source.lang.index(language) * source.captions
    prompts, agreed, unread = [source.text(i)[at] for i in range(n)], [], 0
    scenes = [asked(source.scene(i), prompts[i]) for i in range(n)]
    for k in range(seeds):
        images = loaded.sample(n, k * 10**6, None, batch, on_step, prompts, **options)
        for scene, image in zip(scenes, to_uint8(images).permute(0, 2, 3, 1).numpy()):
            seen = parse(image, alike=source.settings.alike > 0)
            unread += isinstance(seen, Unreadable)
            agreed.append((len(scene.objects), agree(scene, seen)))
    figures = [
        ("objects", [right for _, a in agreed for right in a.objects]),
        ("objects of two", [right for count, a in agreed if count == 2 for right in a.objects]),
        ("counts", [a.count for _, a in agreed]),
        ("relations", [a.relation for _, a in agreed if a.relation is not None]),
    ]
    return [*(share(name, values, against) for name, values in figures if values), Figure("unreadable", unread / len(agreed), len(agreed))]
