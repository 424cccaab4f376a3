"""Puts a trained model into the package: weights in half precision or 8 bits, the configuration, the model card where there is none yet.

    python tools/bundle.py RUN NAME [--bits 8] [--set options.steps=28] [--autoencoder RUN] [--plan RUN]
        [--judge NAME --of 8 --enough 3 --reads-plans | --reader RUN --lead 20 --lead-pictures 4]

It is loaded by its name wherever a run can be named. --set: a default of its own that sampling asks for. --autoencoder: another one than
the model has, with the same latents and a better decoder. --plan: another plan than the model's, of the same eye. --judge: which model of
the package chooses its drawings, unless said, out of how many, and by how many nats it may doubt a word and still be content with fewer;
--reads-plans: it also reads plans first, so that pictures are drawn after the best of them only; --reader: another model does, kept in the
model's own folder, in 8 bits. --lead: how far plans are led towards what their reader would read the text from,
--lead-pictures: how far pictures towards what the judge would.

The card, src/inkwash/assets/models/NAME/README.md, is written by hand: data, licence, cost, measured figures, the command that trained it.
"""

import argparse
import json
from pathlib import Path

from torch import Tensor

from inkwash.cli.common import pairs
from inkwash.core.config import ModelConfig
from inkwash.core.disk import write_text
from inkwash.core.files import CARD, CONFIG, WEIGHTS, load_tensors, read_model_config, save_tensors
from inkwash.core.packing import packed
from inkwash.inference.load import JUDGE, model_folder

PLACE = Path(__file__).parents[1] / "src" / "inkwash" / "assets" / "models"
MOST = 14 << 20  # bytes
READER = "reader"  # the folder of the model that reads plans, in that of the model that makes them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("name")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=16)
    parser.add_argument("--set", action="append", default=[], metavar="options.NAME=VALUE")
    parser.add_argument("--autoencoder")
    parser.add_argument("--judge")
    parser.add_argument("--of", type=int, default=8)
    parser.add_argument("--enough", type=float)
    parser.add_argument("--reader")
    parser.add_argument("--reads-plans", action="store_true")
    parser.add_argument("--lead", type=float, default=0.0)
    parser.add_argument("--lead-pictures", type=float, default=0.0)
    parser.add_argument("--plan")
    args = parser.parse_args()
    source, target = model_folder(args.run), PLACE / args.name
    tensors, _ = load_tensors(source / WEIGHTS)
    config = read_model_config(source)
    if args.autoencoder:
        better, _ = load_tensors(model_folder(args.autoencoder) / WEIGHTS)
        tensors |= {f"autoencoder.{name}": t for name, t in better.items()}
    if args.plan:
        better, _ = load_tensors(model_folder(args.plan) / WEIGHTS)
        kept = {name: t for name, t in tensors.items() if not name.startswith("plan.")}
        tensors = kept | {f"plan.{name}": t for name, t in better.items()}
        config = _knowing(config.model_copy(update={"plan": read_model_config(model_folder(args.plan))}))
    config = config.override(pairs(args.set))
    _keep(target, tensors, config, args.bits)
    if args.judge:
        advice = {"model": args.judge, "of": args.of, "enough": args.enough, "reader": args.reader and READER}
        advice |= {"plans": args.reads_plans, "lead": args.lead, "lead_pictures": args.lead_pictures}
        write_text(target / JUDGE, json.dumps(advice))
    if args.reader:
        place = model_folder(args.reader)
        _keep(target / READER, load_tensors(place / WEIGHTS)[0], read_model_config(place), 8)
    if not (target / CARD).exists():
        write_text(target / CARD, (source / CARD).read_text(encoding="utf-8"))
    size = (target / WEIGHTS).stat().st_size
    print(f"{target}: {size / 2**20:.2f} MiB" + ("" if size <= MOST else ", more than the 14 that a bundled model may have"))


def _knowing(config: ModelConfig) -> ModelConfig:
    """A model that draws after a plan knows the words of its plan."""
    words = {*config.text.tokenizer.words, *config.plan.text.tokenizer.words}
    tokenizer = config.text.tokenizer.model_copy(update={"words": tuple(sorted(words))})
    return config.model_copy(update={"text": config.text.model_copy(update={"tokenizer": tokenizer})})


def _keep(target: Path, tensors: dict[str, Tensor], config: ModelConfig, bits: int) -> None:
    """Write a model folder: weights in so many bits, and the configuration."""
    target.mkdir(parents=True, exist_ok=True)
    kept = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()} if bits == 16 else packed(tensors)
    save_tensors(target / WEIGHTS, kept, config.to_json())
    write_text(target / CONFIG, config.to_json())


if __name__ == "__main__":
    main()
