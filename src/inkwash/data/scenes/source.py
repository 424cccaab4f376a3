"""`scenes` as a source of data: numbered records, each made when it is asked for."""

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np

from inkwash.core.boxes import Box
from inkwash.core.errors import ConfigError, nearest
from inkwash.data.scenes.language import captions
from inkwash.data.scenes.motion import check, path
from inkwash.data.scenes.render import render
from inkwash.data.scenes.sampler import SPLITS, Draws, Settings, sample
from inkwash.data.scenes.world import CLASSES, TONES, Scene
from inkwash.data.source import Record, Source
from inkwash.data.splits import canonical

VERSION = 2  # to be raised whenever the same arguments come to give other pictures or words
# What all scenes of a look share: a tone of the ground, or a texture of the objects. The same scene in another look is its true
# translation.
MOTION = 100  # the first stream of random numbers that ways are drawn from
LOOKS = {"day": "paper", "night": "night", "smooth": "plain", "textured": "striped"}


def in_look(scene: Scene, look: str) -> Scene:
    """The same scene by day or by night, its objects smooth or textured."""
    if look in ("day", "night"):
        near, far = TONES[LOOKS[look]]
        return replace(scene, background=replace(scene.background, near=near, far=far))
    return replace(scene, objects=tuple(replace(o, texture=LOOKS[look]) for o in scene.objects))


def boxes_of(scene: Scene) -> tuple[Box, ...]:
    """Where the objects are, in the order that they are spoken of, each by its texture, colour and shape."""
    deeper = sorted(-o.z for o in scene.objects)
    return tuple(Box(f"{o.texture} {o.colour} {o.shape}", o.x, o.y, o.diameter, o.diameter, deeper.index(-o.z) / 8) for o in scene.objects)


def moved(scene: Scene, draws: Draws, frames: int, speed: float) -> list[Scene]:
    """A scene as its objects go on from where they are: so many scenes, the first as it is."""
    ways = []
    for o in scene.objects:
        edge = o.diameter / 2 + 0.015
        room = 1 - 2 * edge
        start = ((o.y - edge) / room, (o.x - edge) / room)
        ways.append(edge + room * path(draws, frames, min(1.0, speed / room), start=start))
    out = []
    for k in range(frames):
        placed = tuple(replace(o, y=float(way[k, 0]), x=float(way[k, 1])) for o, way in zip(scene.objects, ways))
        out.append(replace(scene, objects=placed))
    return out


class ScenesSource(Source):
    """`count` scenes of one split. The label is the first object's place in `CLASSES`; texts are `captions` captions in each language of
    `lang`.

    Scenes of "val" are drawn as those of "train". With `holdout` (unless given, not for `plain` scenes), "test" shows only scenes with a
    composition that the others never have. "all" draws without regard to that. look: one of `LOOKS`, for two kinds of picture of one world.
    frames: above 0, clips of so many frames, in which every object goes its own way and bounces off the edges; captions and labels tell
    of the first. speed: what an object goes in a frame, as a share of the side. clear: no relation that is told is a borderline case.
    apart: nothing touches but what is said to be in front or behind. loose: share of captions that name objects and no relation. alike:
    share of scenes of several objects in which some are of one kind ("two red stars").
    """

    splits = SPLITS[:-1]
    classes = CLASSES
    made = True

    def __init__(self, size: int = 32, count: int = 20_000, seed: int = 0, split: str = "train", objects: int | None = None,
                 plain: bool = False, holdout: bool | None = None, lang: str = "en,zh", captions: int = 1,
                 look: str | None = None, frames: int = 0, speed: float = 0.04, clear: bool = False,
                 apart: bool = False, loose: float = 0.0, alike: float = 0.0):  # fmt: skip
        self.name, self.split, self.size, self.count, self.seed = "scenes", canonical(split), size, count, seed
        self.lang = tuple(filter(None, (word.strip() for word in lang.split(","))))
        self.settings = Settings(objects, plain, not plain if holdout is None else holdout, clear, apart, alike)
        self.look, self.frames, self.speed, self.captions, self.loose = look, frames, speed, captions, loose
        if frames:
            check(frames, speed, "mirror")
        if look is not None and look not in LOOKS:
            raise ConfigError(f"scenes have no look {look!r}; {nearest(look, LOOKS)}")
        if count < 1:
            raise ConfigError(f"scenes need a count of at least 1, not {count}.")
        if captions < 1:
            raise ConfigError(f"scenes have at least 1 caption in each language, not {captions}.")
        if not isinstance(loose, int | float) or not 0 <= loose <= 1:
            raise ConfigError(f"loose is a share of captions, from 0 to 1, not {loose}.")
        self.text(0)  # says at once what is wrong with any of these

    def __len__(self) -> int:
        return self.count

    @property
    def slow(self) -> bool:
        """Pixels of some minutes of drawing."""
        return self.count * self.size**2 * max(1, self.frames) >= 2**26

    def scene(self, i: int) -> Scene:
        """The i-th scene as data."""
        if not 0 <= i < self.count:
            raise IndexError(f"scene {i} of {self.count}")
        scene = sample(self.seed, i, self.size, self.settings, self.split)
        return in_look(scene, self.look) if self.look else scene

    def read(self, i: int) -> Record:
        scene = self.scene(i)
        boxes = () if self.frames else boxes_of(scene)
        return Record(self._image(i, scene), scene.label, self._captions(scene), f"scene {i} of seed {self.seed}", boxes)

    def text(self, i: int) -> tuple[str, ...]:
        return self._captions(self.scene(i))

    def _captions(self, scene: Scene) -> tuple[str, ...]:
        return captions(scene, self.lang, self.captions, self.loose)

    def clip(self, i: int) -> list[Scene]:
        """The frames of the i-th clip as data."""
        scene, draws = self.scene(i), Draws(self.seed, i, MOTION + SPLITS.index(self.split))
        return moved(scene, draws, self.frames, self.speed)

    def _image(self, i: int, scene: Scene) -> np.ndarray:
        """uint8 (size, size, 3), or a clip (F, size, size, 3)."""
        return np.stack([render(s, self.size) for s in self.clip(i)]) if self.frames else render(scene, self.size)

    def shape(self, i: int) -> tuple[int, ...]:
        return (*filter(None, [self.frames]), self.size, self.size, 3)

    def labels(self) -> np.ndarray:
        return np.array([self.scene(i).label for i in range(self.count)], np.int64)

    def arrays(self) -> tuple[np.ndarray, np.ndarray] | None:
        """All images uint8 (N, size, size, 3) and labels int64 (N,)."""
        if self.frames:
            return None
        images, labels = np.empty((self.count, self.size, self.size, 3), np.uint8), np.empty(self.count, np.int64)
        for i in range(self.count):
            scene = self.scene(i)
            images[i], labels[i] = render(scene, self.size), scene.label
        return images, labels

    def fingerprint(self) -> str:
        settings = {name: value for name, value in asdict(self.settings).items() if value or name not in ("clear", "apart", "alike")}
        told = [VERSION, self.size, self.count, self.seed, self.split, self.lang, settings, *filter(None, [self.look])]
        told += [self.frames, self.speed] if self.frames else []
        told += [f"captions {self.captions}"] if self.captions != 1 else []
        told += [f"loose {self.loose}"] if self.loose else []
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
