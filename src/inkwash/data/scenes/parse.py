"""Reading a picture back into a scene, without learning: the renderer's own knowledge run backwards.

Colour belongs to objects alone, so hue separates them from the ground and, as no two that touch share a colour, from each other. Each is
then explained by the shape that, laid over it at the best place and size, leaves the least error. What no arrangement explains is
unreadable.
"""

import math
from dataclasses import replace

import numpy as np
from PIL import Image

from inkwash.core.errors import DataError
from inkwash.data.scenes.fit import SHAPES, Brightness, Colour, Laying, lay, refine, starts
from inkwash.data.scenes.render import pattern
from inkwash.data.scenes.segment import Patch, Seen, Unreadable, around, connect, find_patches, look
from inkwash.data.scenes.world import RELATIONS, SIZES, TEXTURES, Background, Object, Scene, diameters, holds

Array = np.ndarray

BLURS = (0, 1.0, "halved")  # sharp, soft, and what JPEG does to colour
MOST_MISSED = 0.5  # of a shape's energy; of renders after JPEG 0.25, of photographs mostly above 1
MOST_LEFT = 0.15  # of the coloured pixels may lie outside every shape


def _goal(seen: Seen, patch: Patch, patches: list[Patch], front: list[Patch]) -> tuple[Array, Array]:
    """Over the patch's window, how much of its colour each pixel holds, about 1 inside, and how far to believe that.

    Pixels of the other patches hold none of it, except those in `front`: they may hide it, so they say nothing.
    """
    w = patch.window
    z, near = seen.z[w], around(patch.own[w])
    goal = (z * np.conj(patch.paint)).real.astype(np.float32) / abs(patch.paint) ** 2
    trust = np.ones_like(goal)
    for other in patches:
        own = other.own[w]
        if other is patch or not own.any():
            continue
        seam = near & around(own)
        if other in front:
            trust[own | seam] = 0
            continue
        goal[own] = 0
        if other.paint == patch.paint:  # its edges hold this colour too
            trust[around(own, 2) & ~own & ~patch.own[w]] = 0
        else:
            goal[seam] = np.clip(_share(z[seam], patch.paint, other.paint), -0.2, 1.3)
    return goal, trust


def _share(z: Array, paint: complex, other: complex) -> Array:
    """How much of `paint` is mixed into each z beside some of `other`, which may lie in shadow."""
    turn = paint * other.conjugate()
    if abs(turn.imag) > 0.35 * abs(turn):
        return (z * np.conj(other)).imag / turn.imag
    apart = paint - other  # opposite hues: no telling a shadow from a mixture, so no shadow
    return ((z - other) * np.conj(apart)).real / abs(apart) ** 2


def _best_rows(fit: Laying, within: float = math.inf) -> Laying:
    """The best row of each shape, by rising error, up to `within` times the least error and never fewer than two."""
    rank = fit.error.argsort(kind="stable")
    _, firsts = np.unique(fit.theta[rank, 0], return_index=True)
    rank = rank[np.sort(firsts)]
    return fit.rows(rank[: max(2, int((fit.error[rank] <= within * fit.error[rank[0]]).sum()))])


def _guesses(goal: Array, trust: Array, own: Array) -> Array:
    """Places and sizes to start from: the patch as it is seen, and with part of what may hide it."""
    seen = np.clip(goal, 0, 1) * own
    hidden = trust == 0
    if not hidden.any():
        return starts(seen)
    return np.concatenate((starts(seen), starts(seen * trust + 0.6 * (hidden & around(own, 3)))))


def _lay(seen: Seen, patch: Patch, patches: list[Patch], front: list[Patch], blur: float | str, guesses: Array | None = None) -> Laying:
    """Every shape laid over a patch by its colour alone, from fresh guesses or, in fewer rounds, from earlier rows."""
    goal, trust = _goal(seen, patch, patches, front)
    if guesses is None:
        guesses, rounds = _guesses(goal, trust, patch.own[patch.window]), 6
    else:
        rounds = 3
    return _best_rows(refine([Colour(goal, trust, blur)], guesses, rounds))


