"""Image sequences: an LSTM looks at a clip frame by frame, remembers, and draws the frame that comes next; fed with its own, it goes on.

    h_t, x'_{t+1} = f(x_t, z_t, h_{t-1}),      loss = - log p(x_{t+1} | x'_{t+1})

p is a Gaussian of one learnt spread; or, for pictures that are nearly black and white, a Bernoulli distribution for every pixel, whose
cross-entropy insists on a black background, which squared error hardly minds.

Some tutorials call the plainest form RNNG: the recurrent module is an LSTM over whole frames, and a linear head draws the next one
(`net.kind=lstm`). With convolutions for gates the same few weights serve every place, and things that move are learnt once for all places.

A future that cannot be known has an average, and the average of crisp pictures is a blur. A stochastic model (`latent` above 0) draws z_t:
what happens that could not be foreseen. A posterior that sees the next frame teaches a prior that does not, and the loss becomes a bound:

    loss = - log p(x_{t+1} | x'_{t+1}) + beta KL(q(z_t | x_1..t+1) || p(z_t | x_1..t))

In training, frames after the first `known` ones are more and more the model's own, as they will be when it predicts.

References: 1. Srivastava et al. 2015, Unsupervised Learning of Video Representations using LSTMs. 2. Shi et al. 2015, Convolutional LSTM
Network. 3. Bengio et al. 2015, Scheduled Sampling. 4. Denton and Fergus 2018, Stochastic Video Generation with a Learned Prior.
"""

import math
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.batch import Batch, Step
from inkwash.core.config import ModelConfig, ObjectiveConfig
from inkwash.core.errors import ConfigError
from inkwash.core.model import Model, Sequence
from inkwash.core.objective import Objective, Phase
from inkwash.core.rng import Rng
from inkwash.nn.layers import full
from inkwash.nn.pyramid import Encoder, PyramidConfig
from inkwash.nn.recurrent import ClipNet, ConvLSTMConfig, State, cell


class SequenceConfig(ModelConfig):
    """shape: (C, H, W) of a frame. likelihood: of a pixel (bernoulli: greys count as chances of white). latent: numbers drawn for each
    frame, 0 for a deterministic model. eye: what prior and posterior see frames with."""

    kind: Literal["sequence"] = "sequence"
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    latent: int = Field(0, ge=0)
    hidden: int = Field(128, ge=1)
    eye: PyramidConfig = PyramidConfig(width=16, most=64, fold=4)
    net: ClipNet = ConvLSTMConfig()

    def build(self) -> "FrameModel":
        return FrameModel(self)


