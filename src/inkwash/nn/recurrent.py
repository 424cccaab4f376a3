"""Networks that go through a clip frame by frame: a state and a frame in, the next state and what changes in the frame out."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import Config
from inkwash.nn.layers import ResBlock, VectorLinear, full, norm, pad_to_multiple, zero_

State = list[tuple[Tensor, Tensor]]  # of each layer: hidden h and cell c, which is kept in fp32


class LSTMConfig(Config):
    """The frame as one long vector. width: of what a frame becomes. hidden: units of a layer."""

    kind: Literal["lstm"] = "lstm"
    width: int = Field(512, ge=1)
    hidden: int = Field(512, ge=1)
    layers: int = Field(2, ge=1)

    def build(self, shape: tuple[int, int, int], latent: int) -> "LSTMNet":
        return LSTMNet(self, shape, latent)


class ConvLSTMConfig(Config):
    """The frame as a map of its patches, and gates that are convolutions. fold: side of a patch. blocks: residual blocks before and after
    the LSTMs."""

    kind: Literal["convlstm"] = "convlstm"
    width: int = Field(64, ge=1)
    layers: int = Field(2, ge=1)
    blocks: int = Field(1, ge=0)
    fold: int = Field(4, ge=1)

    def build(self, shape: tuple[int, int, int], latent: int) -> "ConvLSTMNet":
        return ConvLSTMNet(self, shape, latent)


ClipNet = Annotated[LSTMConfig | ConvLSTMConfig, Field(discriminator="kind")]


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM from its gates, (N, 4 D, ...), and cell, (N, D, ...): hidden and cell (Hochreiter and Schmidhuber 1997, with the
    forget gate of Gers et al. 2000)."""
    i, f, o, g = full(gates).chunk(4, dim=1)
    c = (f + 1).sigmoid() * c + i.sigmoid() * g.tanh()  # it begins by remembering
    return o.sigmoid() * c.tanh(), c


class LSTMNet(nn.Module):
    """Linear, LSTM, linear."""

    def __init__(self, config: LSTMConfig, shape: tuple[int, int, int], latent: int):
        super().__init__()
        self.shape, self.hidden, pixels = shape, config.hidden, shape[0] * shape[1] * shape[2]
        self.into = nn.Linear(pixels + latent, config.width)
        self.gates = nn.ModuleList(
            nn.Linear((config.hidden if k else config.width) + config.hidden, 4 * config.hidden) for k in range(config.layers)
        )
        self.out = zero_(nn.Linear(config.hidden, pixels))

    def start(self, n: int, device: torch.device) -> State:
        return [(torch.zeros(n, self.hidden, device=device),) * 2 for _ in self.gates]

    def forward(self, frame: Tensor, z: Tensor | None, state: State) -> tuple[Tensor, State]:
        """(N, C, H, W) and (N, Z) to what is to be added to the frame, (N, C, H, W)."""
        x = frame.flatten(1) if z is None else torch.cat([frame.flatten(1), z], 1)
        x, new = F.silu(self.into(x)), []
        for gates, (h, c) in zip(self.gates, state):
            new.append(cell(gates(torch.cat([x, h.to(x.dtype)], 1)), c))
            x = new[-1][0]
        return full(self.out(x)).view(frame.shape), new


class ConvLSTMNet(nn.Module):
    """Patches, convolutional LSTMs (Shi et al. 2015, equation 3, without peepholes), patches."""

    def __init__(self, config: ConvLSTMConfig, shape: tuple[int, int, int], latent: int):
        super().__init__()
        self.config, self.shape, width = config, shape, config.width
        patch = shape[0] * config.fold**2
        self.map = [-(-side // config.fold) for side in shape[1:]]
        self.stem = nn.Conv2d(patch, width, 3, padding=1)
        self.chance = VectorLinear(latent, width) if latent else None
        self.before = nn.Sequential(*(ResBlock(width) for _ in range(config.blocks)))
        self.gates = nn.ModuleList(nn.Conv2d(2 * width, 4 * width, 3, padding=1) for _ in range(config.layers))
        self.norms = nn.ModuleList(norm(width) for _ in range(config.layers))
        self.after = nn.Sequential(*(ResBlock(width) for _ in range(config.blocks)))
        self.norm, self.out = norm(width), zero_(nn.Conv2d(width, patch, 3, padding=1))

    def start(self, n: int, device: torch.device) -> State:
        zero = torch.zeros(n, self.config.width, *self.map, device=device).contiguous(memory_format=torch.channels_last)
        return [(zero, zero) for _ in self.gates]

    def forward(self, frame: Tensor, z: Tensor | None, state: State) -> tuple[Tensor, State]:
        """(N, C, H, W) and (N, Z) to what is to be added to the frame, (N, C, H, W)."""
        h, w = frame.shape[-2:]
        x = F.pixel_unshuffle(pad_to_multiple(frame, self.config.fold), self.config.fold)  # (N, C f^2, H / f, W / f)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        if z is not None:
            x = x + self.chance(z)[:, :, None, None].to(x.dtype)
        x, new = self.before(x), []
        for gates, norm_, (hidden, c) in zip(self.gates, self.norms, state):
            new.append(cell(gates(torch.cat([norm_(x), hidden.to(x.dtype)], 1)), c))
            x = x + new[-1][0]
        x = F.pixel_shuffle(full(self.out(F.silu(self.norm(self.after(x))))), self.config.fold)
        return x[..., :h, :w], new