def _settle(seen: Seen, patch: Patch, patches: list[Patch], front: list[Patch], fit: Laying, blur: float | str) -> Laying:
    """Where colour alone leaves two shapes close, ask brightness too."""
    if fit.error[1] > (2.0 if blur == 0 else 4.0) * fit.error[0]:
        return fit
    w = patch.window
    goal, trust = _goal(seen, patch, patches, front)
    bright, areas = np.ones_like(trust), []
    for other in patches:
        own = other.own[w]
        if other is patch or not own.any():
            continue
        bright[around(own, 2)] *= 0.2  # another's shadow falls there
        if other in front:
            bright[around(own)] = 0
        else:
            areas.append(own.astype(np.float32))
    # Soft colour comes with soft brightness where the picture is blurred, and with sharp brightness where JPEG did it.
    pairs = [(0, 0)] if blur == 0 else [(BLURS[1], BLURS[1]), ("halved", 0)]
    tried = []
    for soft, softer in pairs:
        views = [Colour(goal, trust, soft), Brightness(seen.light[w] / 100, bright, seen.side, softer, areas)]
        # Each view is believed as far as its own best error allows; with unknown noise the errors' logarithms add up.
        # JPEG leaves colour a quarter of its pixels and fewer of its details, so its say is smaller there.
        say = np.array([[0.5], [0.5]] if blur == 0 else [[0.25], [0.75]])
        floor = np.array([[1e-3], [5e-4]]) * goal.size
        trial = refine(views, fit.theta, 0)
        trial = refine(views, fit.theta, 4, tuple(say[:, 0] / (trial.each.min(1) + floor[:, 0])))
        tried.append(_best_rows(replace(trial, error=np.exp((say * np.log(trial.each + floor)).sum(0)))))
    return min(tried, key=lambda t: t.error[0])


def _free_fits(seen: Seen, patches: list[Patch]) -> tuple[dict[Patch, Laying], float | str]:
    """Each patch fitted as though whatever it touches hid it, and the blur that suits the picture best."""
    sharp = {p: _lay(seen, p, patches, p.touching, 0) for p in patches}
    total = {}
    for blur in BLURS:  # the best few shapes are enough to tell the blur
        fits = {p: _lay(seen, p, patches, p.touching, blur, f.theta[:3]) if blur else f for p, f in sharp.items()}
        total[blur] = sum(f.error[0] * abs(p.paint) ** 2 for p, f in fits.items())
    blur = min(total, key=total.get)
    return {p: _lay(seen, p, patches, p.touching, blur, f.theta) if blur else f for p, f in sharp.items()}, blur


def _explain(seen: Seen, patches: list[Patch]) -> list[Laying]:
    """Lay shapes over all patches, deciding of any two that touch which is in front: the order that explains both with less error."""
    free, blur = _free_fits(seen, patches)
    levels = {p: abs(p.paint) ** 2 for p in patches}
    front: dict[Patch, list[Patch]] = {p: [] for p in patches}
    for p in patches:
        for q in p.touching:
            if patches.index(q) < patches.index(p):
                continue
            cost = []
            for a, b in ((p, q), (q, p)):
                rest = [t for t in a.touching if t is not b]
                whole = _lay(seen, a, patches, rest, blur, _again(a, free[a].theta[:4]))
                cost.append(whole.error[0] * levels[a] + free[b].error[0] * levels[b])
            a, b = (p, q) if cost[0] <= cost[1] else (q, p)
            front[b].append(a)
    out = []
    for p in patches:
        fit = free[p]
        if len(front[p]) < len(p.touching):
            fit = _lay(seen, p, patches, front[p], blur, _again(p, fit.theta))
        out.append(_settle(seen, p, patches, front[p], fit, blur))
    for _ in patches:  # the longest chain of patches behind gives the depth
        for back, nearer in front.items():
            for p in nearer:
                p.z = max(p.z, min(back.z + 1, len(patches) - 1))
    return out


def _again(patch: Patch, rows: Array) -> Array:
    """The rows and, for each one's shape, a guess from the patch as it is seen."""
    return np.concatenate((rows, starts(patch.own[patch.window].astype(np.float32))[rows[:, 0].astype(int)]))


def _size_name(diameter: float, side: int) -> str:
    small, medium, large = diameters(side).values()
    return SIZES[int(diameter > math.sqrt(small * medium)) + int(diameter > math.sqrt(medium * large))]