class Chance(nn.Module):
    """A Gaussian over z from the frames so far: an LSTM over what the eye says of them."""

    def __init__(self, config: SequenceConfig):
        super().__init__()
        self.hidden = config.hidden
        self.gates = nn.Linear(2 * config.hidden, 4 * config.hidden)
        self.out = nn.Linear(config.hidden, 2 * config.latent)

    def forward(self, seen: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """(N, D) to mean and log variance, (N, Z) each."""
        h, c = cell(self.gates(torch.cat([seen, state[0].to(seen.dtype)], 1)), state[1])
        mean, log_var = full(self.out(h)).chunk(2, 1)
        return mean, log_var.clamp(-10, 5), (h, c)


Memory = tuple[State, list[tuple[Tensor, Tensor]]]  # of the network, and of prior and posterior


class FrameModel(Model, Sequence):
    """A recurrent network and, where chance plays a part, its prior and posterior."""

    def __init__(self, config: SequenceConfig):
        super().__init__(config)
        self.net = config.net.build(config.shape, config.latent)
        if config.latent:
            self.eye = Encoder(config.eye, config.shape, config.hidden)
            self.prior, self.posterior = Chance(config), Chance(config)

    def begin(self, n: int) -> Memory:
        zero = torch.zeros(n, self.config.hidden, device=self.device)
        return self.net.start(n, self.device), [(zero, zero), (zero, zero)]

    def advance(self, frame: Tensor, after: Tensor | None, noise: Tensor | None, memory: Memory) -> tuple[Tensor, Tensor, Memory]:
        """From a frame to the parameters of the next one (means, or logits of white), (N, C, H, W), and the divergence of posterior
        from prior, nats (N,).

        after: the next frame, where it is known: z is then what it tells; without it, z is drawn from the prior. noise: (N, Z).
        """
        state, (before, behind) = memory
        if not self.config.latent:
            change, state = self.net(frame, None, state)
            made = self.parameters_of(frame) + change
            return made, made.new_zeros(len(made)), (state, [before, behind])
        mean, log_var, before = self.prior(self.eye(frame), before)
        kl = torch.zeros_like(mean)
        if after is not None:
            m, v, behind = self.posterior(self.eye(after), behind)
            kl = 0.5 * (((m - mean).square() + v.exp()) / log_var.exp() - 1 - v + log_var)
            mean, log_var = m, v
        change, state = self.net(frame, mean + (log_var / 2).exp() * noise, state)
        return self.parameters_of(frame) + change, kl.sum(1), (state, [before, behind])

    def parameters_of(self, frame: Tensor) -> Tensor:
        """What `expected` turns back into the frame (nearly: logits have no end): an untrained network repeats it."""
        return 2 * (0.99 * frame).atanh() if self.config.likelihood == "bernoulli" else frame

    def expected(self, made: Tensor) -> Tensor:
        """Parameters to the frame that is expected, in [-1, 1]."""
        return (made / 2).tanh() if self.config.likelihood == "bernoulli" else made.clamp(-1, 1)

    def noise(self, frames: int, rng: Rng) -> list[Tensor | None]:
        """Of each frame, (N, Z)."""
        return list(rng.normal(frames, self.config.latent).unbind(1)) if self.config.latent else [None] * frames

    def predict(self, frames: Tensor, n: int, rng: Rng) -> Tensor:
        known, memory, made = frames.shape[1], self.begin(len(frames)), []
        noise = self.noise(known + n - 1, rng)
        for k in range(known - 1):
            memory = self.advance(frames[:, k], frames[:, k + 1], noise[k], memory)[-1]
        frame = frames[:, -1]
        for k in range(n):
            out, _, memory = self.advance(frame, None, noise[known - 1 + k], memory)
            frame = self.expected(out)
            made.append(frame)
        return torch.stack(made, 1)  # (N, n, C, H, W)


class FramesConfig(ObjectiveConfig):
    """known: frames that are given, half of a clip unless said. own: share of the run after which all others are the model's own.
    beta: weight of the divergence."""

    kind: Literal["frames"] = "frames"
    known: int | None = Field(None, ge=1)
    own: float = Field(0.5, ge=0, le=1)
    beta: float = Field(1.0, ge=0)

    def build(self, model: FrameModel) -> "Frames":
        return Frames(self, model)


class Frames(Objective):
    """The negative log-density of the frames that follow, or a bound on it, in bits per dimension."""

    def __init__(self, config: FramesConfig, model: FrameModel):
        super().__init__(config, model)
        if model.config.likelihood == "gaussian":
            self.log_spread = nn.Parameter(torch.tensor(-1.0))  # on the scale of pixels

    def phases(self) -> list[Phase]:
        return [Phase("main", (self.model, self))]

    def refuse(self, batch: Batch) -> None:
        if batch.image.ndim != 5:
            raise ConfigError("This model learns from clips: --data moving, scenes?frames=20, or a folder of GIFs with ?frames=20.")
        if batch.image.shape[1] <= self.known(batch.image):
            raise ConfigError(
                f"Clips of {batch.image.shape[1]} frames leave nothing to predict after {self.config.known}: set a smaller objective.known."
            )

    def known(self, clip: Tensor) -> int:
        return self.config.known or clip.shape[1] // 2

    def loss(self, phase: str, batch: Batch, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        rise = min(1.0, step.progress / self.config.own) if self.config.own else 1.0
        return self._bits(batch.image, step.rng, rise)

    def _bits(self, clip: Tensor, rng: Rng, own: float) -> tuple[Tensor, dict[str, Tensor]]:
        """own: chance that a frame after the known ones is the model's own."""
        count, known, memory = clip.shape[1] - 1, self.known(clip), self.model.begin(len(clip))
        mine, noise = rng.uniform(count) < own, self.model.noise(count, rng)
        made, nats, errors, divergence = clip[:, 0], [], [], 0.0
        for k in range(count):
            frame = torch.where(mine[:, k, None, None, None], made, clip[:, k]) if k >= known else clip[:, k]
            out, kl, memory = self.model.advance(frame, clip[:, k + 1], noise[k], memory)
            made = self.model.expected(out)
            nats.append(self._nats(out, clip[:, k + 1]))
            errors.append((made - clip[:, k + 1]).square().mean().detach())
            divergence = divergence + kl
        rate = divergence.mean() / (count * clip[0, 0].numel())
        loss = (torch.stack(nats).mean() + self.config.beta * rate) / math.log(2)
        parts = {"error": torch.stack(errors[known - 1 :]).mean()}
        return loss, {**parts, **({"kl": divergence.mean().detach() / count} if self.model.config.latent else {})}

    def _nats(self, out: Tensor, true: Tensor) -> Tensor:
        """- log p of a frame, the mean over pixels; for greys, the cross-entropy."""
        if self.model.config.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(out, (true + 1) / 2)
        error = (out - true).square().mean() * (-2 * self.log_spread).exp()
        return 0.5 * (error + math.log(2 * math.pi)) + self.log_spread

    @torch.no_grad()
    def validate(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """loss: squared error of frames predicted from the known ones, fed with its own; copy: that of repeating the last one."""
        known = self.known(batch.image)
        seen, true = batch.image[:, :known], batch.image[:, known:]
        made = self.model.predict(seen, true.shape[1], step.rng)
        bits, parts = self._bits(batch.image, step.rng, 1.0)
        return {"loss": (made - true).square().mean(), "copy": (seen[:, -1:] - true).square().mean(), "bits": bits, **parts}

    def preview(self, batch: Batch, step: Step) -> list[Tensor]:
        """The clip, and below it the clip as it goes on from its known frames by itself, frames side by side."""
        known = self.known(batch.image)
        made = self.model.predict(batch.image[:, :known], batch.image.shape[1] - known, step.rng)
        rows = (batch.image, torch.cat([batch.image[:, :known], made], 1))
        return [torch.cat([torch.cat(list(clip.unbind(1)), -1) for clip in rows], -2)]
