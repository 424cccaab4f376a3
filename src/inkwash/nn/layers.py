"""Layers that every network here is made of, chosen by what they cost on a CPU (docs/en/performance.md) as well as on a GPU."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.nn.conv import Conv3x3


def zero_(module: nn.Module) -> nn.Module:
    """Set a layer's weights to zero, so that a residual branch starts as the identity. Returns the layer."""
    for p in module.parameters():
        nn.init.zeros_(p)
    return module


def full(x: Tensor) -> Tensor:
    """In fp32, or more where it is: half precision has too few digits for what is summed or compared."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with one group: the cheapest norm on a CPU (five times cheaper than 32 groups) without batch statistics."""
    return nn.GroupNorm(1, channels)


def fourier(t: Tensor, width: int, periods: float = 1e4) -> Tensor:
    """Sines and cosines of 1000 t at geometric frequencies (Vaswani et al. 2017, section 3.5). t in [0, 1]: (N,) to (N, width)."""
    f = torch.exp(-math.log(periods) / (width // 2) * torch.arange(width // 2, device=t.device))
    angle = 1000 * t.float()[:, None] * f  # (N, width / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def positions(height: int, width: int, d: int, device: torch.device | str = "cpu") -> Tensor:
    """(H W, d): sines and cosines of the row in the first half, of the column in the second; zeros beyond a multiple of four."""
    rows, columns = (fourier(torch.arange(n, device=device) / 1000, d // 4 * 2) for n in (height, width))
    grid = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)  # (H, W, d)
    return F.pad(grid.flatten(0, 1), (0, d % 4))


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until H and W are multiples of `multiple`: any size goes through a strided network."""
    h, w = x.shape[-2:]
    bottom, right = -h % multiple, -w % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x


class Pointwise(nn.Linear):
    """A 1x1 convolution as a matrix product over channels: as fast with matrix units, 1.4 times as fast without."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # (N, C, H, W) to (N, C_out, H, W), channels-last


class VectorLinear(nn.Linear):
    """A linear layer of one vector an image (time, class), not of its pixels: a type of its own, so that an optimiser can tell."""


class Embedding(nn.Module):
    """Time and class as one vector, through an MLP (Ho et al. 2020; the class is added, as in Dhariwal and Nichol 2021)."""

    def __init__(self, frequencies: int, width: int, num_classes: int = 0):
        super().__init__()
        self.time = nn.Sequential(VectorLinear(frequencies, width), nn.SiLU(), VectorLinear(width, width))
        self.label = nn.Embedding(num_classes + 1, width) if num_classes else None

    def forward(self, t: Tensor, label: Tensor | None = None) -> Tensor:
        """(N,) and (N,) to (N, D). Without a label the null class, the last, is meant."""
        e = self.time(fourier(t, self.time[0].in_features))
        if self.label is not None:
            null = torch.full_like(t, self.label.num_embeddings - 1, dtype=torch.long)
            e = e + self.label(null if label is None else label)
        return F.silu(e)


def heads_of(width: int, head: int) -> int:
    """How many heads of about `head` channels share a width equally."""
    return next(n for n in range(max(1, width // head), 0, -1) if width % n == 0)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Softmax attention. q: (N, S, D), k and v: (N, T, D), mask: bool (N, T), True = may be looked at; to (N, S, D).

    Written out: with few wide heads two matrix products are faster on a CPU than the fused kernel.
    """
    q, k, v = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (q, k, v))  # (N, heads, ., D / heads)
    score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (N, heads, S, T)
    if mask is not None:
        score = score.masked_fill(~mask[:, None, None, :], -torch.inf)
    return (score.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Self-attention over pixels, or over `context` where its width is given (cross-attention), as a residual branch.

    Heads are wide (128 unless the layer is narrower): many small heads are 17 times slower on a CPU. shares: where it is a list, what
    the first row gave each token of the context is added to it, (T, H, W).
    """

    shares: list[Tensor] | None = None

    def __init__(self, channels: int, head: int = 128, context: int | None = None):
        super().__init__()
        self.heads, self.crosses = heads_of(channels, head), context is not None
        self.norm = norm(channels)
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(context or channels, 2 * channels)
        self.out = zero_(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x: (N, C, H, W). context: (N, T, D). mask: bool (N, T), True = may be looked at."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (N, HW, C)
        k, v = self.kv(tokens if context is None else context).chunk(2, dim=-1)  # (N, T, C)
        q = self.q(tokens)
        if self.shares is not None:
            heads = (y[0].unflatten(-1, (self.heads, -1)).transpose(0, 1) for y in (q, k))  # (heads, ., C / heads)
            score = full(next(heads) * (q.shape[-1] // self.heads) ** -0.5 @ next(heads).transpose(-1, -2))
            score = score if mask is None else score.masked_fill(~mask[:1, None], -torch.inf)
            self.shares.append(score.softmax(-1).mean(0).t().unflatten(1, x.shape[-2:]))
        y = self.out(attend(q, k, v, self.heads, mask))  # (N, HW, C)
        return x + y.transpose(1, 2).reshape(x.shape)


class ResBlock(nn.Module):
    """Two 3x3 convolutions around a residual, optionally modulated by an embedding (He et al. 2016; Dhariwal and Nichol 2021, AdaGN)."""

    def __init__(self, channels: int, embedding: int | None = None):
        super().__init__()
        self.norm1, self.conv1 = norm(channels), Conv3x3(channels, channels)
        self.norm2, self.conv2 = norm(channels), zero_(Conv3x3(channels, channels))
        self.modulate = VectorLinear(embedding, 2 * channels) if embedding else None

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """x: (N, C, H, W), embedding: (N, D) to (N, C, H, W)."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.modulate is not None:
            scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)  # (N, C, 1, 1)
            h = torch.addcmul(shift.to(h.dtype), h, 1 + scale.to(h.dtype))
        return x + self.conv2(F.silu(h))


class Down(nn.Module):
    """Halve H and W: fold 2x2 pixels into channels, then mix them (an eighth of a strided 3x3 convolution's cost)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.mix = Pointwise(4 * c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(F.pixel_unshuffle(x, 2))  # (N, C, H, W) to (N, 4 C, H/2, W/2) to (N, C_out, H/2, W/2)


class Up(nn.Module):
    """Enlarge H and W `scale` times: mix channels while the map is small, then repeat pixels, for the block that follows to smooth; or
    interpolate, where nothing else passes at the larger size."""

    def __init__(self, c_in: int, c_out: int, mode: str = "nearest", scale: int = 2):
        super().__init__()
        self.mix, self.mode, self.scale = Pointwise(c_in, c_out), mode, scale

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.mix(x), scale_factor=self.scale, mode=self.mode)  # (N, C, H, W) to (N, C_out, s H, s W)
