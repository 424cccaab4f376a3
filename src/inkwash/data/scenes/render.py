"""From a scene to pixels: signed distances give antialiased edges, bevels that catch the light, and soft shadows. Any size, no state."""

import math
from functools import cache

import numpy as np

from inkwash.core.errors import ConfigError
from inkwash.data.scenes.shapes import DISTANCES
from inkwash.data.scenes.world import COLOURS, Background, Object, Scene

Array = np.ndarray

SHADOW = 0.40  # how much light a shadow takes at its core
PATTERN = 0.30  # how much darker a texture's dark parts are


@cache
def _axis(size: int) -> Array:
    """Pixel centres in units of the side."""
    return (np.arange(size, dtype=np.float32) + 0.5) / size


@cache
def _smooth_rows(size: int, knots: int) -> Array:
    """(size, knots) weights of the uniform cubic B-spline over `knots` values along an axis, its contrast restored by 1.6."""
    at = _axis(size) * (knots - 3)
    first = np.minimum(at.astype(int), knots - 4)
    t = at - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    rows = np.zeros((size, knots), np.float32)
    for k, w in enumerate(weights):
        rows[np.arange(size), first + k] = w / 6
    return 1.6 * rows - 0.6 / knots


def _knots(seed: int, stream: int, n: int) -> Array:
    """n numbers in [0, 1) from a counter-based generator."""
    bits = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(n)
    return ((bits >> np.uint64(40)) * 2.0**-24).astype(np.float32)


def _noise(size: int, knots: int, seed: int, stream: int) -> Array:
    rows = _smooth_rows(size, knots)
    return rows @ _knots(seed, stream, knots * knots).reshape(knots, knots) @ rows.T


def _hills(size: int, seed: int) -> Array:
    """Three ridges of pale ink, each dark at its crest and dissolving into mist below, the nearer the darker."""
    y = _axis(size)[:, None]
    tone = np.broadcast_to(0.05 + 0.25 * y, (size, size)).astype(np.float32)
    for k in range(3):
        ridge = _smooth_rows(size, 7 + k) @ _knots(seed, 10 + k, 7 + k) + 0.3 * _smooth_rows(size, 17) @ _knots(seed, 20 + k, 17)
        depth = y - (0.26 + 0.2 * k + 0.28 * (ridge[None] - 0.5))
        ink = 0.15 + (0.45 + 0.4 * k) * np.exp(-np.maximum(depth, 0) * 5)
        tone += np.clip(depth * size + 0.5, 0, 1) * (ink - tone)
    return tone


def _ground(background: Background, size: int) -> Array:
    """(size, size, 3) floats: a mix of the background's two tones."""
    kind, seed = background.kind, background.seed
    y, x = _axis(size)[:, None], _axis(size)[None]
    a, b = _knots(seed, 0, 2)
    if kind == "plain":
        mix = np.full((size, size), a, np.float32)
    elif kind == "paper":
        mix = a * 0.6 + 0.4 * _noise(size, 9, seed, 1) + 0.3 * (_noise(size, 40, seed, 2) - 0.5)
    elif kind == "wash":
        turn = 2 * math.pi * float(a)
        mix = 0.5 + 0.75 * (math.cos(turn) * (x - 0.5) + math.sin(turn) * (y - 0.5))
    elif kind == "mist":
        mix = 1.8 * (0.6 * _noise(size, 6, seed, 1) + 0.4 * _noise(size, 10, seed, 2)) - 0.4
    elif kind == "hills":
        mix = _hills(size, seed)
    elif kind == "floor":
        depth = y - (0.45 + 0.3 * a)
        mix = 0.25 + 0.45 * (x - 0.5) * (b - 0.5) - 0.2 * depth + np.clip(depth * size + 0.5, 0, 1) * (0.75 - 1.2 * depth)
    else:
        raise ConfigError(f"a background is plain, paper, wash, mist, hills or floor, not {kind!r}.")
    near, far = np.array(background.near, np.float32), np.array(background.far, np.float32)
    return near + np.clip(mix, 0, 1.4)[..., None] * (far - near)


def pattern(texture: str, px: Array, py: Array, blur: float) -> Array | float:
    """Where a texture is dark, 0..1, over object coordinates; `blur` is a pixel's width in diameters."""
    if texture == "plain":
        return 0.0
    if texture == "striped":
        wave, period = np.cos((px + py) * (2 * math.pi * 2.1)), 0.34
    elif texture == "dotted":
        wave, period = np.cos(px * (2 * math.pi * 3)) + np.cos(py * (2 * math.pi * 3)) - 0.55, 0.33
    else:
        wave, period = 2 * np.sin(px * (2 * math.pi * 2)) * np.sin(py * (2 * math.pi * 2)), 0.5
    return np.clip(0.5 + wave * (0.16 * period / blur), 0, 1)


