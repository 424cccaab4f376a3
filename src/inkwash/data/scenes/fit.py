"""Laying shapes over a picture: Gauss-Newton on place and size, for all shapes at once, with everything linear solved exactly.

A shape is fitted first to a map of how much of one colour each pixel holds. JPEG keeps colour at half resolution, so where colour alone
does not decide, brightness is fitted with it: a shaded, patterned inside over a sloping ground with a shadow.
Variable projection: G. Golub, V. Pereyra, SIAM J. Numer. Anal. 10 (1973), in L. Kaufman's form, BIT 15 (1975).
"""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from inkwash.data.scenes.render import cast, pattern
from inkwash.data.scenes.shapes import DISTANCES

Array = np.ndarray

SHAPES = tuple(DISTANCES)
REACH, CELLS = 0.75, 192  # the tables span [-REACH, REACH]^2 diameters: from there on every template is zero
HOLD = (0.05, 0.05, 0.05)  # textures, in units of the shape's energy
LIGHTS = tuple((math.cos(a), math.sin(a)) for a in (-2.7, -1.95, -1.2, -0.45))


@cache
def _tables() -> Array:
    """(3, shapes * CELLS * CELLS): signed distance and its two slopes, in diameters."""
    at = ((np.arange(CELLS) + 0.5) / CELLS * 2 - 1) * REACH
    d = np.stack([f(*np.meshgrid(at, at)) for f in DISTANCES.values()])
    slope_y, slope_x = np.gradient(d, 2 * REACH / CELLS, axis=(1, 2))
    return np.stack((d, slope_x, slope_y)).astype(np.float32).reshape(3, -1)


@cache
def _area_and_centre() -> tuple[Array, Array, Array]:
    """Each shape's area in squared diameters and its centre of mass in diameters."""
    d = _tables()[0].reshape(len(SHAPES), CELLS, CELLS) < 0
    at = ((np.arange(CELLS) + 0.5) / CELLS * 2 - 1) * REACH
    count = d.sum((1, 2))
    return count * (2 * REACH / CELLS) ** 2, (d.sum(1) @ at) / count, (d.sum(2) @ at) / count


@cache
def softener(n: int, blur: float | str) -> Array | None:
    """(n, n) weights of a blur along an axis of n pixels; what lies outside counts as zero. None: no blur.

    A number is a Gaussian's radius in pixels. "halved" is what JPEG does to colour: pairs of pixels (the first at an even place) averaged,
    then stretched back with weights 3/4 and 1/4.
    """
    if blur == 0:
        return None
    at = np.arange(n)
    if blur == "halved":
        cell = at // 2
        other = np.where(at % 2, cell + 1, cell - 1)
        return (0.375 * (cell[None] == cell[:, None]) + 0.125 * (cell[None] == other[:, None])).astype(np.float32)
    weights = np.exp(-0.5 * ((at[:, None] - at[None]) / blur) ** 2)
    return (weights / np.exp(-0.5 * (np.arange(-9, 10) / blur) ** 2).sum()).astype(np.float32)


def _soften(maps: Array, blur: float | str) -> Array:
    if blur == 0:
        return maps
    height, width = maps.shape[-2:]
    wide = maps.reshape(-1, width) @ softener(width, blur).T
    return (softener(height, blur) @ wide.reshape(-1, height, width)).reshape(maps.shape)


def starts(mass: Array) -> Array:
    """(shapes, 4) first guesses [shape, x, y, diameter] in pixels from a map's sum and centre."""
    total = max(float(mass.sum()), 1e-3)
    ys, xs = np.arange(mass.shape[0]) + 0.5, np.arange(mass.shape[1]) + 0.5
    x, y = float(mass.sum(0) @ xs) / total, float(mass.sum(1) @ ys) / total
    area, cx, cy = _area_and_centre()
    diameter = np.sqrt(total / area)
    return np.stack((np.arange(len(SHAPES)), x - cx * diameter, y - cy * diameter, diameter), 1)


@dataclass(frozen=True)
class Laid:
    """B shapes laid over a window: object coordinates u (B, 1, w) and v (B, h, 1), distance in diameters and coverage (B, h, w)."""

    u: Array
    v: Array
    distance: Array
    cover: Array
    at: Array
    size: Array

    def patterns(self) -> list[Array]:
        return [pattern(t, self.u, self.v, 1 / self.size) - 0.5 for t in ("striped", "dotted", "checked")]

    def slopes(self) -> tuple[Array, Array, Array]:
        """Derivatives of the coverage by x, y and diameter, each (B, h, w) and in pixels."""
        at = np.flatnonzero((self.cover > 0) & (self.cover < 1))  # all is flat elsewhere
        where = self.at.ravel()[at]
        out = np.zeros((3, *self.cover.shape), np.float32)
        x, y, d = out.reshape(3, -1)
        x[at], y[at] = _tables()[1][where], _tables()[2][where]
        one = np.ones_like(self.cover)
        d[at] = (self.u * one).ravel()[at] * x[at] + (self.v * one).ravel()[at] * y[at] - self.distance.ravel()[at]
        return tuple(out)


def lay(theta: Array, height: int, width: int) -> Laid:
    """Rows [shape, x, y, diameter] of `theta` as coverage of a window of pixels."""
    kind, size = theta[:, 0].astype(np.int32)[:, None], theta[:, 3:4].astype(np.float32)
    u = (np.arange(width, dtype=np.float32) + 0.5 - theta[:, 1:2].astype(np.float32)) / size
    v = (np.arange(height, dtype=np.float32) + 0.5 - theta[:, 2:3].astype(np.float32)) / size
    scale = CELLS / (2 * REACH)
    iu = np.clip((u + REACH) * scale, 0, CELLS - 1).astype(np.int32)
    iv = np.clip((v + REACH) * scale, 0, CELLS - 1).astype(np.int32)
    at = ((kind * CELLS + iv) * CELLS)[:, :, None] + iu[:, None, :]
    distance = _tables()[0][at]
    size = size[:, :, None]
    return Laid(u[:, None, :], v[:, :, None], distance, np.clip(0.5 - distance * size, 0, 1), at, size)