def _surface(seen: Seen, patch: Patch, row: Array) -> tuple[str, float, float]:
    """An object's texture, and how its brightness rises per diameter along x and y, as a share of its mean."""
    w = patch.window
    laid = lay(row[None], *seen.light[w].shape)
    inside = (laid.cover[0] > 0.98) & patch.own[w]
    if inside.sum() < 12:
        return "plain", 0.0, 0.0
    one = np.ones_like(laid.cover[0])
    u, v = laid.u[0] * one, laid.v[0] * one
    light = seen.light[w][inside]
    best = None
    for texture in TEXTURES:
        columns = [one, u, v, u * u + v * v]
        if texture != "plain":
            columns.append(pattern(texture, u, v, 1 / laid.size[0]))
        basis = np.stack([c[inside] for c in columns], 1)
        share, *_ = np.linalg.lstsq(basis, light, rcond=None)
        error = float(((light - basis @ share) ** 2).mean())
        if best is None or (error < 0.75 * best[0] and share[-1] < -0.06 * light.mean()):
            best = error, texture, share / light.mean()
    return best[1], float(best[2][1]), float(best[2][2])


def _doubt(seen: Seen, patches: list[Patch], fits: list[Laying]) -> str | None:
    """Why the explanation is not to be believed, if so."""
    shown = np.zeros(seen.z.shape, np.float32)
    scale = diameters(seen.side)
    for p, fit in zip(patches, fits):
        shape, name = SHAPES[int(fit.theta[0, 0])], p.name
        w = p.window
        laid = lay(fit.theta[:1], *seen.light[w].shape).cover[0]
        shown[w] = np.maximum(shown[w], laid)
        noise = laid.size * (seen.noise / abs(p.paint)) ** 2
        if fit.each[0, 0] - noise > MOST_MISSED * fit.energy[0]:
            return f"no shape fits the {name} patch"
        if not 0.75 * scale["small"] < fit.theta[0, 3] / seen.side < 1.3 * scale["large"]:
            return f"the {name} {shape} has no size of the world"
    left = (seen.coloured & ~around(shown > 0.05)).sum() / max(seen.coloured.sum(), 1)
    return "colour lies outside every shape" if left > MOST_LEFT else None


def parse(image: Array, alike: bool = False) -> Scene | Unreadable:
    """The scene that a picture shows, or `Unreadable` with the reason: an image uint8 (S, S, 3), S at least 16.

    Objects come from left to right, with z in the order in which they hide each other; `relation` is one that holds between the first two,
    or None. The light is an estimate, and the ground is given as the one flat tone it is nearest to. Above 64 pixels they are read at 64.
    alike: several may have one colour (`Settings.alike`), and those are told apart where they do not touch; else a colour is one object, be
    it in pieces.
    Raises DataError for anything but uint8 (H, W, 3).
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError("parse reads uint8 images of shape (side, side, 3).")
    if image.shape[0] != image.shape[1] or len(image) < 16:
        return Unreadable("scenes are square and at least 16 pixels a side")
    if len(image) > 64:
        image = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX))
    seen = look(image)
    patches = find_patches(seen, alike) if isinstance(seen, Seen) else seen
    if isinstance(patches, Unreadable):
        return patches
    connect(patches)
    fits = _explain(seen, patches)
    doubt = _doubt(seen, patches, fits)
    return Unreadable(doubt) if doubt else _scene(seen, patches, fits)


def _scene(seen: Seen, patches: list[Patch], fits: list[Laying]) -> Scene:
    objects, rise = [], np.zeros(2)
    for p, fit in zip(patches, fits):
        kind, x, y, d = fit.theta[0]
        texture, *slope = _surface(seen, p, fit.theta[0])
        rise += slope
        x, y, d = (x + p.window[1].start) / seen.side, (y + p.window[0].start) / seen.side, d / seen.side
        objects.append(Object(SHAPES[int(kind)], p.name, _size_name(d, seen.side), texture, x, y, d, p.z))
    objects.sort(key=lambda o: o.x)
    told = [r for r in RELATIONS if len(objects) > 1 and holds(objects[0], r, objects[1])]
    tone = tuple(int(c) for c in np.median(seen.rgb[~seen.coloured], axis=0)) if not seen.coloured.all() else (0, 0, 0)
    return Scene(tuple(objects), told[0] if told else None, Background("plain", tone, tone), math.atan2(rise[1], rise[0]))
