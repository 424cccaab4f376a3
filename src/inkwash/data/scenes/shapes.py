"""Eight silhouettes as signed distances: negative inside, positive outside, in units of the object's diameter.

Every shape fits the box [-1/2, 1/2]^2, x to the right and y down. They were chosen to stay apart when they are ten pixels wide and
blurred. The distances are exact near the edge, where antialiasing and bevels need them. Formulae as in I. Quilez, "2D distance functions".
"""

import math
from functools import cache

import numpy as np

Array = np.ndarray


def _polygon(x: Array, y: Array, corners: list[tuple[float, float]]) -> Array:
    """Distance to the nearest edge, signed by the parity of edges that a ray to the right crosses."""
    nearest = np.full(x.shape, np.inf, x.dtype)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1]):
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        t = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (px - t * ex) ** 2 + (py - t * ey) ** 2)
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (px < py * (ex / ey))
    return np.where(inside, -1, 1).astype(x.dtype) * np.sqrt(nearest)


def circle(x: Array, y: Array) -> Array:
    return np.sqrt(x * x + y * y) - 0.5


def square(x: Array, y: Array) -> Array:
    """Signed distance to a square that fills the unit box."""
    qx, qy = np.abs(x) - 0.40, np.abs(y) - 0.40
    outside = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    return outside + np.minimum(np.maximum(qx, qy), 0) - 0.04


def triangle(x: Array, y: Array) -> Array:
    return _polygon(x, y, [(0.0, -0.44), (0.47, 0.40), (-0.47, 0.40)]) - 0.03


@cache
def _star_corners() -> list[tuple[float, float]]:
    radii = (0.49, 0.22)
    turn = [math.pi * k / 5 for k in range(10)]
    return [(radii[k % 2] * math.sin(a), 0.035 - radii[k % 2] * math.cos(a)) for k, a in enumerate(turn)]


def star(x: Array, y: Array) -> Array:
    return _polygon(x, y, _star_corners()) - 0.02


def heart(x: Array, y: Array) -> Array:
    """Signed distance to a heart that fills the unit box."""
    # In the formula's own units the heart is 1.207 wide and 1.10 high, with its point at the origin and y up.
    u, v = np.abs(x) * 1.207, 0.552 - y * 1.207
    lobe = np.sqrt((u - 0.25) ** 2 + (v - 0.75) ** 2) - math.sqrt(2) / 4
    m = 0.5 * np.maximum(u + v, 0)
    point = np.sqrt(np.minimum(u * u + (v - 1) ** 2, (u - m) ** 2 + (v - m) ** 2)) * np.sign(u - v)
    return np.where(u + v > 1, lobe, point) / 1.207


def ring(x: Array, y: Array) -> Array:
    return np.abs(np.sqrt(x * x + y * y) - 0.36) - 0.14


def cross(x: Array, y: Array) -> Array:
    """Signed distance to a cross that fills the unit box."""
    arm = 0.165
    u, v = np.abs(x), np.abs(y)
    u, v = np.maximum(u, v), np.minimum(u, v)
    qx, qy = u - 0.5, v - arm
    notch = np.maximum(qx, qy)
    wx, wy = (qx, qy), (arm - u, -notch)
    k = notch > 0
    gx, gy = np.where(k, wx[0], wy[0]), np.where(k, wx[1], wy[1])
    return np.where(k, 1, -1) * np.sqrt(np.maximum(gx, 0) ** 2 + np.maximum(gy, 0) ** 2)


def crescent(x: Array, y: Array) -> Array:
    """Signed distance to a crescent that fills the unit box."""
    # A disc of radius 1/2 bitten by one of radius 0.38 whose centre lies 0.28 to the right; shifted so that its box is centred.
    u, v = x - 0.085, np.abs(y)
    tip_x = (0.5**2 - 0.38**2 + 0.28**2) / (2 * 0.28)
    tip_y = math.sqrt(0.5**2 - tip_x**2)
    beyond = 0.28 * (u * tip_y - v * tip_x) > 0.28**2 * np.maximum(tip_y - v, 0)
    tip = np.sqrt((u - tip_x) ** 2 + (v - tip_y) ** 2)
    return np.where(beyond, tip, np.maximum(np.sqrt(u * u + v * v) - 0.5, 0.38 - np.sqrt((u - 0.28) ** 2 + v * v)))


DISTANCES = {
    "circle": circle, "square": square, "triangle": triangle, "star": star,
    "heart": heart, "ring": ring, "cross": cross, "crescent": crescent,
}  # fmt: skip


@cache
def stencil(shape: str, n: int = 96) -> Array:
    """The silhouette as (n, n) booleans over the box [-1/2, 1/2]^2, for quick measurements of area and cover."""
    c = (np.arange(n, dtype=np.float32) + 0.5) / n - 0.5
    return DISTANCES[shape](*np.meshgrid(c, c)) < 0
