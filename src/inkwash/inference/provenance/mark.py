"""The visible mark "AI生成" (made by AI), which GB 45438-2025 asks for in pictures: in a corner, at least 5 % of the short side high.

Drawn from strokes of our own, for few machines have a Chinese font that may be counted on: white, with a dark rim, so that it can be read
on any ground.
"""

import math

from PIL import Image, ImageDraw

SHARE = 0.06  # of the short side: 5 % is asked for, and the faint outermost row of pixels should not be counted on
SMALLEST = 14  # pixels, where the picture has room for them: 生 has four levels to tell apart
RIM, PEN = 0.09, 0.1  # of the height
LEAST_RIM = 1.5  # pixels
GAP = 0.2
Stroke = tuple[tuple[float, float], ...]
# Width, and strokes from (0, 0) at the upper left to (1, 1): every glyph reaches from the top to the bottom.
GLYPHS: tuple[tuple[float, tuple[Stroke, ...]], ...] = (
    (0.82, (((0.0, 1.0), (0.5, 0.0), (1.0, 1.0)), ((0.18, 0.66), (0.82, 0.66)))),  # A
    (0.1, (((0.5, 0.0), (0.5, 1.0)),)),  # I
    (
        1.0,
        (  # 生
            ((0.25, 0.04), (0.2, 0.22), (0.08, 0.42)),
            ((0.2, 0.27), (0.9, 0.27)),
            ((0.16, 0.61), (0.86, 0.61)),
            ((0.0, 1.0), (1.0, 1.0)),
            ((0.52, 0.0), (0.52, 1.0)),
        ),
    ),
    (
        1.0,
        (  # 成
            ((0.14, 0.26), (1.0, 0.26)),
            ((0.14, 0.26), (0.14, 0.56), (0.11, 0.78), (0.0, 1.0)),
            ((0.14, 0.53), (0.45, 0.53), (0.43, 0.83), (0.38, 0.88), (0.27, 0.84)),
            ((0.57, 0.0), (0.6, 0.36), (0.68, 0.66), (0.8, 0.88), (0.9, 0.98), (0.96, 0.92), (1.0, 0.72)),
            ((0.92, 0.42), (0.8, 0.66), (0.66, 0.84), (0.5, 0.98)),
            ((0.73, 0.02), (0.88, 0.13)),
        ),
    ),
)


def height_of(width: int, height: int) -> int:
    """How high the letters are in a picture of this size, in pixels."""
    short = min(width, height)
    return max(math.ceil(SHARE * short), min(SMALLEST, short // 4), 1)


def letters(height: int, rim: float = 0.0) -> Image.Image:
    """The four glyphs, `height` pixels high, as a mask with a margin for a rim around them. rim: how much thicker, in pixels."""
    fine = 8 if height < 64 else 4  # drawn larger and shrunk: smooth edges
    h, pen = height * fine, max(PEN * height, 1.0) * fine
    margin, extra = math.ceil(max(RIM * height, LEAST_RIM) + 1) * fine, rim * fine
    widths = [max(width * h, pen) for width, _ in GLYPHS]
    across = math.ceil((sum(widths) + GAP * h * (len(GLYPHS) - 1)) / fine) * fine
    canvas = Image.new("L", (across + 2 * margin, h + 2 * margin))
    draw, x = ImageDraw.Draw(canvas), float(margin)
    for width, (_, strokes) in zip(widths, GLYPHS):
        for stroke in strokes:
            at = [(x + pen / 2 + px * (width - pen), margin + pen / 2 + py * (h - pen)) for px, py in stroke]
            _line(draw, at, pen + 2 * extra)
        x += width + GAP * h
    return canvas.reduce(fine)


def _line(draw: ImageDraw.ImageDraw, at: list[tuple[float, float]], pen: float) -> None:
    """A line with round ends and corners."""
    draw.line(at, fill=255, width=round(pen))
    for x, y in at:
        draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)


def marked(picture: Image.Image) -> Image.Image:
    """A copy with the mark in its lower right corner. Modes L, RGB and RGBA; where it lies, a transparent picture is not."""
    out, height = picture.copy(), height_of(*picture.size)
    core, rim = letters(height), letters(height, max(RIM * height, LEAST_RIM)).point(lambda v: v * 220 // 255)
    edge = max(0, round(0.02 * min(picture.size)) - 1)
    room = [side - own for side, own in zip(picture.size, core.size)]
    corner = tuple(r - min(edge, r) if r > 0 else r // 2 for r in room)
    bright, dark = {"L": (255, 0), "RGB": ((255,) * 3, (0,) * 3), "RGBA": ((255,) * 4, (0, 0, 0, 255))}[picture.mode]
    out.paste(dark, (*corner, *_end(corner, rim)), rim)
    out.paste(bright, (*corner, *_end(corner, core)), core)
    return out


def _end(corner: tuple[int, ...], mask: Image.Image) -> tuple[int, int]:
    return corner[0] + mask.width, corner[1] + mask.height
