"""Separating a picture by colour: where things are, how many, and which of them touch."""

import math
from dataclasses import dataclass, field

import numpy as np

from inkwash.data.scenes.world import COLOURS, diameters, most_objects

Array = np.ndarray

LEAST_CHROMA = 32.0  # of 255: what is coloured at all; grounds stay below 16
FULL = 0.4  # of a patch's colour, for a pixel to lie inside: between two things that nearly touch there is less
LEAST_PAINT = 0.35  # of a colour's own chroma: of renders after JPEG 0.5, of most photographs below 0.3


@dataclass(frozen=True)
class Unreadable:
    """What `parse` returns for a picture that is not of this world, with the reason in words. It is false; a Scene is true."""

    reason: str

    def __bool__(self) -> bool:
        return False


def chroma(rgb: Array) -> Array:
    """Complex (...,): the colour's hue as the angle and its distance from grey, in levels, as the modulus. Linear in RGB."""
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return r - 0.5 * (g + b) + 0.8660254j * (g - b)


NAMES = list(COLOURS)
PAINTS = chroma(np.array(list(COLOURS.values()), np.float64))
HUES = (PAINTS / abs(PAINTS)).astype(np.complex64)


def around(mask: Array, reach: int = 1) -> Array:
    """The mask grown by `reach` pixels, diagonals included."""
    for _ in range(reach):
        tall = mask.copy()
        tall[1:] |= mask[:-1]
        tall[:-1] |= mask[1:]
        mask = tall.copy()
        mask[:, 1:] |= tall[:, :-1]
        mask[:, :-1] |= tall[:, 1:]
    return mask


def _smooth(z: Array) -> Array:
    """Weights 1 2 1 both ways, the edge repeated."""
    z = np.pad(z, 1, mode="edge")
    z = z[:-2] + 2 * z[1:-1] + z[2:]
    return (z[:, :-2] + 2 * z[:, 1:-1] + z[:, 2:]) / 16


@dataclass(eq=False)
class Patch:
    """The pixels of one colour (S, S), their mean chroma, the window they are looked at in, and the patches they touch."""

    name: str
    own: Array
    paint: complex
    window: tuple[slice, slice] = (slice(0), slice(0))
    touching: list["Patch"] = field(default_factory=list)
    z: int = 0


@dataclass(frozen=True)
class Seen:
    """A picture made ready: its chroma without the ground's, as it is and smoothed, where that is coloured at all, brightness, all (S, S);
    the chroma's noise in levels; and the picture itself, float32 (S, S, 3).
    """

    side: int
    z: Array
    smooth: Array
    coloured: Array
    light: Array
    noise: float
    rgb: Array


def look(image: Array) -> Seen | Unreadable:
    """What uint8 (H, W, 3) shows, before shapes are named; Unreadable says what is missing for a scene."""
    rgb = image.astype(np.float32)
    z = chroma(rgb).astype(np.complex64)
    pale = abs(z) < 45
    if pale.mean() < 0.2:
        return Unreadable("the ground is not pale")
    ground = np.median(z.real[pale]) + 1j * np.median(z.imag[pale])
    if abs(ground) > 30:
        return Unreadable("the ground is coloured")
    z = z - np.complex64(ground)
    step = z[:, 1:] - z[:, :-1]
    quiet = pale[:, 1:] & pale[:, :-1]
    # The squared modulus of complex noise has the median 2 ln 2 sigma^2; a difference of two doubles it.
    noise = math.sqrt(float(np.median(abs(step[quiet]) ** 2)) / (4 * math.log(2))) if quiet.any() else 0.0
    smooth = _smooth(z)
    coloured = abs(smooth) > max(LEAST_CHROMA, 0.9 * noise)  # smoothing leaves 3/8 of the noise
    return Seen(len(image), z, smooth, coloured, rgb @ np.array([0.299, 0.587, 0.114], np.float32), noise, rgb)


def _mends(k: int, i: int, j: int) -> bool:
    """Whether paints i and j can mix to something of the hue k: it lies between theirs, or they are nearly opposite."""
    turn, part = HUES[j] * np.conj(HUES[i]), HUES[k] * np.conj(HUES[i])
    wide, here = float(np.angle(turn)), float(np.angle(part))
    return abs(wide) > 2.6 or 0 < here / wide < 1