@dataclass(frozen=True)
class Colour:
    """What one object's colour says: goal (h, w), about 1 where the object is, believed as far as trust (h, w) says."""

    goal: Array
    trust: Array
    blur: float | str = 0

    def parts(self, laid: Laid, theta: Array) -> tuple[list[Array], list[Array], list[float]]:
        """Maps shown inside the object, maps shown outside it, and how strongly each one's share is held near zero."""
        one = np.ones_like(laid.cover)
        return [one, laid.u, laid.v, *laid.patterns()], [], [0, 0.02, 0.02, *HOLD]


@dataclass(frozen=True)
class Brightness:
    """What brightness says: inside a slope, a texture and a highlight, outside a slope, shadows and known areas of other brightness."""

    goal: Array
    trust: Array
    side: int
    blur: float | str = 0
    areas: list[Array] = field(default_factory=list)

    def parts(self, laid: Laid, theta: Array) -> tuple[list[Array], list[Array], list[float]]:
        one = np.ones_like(laid.cover)
        u, v = laid.u * one, laid.v * one
        inside = [one, u, v, *laid.patterns()]
        shadows = []
        for light in LIGHTS:
            step, soft = cast(laid.size[:, :, 0] / self.side)
            away = theta.copy()
            away[:, 1] -= (step * light[0] * self.side)[:, 0]
            away[:, 2] -= (step * light[1] * self.side)[:, 0]
            t = np.clip(0.5 - lay(away, *self.goal.shape).distance * laid.size / (2 * soft * self.side)[:, :, None], 0, 1)
            shadows.append(t * t * (3 - 2 * t))
        outside = [one, u, v, *shadows, *(a * one for a in self.areas)]
        hold = [0, 0.02, 0.02, 0.05, 0.05, 0.05, 0, 0.002, 0.002, *[0.01] * (len(outside) - 3)]
        return inside, outside, hold


@dataclass(frozen=True)
class Laying:
    """The outcome: rows theta (B, 4) [shape, x, y, diameter], squared errors (B,) and those of each view (views, B), and of the first view
    the fitted energies (B,) and shades (B, 3): brightness at the centre, its slope per diameter along x and y.
    """

    theta: Array
    error: Array
    each: Array
    energy: Array
    shade: Array

    def rows(self, at: Array) -> "Laying":
        return Laying(self.theta[at], self.error[at], self.each[:, at], self.energy[at], self.shade[at])


def _view(view: Colour | Brightness, laid: Laid, theta: Array, slopes: tuple[Array, ...] | None):
    """One view's error, energy and shade, and, given the slopes, its share of the normal equations for [x, y, diameter]."""
    count, g, w = len(theta), view.goal.ravel(), view.trust.ravel()
    inside, outside, hold = view.parts(laid, theta)
    maps = np.stack([m * laid.cover for m in inside] + [m * (1 - laid.cover) for m in outside], 1)
    basis = _soften(maps, view.blur).reshape(count, len(hold), -1)
    normal = (basis * w) @ basis.transpose(0, 2, 1)
    energy = normal[:, 0, 0].copy()
    normal += np.eye(len(hold)) * (np.array(hold) * energy[:, None] + 1e-4)[:, None, :]
    shade = np.linalg.solve(normal, (basis @ (w * g))[..., None])[..., 0]
    model = (shade[:, None] @ basis)[:, 0]
    rest = g - model
    error = (w * rest * rest).sum(1)
    if slopes is None:
        return error, (w * model * model).sum(1), shade, None, None
    step = sum(shade[:, k, None, None] * m for k, m in enumerate(inside))
    step = step - sum(shade[:, k + len(inside), None, None] * m for k, m in enumerate(outside))
    moves = _soften(np.stack([step * s for s in slopes], 1), view.blur).reshape(count, 3, -1)
    absorbed = np.linalg.solve(normal, (basis * w) @ moves.transpose(0, 2, 1))  # what a change of shade would do instead
    moves = moves - absorbed.transpose(0, 2, 1) @ basis
    square = (moves * w) @ moves.transpose(0, 2, 1)
    return error, None, shade, square, ((moves * w) @ rest[..., None])


def refine(views: list[Colour | Brightness], guesses: Array, rounds: int, weights: tuple[float, ...] = (1.0, 1.0)) -> Laying:
    """Gauss-Newton from each row [shape, x, y, diameter] of `guesses` towards all views at once."""
    height, width = views[0].goal.shape
    theta = guesses.astype(np.float64)
    for _ in range(rounds):
        laid = lay(theta, height, width)
        slopes = laid.slopes()
        seen = [_view(v, laid, theta, slopes) for v in views]
        square, pull = (sum(k * s[n] for k, s in zip(weights, seen)) for n in (3, 4))
        square = square + np.eye(3) * (0.02 * np.trace(square, axis1=1, axis2=2)[:, None, None] / 3 + 1e-6)
        limit = 0.12 * theta[:, 3:]
        theta[:, 1:] += np.clip(np.linalg.solve(square, pull)[..., 0], -limit, limit)
        theta[:, 3] = np.clip(theta[:, 3], 3.0, 1.5 * max(height, width))
    laid = lay(theta, height, width)
    seen = [_view(v, laid, theta, None) for v in views]
    each = np.stack([s[0] for s in seen])
    return Laying(theta, sum(k * e for k, e in zip(weights, each)), each, seen[0][1], seen[0][2])
