"""From features of a pixel to a distribution over its levels: what an autoregressive model ends in.

A pixel's channels come one after the other, each told the ones before it, so that the whole stays exact for colour. Levels are counted from
0; values in [-1, 1] are level / (levels - 1) x 2 - 1.

References: 1. van den Oord et al. 2016, Pixel Recurrent Neural Networks, section 3 (a softmax over 256 levels, colours in turn).
2. Salimans et al. 2017, PixelCNN++, section 2.1 and 2.2 (a mixture of discretised logistics, colours linear in the ones before).
3. Holtzman et al. 2020, The Curious Case of Neural Text Degeneration, section 3.1 (nucleus sampling).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.nn.layers import full
from inkwash.nn.levels import discretised_logistic, from_levels, to_levels


def choose(logits: Tensor, u: Tensor) -> Tensor:
    """The class at which the cumulative probability passes u: (..., K) and (...) in [0, 1) to int64 (...)."""
    ends = logits.softmax(-1).cumsum(-1)
    return (ends < (u * ends[..., -1])[..., None]).sum(-1).clamp_(max=logits.shape[-1] - 1)


def nucleus(logits: Tensor, share: float) -> Tensor:
    """Without the classes beyond the likeliest that together have this share of the probability [3]: (..., K) to (..., K)."""
    if share >= 1:
        return logits
    p, order = logits.softmax(-1).sort(-1, descending=True)
    beyond = p.cumsum(-1) - p >= share
    return logits.masked_fill(beyond.gather(-1, order.argsort(-1)), -torch.inf)


class Categorical(nn.Module):
    """A softmax over the levels, each channel's from features and the channels before it [1]."""

    draws = 1  # uniform numbers that a channel of a pixel takes

    def __init__(self, width: int, channels: int, levels: int):
        super().__init__()
        self.channels, self.levels = channels, levels
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(channels))
        self.told = nn.ModuleList(nn.Embedding(levels, width) for _ in range(channels * (channels - 1) // 2))
        self.out = nn.ModuleList(nn.Linear(width, levels) for _ in range(channels))
        for table in self.told:
            nn.init.normal_(table.weight, std=0.1)

    def logits(self, features: Tensor, before: list[Tensor]) -> Tensor:
        """Of the channel after those in `before`, int64 (...) each: features (..., D) to (..., K)."""
        c = len(before)
        h = self.hidden[c](F.relu(features))
        for i, codes in enumerate(before):
            h = h + self.told[c * (c - 1) // 2 + i](codes).to(h.dtype)
        return self.out[c](F.relu(h))

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Nats of every channel: features (N, D, H, W) and x (N, C, H, W) to (N, C, H, W)."""
        f, codes = features.permute(0, 2, 3, 1), list(to_levels(x, self.levels).unbind(1))
        out = []
        for c, wanted in enumerate(codes):
            logits = full(self.logits(f, codes[:c]))  # (N, H, W, K)
            out.append(-F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none").view(wanted.shape))
        return torch.stack(out, dim=1)

    def sample(self, features: Tensor, u: Tensor, temperature: float, top_p: float = 1.0) -> Tensor:
        """One pixel: features (N, D), u (N, C, draws) to (N, C) in [-1, 1]."""
        codes: list[Tensor] = []
        for c in range(self.channels):
            logits = nucleus(self.logits(features, codes) / max(temperature, 1e-6), top_p)
            codes.append(choose(logits, u[:, c, 0].to(features.dtype)))
        return from_levels(torch.stack(codes, dim=1), self.levels).to(features.dtype)


class OverCodes(Categorical):
    """A softmax over the codes of an autoencoder. Part of a score is a product with a map of the code's vector: what is learnt of one code
    is learnt of those like it. The autoencoder is looked at, and is no part of this."""

    def __init__(self, width: int, coder: nn.Module, d: int, keys: int = 64):
        super().__init__(width, 1, coder.codebook_size)
        self._coder = (coder,)
        self.query, self.key = nn.Linear(width, keys), nn.Linear(d, keys, bias=False)  # a bias would add the same to all

    def logits(self, features: Tensor, before: list[Tensor]) -> Tensor:
        keys = self.key(unit(self._coder[0].vectors(torch.arange(self.levels, device=features.device))))  # (K, keys)
        return super().logits(features, before) + self.query(F.relu(features)) @ keys.t()


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., D), scaled to a mean square of about 1 a number, all by one factor for their length."""
    return vectors / vectors.square().mean().clamp(min=1e-12).sqrt()


class LogisticMixture(nn.Module):
    """A mixture of discretised logistics [2]: one component for all channels of a pixel, means linear in the channels before."""

    draws = 2

    def __init__(self, width: int, channels: int, levels: int, mixtures: int):
        super().__init__()
        self.channels, self.levels, self.mixtures = channels, levels, mixtures
        self.hidden = nn.Linear(width, width)
        self.sizes = [mixtures, mixtures * channels, mixtures * channels, mixtures * channels * (channels - 1) // 2]
        self.out = nn.Linear(width, sum(self.sizes))

    def parts(self, features: Tensor) -> tuple[Tensor, ...]:
        """features (..., D) to weights (..., M), means and log scales (..., C, M), and couplings (..., C (C - 1) / 2, M)."""
        out = full(self.out(F.relu(self.hidden(F.relu(features)))))
        weights, *rest = out.split(self.sizes, dim=-1)
        means, scales, couplings = (t.unflatten(-1, (-1, self.mixtures)) for t in rest)
        return weights, means, (scales - 2).clamp(-7, 3), couplings.tanh()

    def mean(self, means: Tensor, couplings: Tensor, c: int, before: list[Tensor]) -> Tensor:
        """Of channel c, (..., M), told the values of those before it, (...) each."""
        first = c * (c - 1) // 2
        return means[..., c, :] + sum((couplings[..., first + i, :] * v[..., None] for i, v in enumerate(before)), start=torch.zeros(()))

    def log_prob(self, features: Tensor, x: Tensor) -> Tensor:
        """Nats of a pixel's channels together: features (N, D, H, W) and x (N, C, H, W) to (N, 1, H, W)."""
        weights, means, scales, couplings = self.parts(features.permute(0, 2, 3, 1))
        values, total = list(x.to(means.dtype).unbind(1)), weights.log_softmax(-1)  # (N, H, W, M)
        for c, value in enumerate(values):
            mean = self.mean(means, couplings, c, values[:c])
            total = total + discretised_logistic(value[..., None], mean, scales[..., c, :], self.levels)
        return total.logsumexp(-1)[:, None]

    def sample(self, features: Tensor, u: Tensor, temperature: float, top_p: float = 1.0) -> Tensor:
        """One pixel: features (N, D), u (N, C, draws) to (N, C) in [-1, 1]. top_p: of the mixture's components."""
        weights, means, scales, couplings = self.parts(features)
        u = u.to(features.dtype)
        chosen = choose(nucleus(weights / max(temperature, 1e-6), top_p), u[:, 0, 0])[:, None]  # (N, 1)
        values: list[Tensor] = []
        for c in range(self.channels):
            mean, scale = (t.gather(-1, chosen)[:, 0] for t in (self.mean(means, couplings, c, values), scales[:, c]))
            value = (mean + temperature * scale.exp() * torch.logit(u[:, c, 1].clamp(1e-7, 1 - 1e-7))).clamp(-1, 1)
            values.append(from_levels(to_levels(value, self.levels), self.levels).to(features.dtype))
        return torch.stack(values, dim=1)
