"""Autoregressive models on any images: one recipe for each network."""

from inkwash.core.config import ModelConfig
from inkwash.data import Facts, View
from inkwash.methods.autoregressive import AutoregressiveConfig, CodesConfig, LikelihoodConfig, PixelUpscalerConfig
from inkwash.nn.causal_nets import CausalNet
from inkwash.nn.causal_transformer import TransformerConfig
from inkwash.nn.pixelcnn import GatedConfig, PixelCNNConfig
from inkwash.nn.pixelrnn import DiagonalConfig, RowLSTMConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig


def _with(net: CausalNet, source: str, facts: Facts, fold: int = 1, lr: float = 1e-3) -> RunConfig:
    shape = (facts.channels, facts.height, facts.width)
    head = "categorical" if facts.levels == 2 else "logistic"  # a softmax learns slowly that neighbouring levels are alike
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=AutoregressiveConfig(shape=shape, classes=facts.classes, levels=facts.levels, net=net, fold=fold, head=head),
        objective=LikelihoodConfig(),
        train=TrainConfig(batch=64, optimizer="muon", lr=lr, samples=16),
    )


def autoregressive(source: str, facts: Facts) -> RunConfig:
    """What learns most in little time: masked convolutions and attention over patches of 2 x 2."""
    return _with(PixelCNNConfig(width=256, first=2, attention=4), source, facts, fold=2, lr=3e-3)


def pixelcnn(source: str, facts: Facts) -> RunConfig:
    """Masked convolutions, as in the first of the papers."""
    return _with(PixelCNNConfig(), source, facts, lr=3e-3)


def gated_pixelcnn(source: str, facts: Facts) -> RunConfig:
    """Two stacks and gates."""
    return _with(GatedConfig(), source, facts, lr=3e-3)


def row_lstm(source: str, facts: Facts) -> RunConfig:
    """An LSTM from row to row."""
    return _with(RowLSTMConfig(), source, facts)


def diagonal_lstm(source: str, facts: Facts) -> RunConfig:
    """Two LSTMs from diagonal to diagonal."""
    return _with(DiagonalConfig(), source, facts)


def pixel_transformer(source: str, facts: Facts) -> RunConfig:
    """Attention over patches of 2 x 2."""
    return _with(TransformerConfig(), source, facts, fold=2)


def codes(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """The grids of a trained VQ-VAE, --from RUN: masked convolutions and attention, which learn most in little time."""
    return _prior(PixelCNNConfig(width=256, blocks=4, first=1, attention=2), source, facts, start)


def codes_transformer(source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    """The same by a transformer."""
    return _prior(TransformerConfig(), source, facts, start)


def _prior(net: CausalNet, source: str, facts: Facts, start: ModelConfig) -> RunConfig:
    config = _with(net, source, facts, lr=3e-3)
    view = View(size=start.shape[1:], channels=start.shape[0])
    model = CodesConfig(shape=start.shape, classes=facts.classes, net=net, autoencoder=start)
    return config.model_copy(update={"data": DataConfig(source=source, view=view), "model": model, "part": "autoencoder"})


def pixel_upscaler(source: str, facts: Facts) -> RunConfig:
    """The default network, told of a picture four times smaller; sides that four does not divide are cut."""
    config = autoregressive(source, facts)
    size = (max(4, facts.height // 4 * 4), max(4, facts.width // 4 * 4))
    model = PixelUpscalerConfig(
        shape=(facts.channels, *size), levels=facts.levels, net=config.model.net, fold=config.model.fold, head=config.model.head
    )
    view = View(size=size, channels=facts.channels)
    return config.model_copy(update={"data": DataConfig(source=source, view=view), "model": model})
