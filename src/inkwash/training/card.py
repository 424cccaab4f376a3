"""The model card: README.md of a model folder, written from what is known and nothing else."""

from typing import Any

from inkwash.core.model import Codes, Model, Translator
from inkwash.training.config import RunConfig


def use(model: Model) -> str:
    """The command that a person tries first."""
    if isinstance(model, Codes):
        return "inkwash train codes --data DATA --from THIS_FOLDER --out runs/prior"
    if not isinstance(model, Translator):
        return "inkwash sample THIS_FOLDER -n 64 --out pictures"
    if model.scale > 1:
        return "inkwash upscale photo.jpg --model THIS_FOLDER --out large.png"
    to = f" --to {model.directions[0]}" if len(model.directions) > 1 else ""
    return f"inkwash translate THIS_FOLDER photo.jpg{to} --out other.png"


def card(config: RunConfig, model: Model, data: dict[str, Any], trained: dict[str, Any]) -> str:
    """Markdown. data, trained: as in the folder's metrics.json."""
    m, t = config.model, config.train
    classes = getattr(m, "classes", ())
    names = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    lines = [
        "---",
        "library_name: inkwash",
        "tags: [image-generation, " + m.kind + "]",
        "---",
        f"# {m.kind} on {data['source']}",
        "",
        f"- Images: {'x'.join(map(str, m.shape))} (channels, height, width), values in [-1, 1]",
        f"- Classes: {len(classes)}" + (f" ({names})" if classes else ""),
        f"- Data: {data['source']}, split {data['split']}, {data['count']} images; licence: as the data's",
        f"- Training: {trained['images']} images in {trained['step']} steps of {t.batch}, {trained['seconds']} s",
        f"- Objective: {config.objective.kind}; learning rate {t.lr}, EMA half-life {t.ema:.0f} images, seed {t.seed}",
        "",
        "Measured figures are in metrics.json, once `inkwash evaluate` has been run. Use:",
        "",
        f"    {use(model)}",
        "",
    ]
    return "\n".join(lines)