def _window(o: Object, size: int, reach: float) -> tuple[slice, slice]:
    """Rows and columns within half a diameter plus `reach` of an object's centre."""
    half = o.diameter / 2 + reach + 1 / size
    low = lambda c: max(int((c - half) * size), 0)  # noqa: E731
    high = lambda c: min(math.ceil((c + half) * size), size)  # noqa: E731
    return slice(low(o.y), high(o.y)), slice(low(o.x), high(o.x))


def _distance(o: Object, size: int, rows: slice, cols: slice, dx: float = 0.0, dy: float = 0.0) -> tuple[Array, Array, Array]:
    """Object coordinates x and y, and the signed distance in units of the side, over a window of pixels."""
    px, py = np.meshgrid((_axis(size)[cols] - (o.x + dx)) / o.diameter, (_axis(size)[rows] - (o.y + dy)) / o.diameter)
    return px, py, DISTANCES[o.shape](px, py) * o.diameter


def cast(diameter):
    """How far a shadow falls and how soft its edge is, in units of the side, as `diameter` is."""
    return 0.025 + 0.07 * diameter, 0.012 + 0.06 * diameter


def highlight(px: Array, py: Array, light: tuple[float, float]) -> Array:
    return np.exp(-((px - 0.24 * light[0]) ** 2 + (py - 0.24 * light[1]) ** 2) / 0.018)


def _cast_shadow(canvas: Array, o: Object, light: tuple[float, float], size: int) -> None:
    step, soft = cast(o.diameter)
    rows, cols = _window(o, size, step + 2 * soft)
    _, _, d = _distance(o, size, rows, cols, -step * light[0], -step * light[1])
    t = np.clip(0.5 - d / (2 * soft), 0, 1)
    canvas[rows, cols] *= (1 - SHADOW * (t * t * (3 - 2 * t)))[..., None]


def _paint(canvas: Array, o: Object, light: tuple[float, float], size: int) -> None:
    """Lay the object over the canvas: a bevel along the edge, a slight dome, a soft highlight, all turned to the light."""
    rows, cols = _window(o, size, 0.0)
    px, py, d = _distance(o, size, rows, cols)
    slope_y, slope_x = np.gradient(d, 1 / size)
    rim = np.clip(1 + d / (0.2 * o.diameter), 0, 1)
    facing = (slope_x * light[0] + slope_y * light[1]) * rim * np.sqrt(rim)
    shade = 1 + 0.2 * facing + 0.3 * (px * light[0] + py * light[1])
    gloss = 0.4 * highlight(px, py, light) * np.clip(-d / (0.08 * o.diameter), 0, 1)
    shade = shade * (1 - PATTERN * pattern(o.texture, px, py, 1 / (size * o.diameter)))
    base = np.array(COLOURS[o.colour], np.float32)
    lift = np.clip(0.45 * (shade - 1) + gloss, 0, 1)[..., None]
    body = base * np.minimum(shade, 1)[..., None]
    body += (255 - body) * lift
    alpha = np.clip(0.5 - d * size, 0, 1)[..., None]
    canvas[rows, cols] += alpha * (body - canvas[rows, cols])


def render(scene: Scene, size: int = 32) -> Array:
    """The picture, uint8 (size, size, 3). Objects are painted from the farthest to the nearest, each with its shadow on what is behind."""
    canvas = np.ascontiguousarray(_ground(scene.background, size))
    light = (math.cos(scene.light), math.sin(scene.light))
    for o in sorted(scene.objects, key=lambda o: o.z):
        _cast_shadow(canvas, o, light, size)
        _paint(canvas, o, light, size)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def masks(scene: Scene, size: int = 32, whole: bool = False) -> Array:
    """Each object's share of every pixel, float32 (objects, size, size) in 0..1, in the order of `scene.objects`.

    What nearer objects hide is left out, unless `whole` asks for complete silhouettes.
    """
    out = np.zeros((len(scene.objects), size, size), np.float32)
    free = np.ones((size, size), np.float32)
    for k in sorted(range(len(out)), key=lambda k: -scene.objects[k].z):
        o = scene.objects[k]
        rows, cols = _window(o, size, 0.0)
        alpha = np.clip(0.5 - _distance(o, size, rows, cols)[2] * size, 0, 1)
        out[k, rows, cols] = alpha if whole else alpha * free[rows, cols]
        free[rows, cols] *= 1 - alpha
    return out
