"""Moves a trained plan to another captioner's eye, so that it goes on learning from where it is.

    python tools/turn_eye.py RUN CAPTIONER 'scenes?size=64' OUT [--images 3000]

RUN: a plan, or a model that has one, whose plan is moved. The new eye keeps as many components as the old one, turned within the space that
they span towards the old ones (orthogonal Procrustes: the rotation that brings both closest on the same pictures), so that what the net has
learnt of a component stays as right as it can. No loss changes by a rotation. OUT: a model folder, for `text --from` it.

Reference: Schoenemann 1966, A Generalized Solution of the Orthogonal Procrustes Problem.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from inkwash.core.files import load_model, save_model
from inkwash.core.pixels import from_uint8
from inkwash.core.rng import Rng
from inkwash.data import Dataset, View, open_source
from inkwash.inference.load import model_folder
from inkwash.methods.eye import Eye


@torch.no_grad()
def turn_(new: Eye, old: Eye, images: Tensor) -> float:
    """Turn the components of a fitted eye towards another's, on images (N, C, H, W). Returns the share of their power that is met."""
    a, b = (torch.cat([eye.encode(x) for x in images.split(250)]).permute(0, 2, 3, 1).flatten(0, 2).double() for eye in (new, old))
    u, _, v = torch.linalg.svd(a.t() @ b)
    turn = u @ v  # a turn ~ b
    share = 1 - (a @ turn - b).square().sum() / b.square().sum()
    turn = turn.to(new.axes.dtype)
    new.axes.copy_(turn.t() @ new.axes)
    new.paint.copy_(new.paint @ turn)
    return share.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("captioner")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--images", type=int, default=3000)
    args = parser.parse_args()
    model, captioner = (load_model(model_folder(name)).eval() for name in (args.run, args.captioner))
    plan = getattr(model, "plan", None) or model
    data = Dataset(open_source(args.data), View(size=tuple(plan.config.shape[1:]), channels=plan.config.shape[0]))
    images = from_uint8(data.rows(range(min(args.images, len(data)))).images)
    eye = plan.autoencoder.config.build().eval()
    eye.load_state_dict(eye.adopted(captioner.state_dict()))
    with torch.no_grad():
        eye.fit(images, None, Rng(range(len(images))))
    share = turn_(eye, plan.autoencoder, images)
    plan.autoencoder.load_state_dict(eye.state_dict())
    save_model(Path(args.out), model.config, model.state_dict())
    print(f"{args.out}: the new components meet {100 * share:.1f} percent of the old ones'")


if __name__ == "__main__":
    main()
