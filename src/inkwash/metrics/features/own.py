"""The extractor that ships with the package: a small convnet for images of 16 to 64 pixels, grey and colour.

Images are resized to 64 x 64, folded to 16 x 16 by the first convolution, and pass residual 3x3 convolutions with SiLU at 16 and 8.
Features are global averages of a shallow and of the last layer, so that a distance sees textures, blur and noise as well as what
the picture shows. They are whitened on training images, or a few strong directions would decide every distance. Weights are
stored in fp16 and used in fp32. It was trained on the sets that its model card names: its distances compare with each other
only, and they are not FID.
"""

import json
from importlib import resources
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.errors import FileError
from inkwash.metrics.features.base import FeatureNet, Layered, fill, read_weights, resize, weight_hash

NAME = "inkwash-extractor"
PLACES = ((0, 1), (1, 3), (2, 0), (3, 2))  # every row and every column of a grid of 4 once


class Stage(nn.Module):
    """A strided convolution, then `depth` residual ones: (N, cin, H, W) -> (N, cout, H / 4, W / 4) for the stem, else halved."""

    def __init__(self, cin: int, cout: int, depth: int, stem: bool):
        super().__init__()
        self.down = nn.Conv2d(cin, cout, 6, stride=4, padding=1) if stem else nn.Conv2d(cin, cout, 3, stride=2, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(cout, cout, 3, padding=1) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.down(x))
        for conv in self.convs:
            x = x + F.silu(conv(x))
        return x


class OwnNet(FeatureNet, Layered):
    """widths, depths: channels and residual convolutions of each stage; top: channels of the last convolution; taps: the stages,
    by index, whose averages join the features; size: input side."""

    content, style, smooth = 2, (0, 1, 2, 3), 4.0

    def __init__(
        self,
        widths: tuple[int, ...] = (96, 192),
        depths: tuple[int, ...] = (2, 2),
        top: int = 192,
        taps: tuple[int, ...] = (0,),
        size: int = 64,
    ):
        super().__init__()
        self.settings = {"widths": list(widths), "depths": list(depths), "top": top, "taps": list(taps), "size": size}
        self.taps, self.size = taps, size
        shapes = zip((3, *widths), widths, depths)
        self.stages = nn.ModuleList(Stage(*shape, stem=i == 0) for i, shape in enumerate(shapes))
        self.top = nn.Conv2d(widths[-1], top, 3, padding=1)
        self.dim = sum(widths[i] for i in taps) + top
        self.register_buffer("shift", torch.zeros(self.dim))
        self.register_buffer("whitening", torch.eye(self.dim))
        self.id = f"{NAME}-untrained"

    def raw(self, rgb: Tensor) -> Tensor:
        """Averages of the taps and of the top (N, dim), before whitening."""
        x, out = resize(rgb, self.size), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.taps:
                out.append(x.mean((2, 3)))
        return torch.cat([*out, F.silu(self.top(x)).mean((2, 3))], 1)

    def layers(self, rgb: Tensor) -> list[Tensor]:
        """Maps of the picture at four places under the stem's grid, side by side: with a stride of 4, one place leaves pixels that only
        the grid's own pattern moves, and a picture that is sought by these maps would show it."""
        h, w = rgb.shape[-2:]
        padded = F.pad(rgb, (0, 3, 0, 3), mode="replicate")
        x, out = torch.cat([padded[..., down : down + h, right : right + w] for down, right in PLACES]), []
        for stage in self.stages:
            x = F.silu(stage.down(x))
            out.append(x)
            for conv in stage.convs:
                x = x + F.silu(conv(x))
            out.append(x)
        out.append(F.silu(self.top(x)))
        return [torch.cat(y.chunk(len(PLACES)), dim=-1) for y in out]  # (N, C, h / 4, w)

    def features(self, rgb: Tensor) -> Tensor:
        return (self.raw(rgb) - self.shift) @ self.whitening

    def calibrate(self, raw: Tensor, shrink: float = 1e-3) -> None:
        """Sets shift and whitening from raw features (N, dim) of training images: mean 0 and variance 1 in every direction
        that varies by more than about `shrink` of the mean; weaker ones stay weak, being mostly rounding."""
        raw = raw.double()
        values, vectors = torch.linalg.eigh(torch.cov(raw.T))
        gain = (values.clamp(min=0) + shrink * values.mean()).rsqrt()
        self.shift.copy_(raw.mean(0))
        self.whitening.copy_(vectors * gain @ vectors.T)


def save_own(net: OwnNet, folder: Path) -> str:
    """Writes config.json and model.safetensors (fp16; the shift fp32) into folder and returns the id."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.cpu().contiguous() for k, v in net.state_dict().items()}
    weights = {k: v if k == "shift" else v.half() for k, v in weights.items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(net.settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return f"{NAME}-{weight_hash(weights)}"


def load_own(folder: Path | None = None) -> OwnNet:
    """The extractor in a folder, by default the one inside the package; raises FileError."""
    folder = Path(folder) if folder else Path(str(resources.files("inkwash") / "assets" / "extractor"))
    weights = read_weights(folder / "model.safetensors")
    try:
        net = OwnNet(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise FileError(f"{folder / 'config.json'} does not describe an extractor: {error}") from error
    fill(net, {k: v.float() for k, v in weights.items()}, str(folder / "model.safetensors"))
    net.id = f"{NAME}-{weight_hash(weights)}"
    return net.eval().requires_grad_(False)