def _without_seams(kind: Array, likeness: Array, common: list[int]) -> Array:
    """Where two colours meet they mix to hues of neither: such pixels go to the one of the two that they are more like."""
    owns = {k: kind == k for k in common}
    grown = {k: around(own, 2) for k, own in owns.items()}
    kind = kind.copy()
    for k in common:
        others = [o for o in common if o != k]
        for n, i in enumerate(others):
            for j in others[:n]:
                if _mends(k, i, j):
                    seam = owns[k] & grown[i] & grown[j]
                    kind[seam] = np.where(likeness[i] > likeness[j], i, j)[seam]
    return kind


def _common(kind: Array, least: float) -> list[int]:
    """The colours of enough pixels, a third of them in blocks of two by two."""
    found = []
    for k in range(len(NAMES)):
        own = kind == k
        if own.sum() > least and (own[1:, 1:] & own[:-1, 1:] & own[1:, :-1] & own[:-1, :-1]).sum() > 0.35 * least:
            found.append(k)
    return found


def _spread(numbers: Array, where: Array) -> Array:
    """Numbered pixels after the greatest number beside each has come over it, where it may."""
    near, (h, w) = np.pad(numbers, 1), numbers.shape
    return np.where(where, np.maximum.reduce([near[y : y + h, x : x + w] for y in range(3) for x in range(3)]), numbers)


def _pieces(own: Array, full: Array, least: float) -> list[Array]:
    """A mask's parts that do not hang together where it is full of its colour, and are large enough. Other pixels go with the part that
    they hang on to, or are left."""
    numbers = np.where(full, np.arange(1, own.size + 1).reshape(own.shape), 0)
    while not np.array_equal(wide := _spread(numbers, full), numbers):
        numbers = wide
    names, counts = np.unique(numbers[full], return_counts=True)
    large = names[counts > least]
    if len(large) < 2:
        return [own]
    numbers = np.where(np.isin(numbers, large), numbers, 0)
    while not np.array_equal(wide := _spread(numbers, own & (numbers == 0)), numbers):
        numbers = wide
    return [own & (numbers == n) for n in large]


def find_patches(seen: Seen, alike: bool = False) -> list[Patch] | Unreadable:
    """One patch for each colour that covers enough; alike: one for each piece of it that does."""
    likeness = (seen.smooth[None] * np.conj(HUES)[:, None, None]).real
    kind = np.where(seen.coloured, likeness.argmax(0), -1)
    least = (0.8 * diameters(seen.side)["small"] * seen.side) ** 2 * 0.2
    kind = _without_seams(kind, likeness, _common(kind, least))
    kept = _common(kind, least)
    if not kept:
        return Unreadable("nothing has a colour of the world")
    most = most_objects(seen.side)
    if len(kept) > most:
        return Unreadable(f"{len(kept)} colours where at most {most} objects can be")
    nearest = np.array(kept)[likeness[kept].argmax(0)]
    kind = np.where(seen.coloured & ~np.isin(kind, kept), nearest, kind)
    patches = []
    for k in kept:
        own = kind == k
        hue = seen.z[own].sum()
        hue /= max(abs(hue), 1e-6)
        # Edges are diluted by the ground: the upper quartile stands for the inside.
        paint = complex(hue) * float(np.quantile((seen.z[own] * np.conj(hue)).real, 0.75))
        if abs(paint) < LEAST_PAINT * abs(PAINTS[k]):
            return Unreadable(f"the {NAMES[k]} is too weak")
        full = own & ((seen.z * np.conj(paint)).real > FULL * abs(paint) ** 2)
        patches += [Patch(NAMES[k], piece, paint) for piece in (_pieces(own, full, 0.7 * least) if alike else [own])]
    return patches if len(patches) <= most else Unreadable(f"{len(patches)} pieces where at most {most} objects can be")


def connect(patches: list[Patch]) -> None:
    """Find which patches touch, and each one's window: a margin around it, wider where it may go on behind another."""
    grown = [around(p.own) for p in patches]
    for p, near in zip(patches, grown):
        p.touching = [q for q, far in zip(patches, grown) if q is not p and (near & far).sum() >= 3]
        rows, cols = np.flatnonzero(p.own.any(1)), np.flatnonzero(p.own.any(0))
        margin = 4 + int((0.3 if p.touching else 0.1) * max(rows[-1] - rows[0], cols[-1] - cols[0]))
        # Windows begin at even places, as JPEG's pairs of pixels do.
        p.window = tuple(slice(max(a[0] - margin, 0) // 2 * 2, a[-1] + margin + 1) for a in (rows, cols))
