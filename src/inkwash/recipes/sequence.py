"""Models that continue clips."""

from inkwash.data import Facts, View
from inkwash.methods.sequence import FramesConfig, SequenceConfig
from inkwash.nn.pyramid import PyramidConfig
from inkwash.nn.recurrent import ClipNet, ConvLSTMConfig, LSTMConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig


def _with(net: ClipNet, source: str, facts: Facts, fold: int) -> RunConfig:
    shape = (facts.channels, facts.height, facts.width)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels)),
        model=SequenceConfig(shape=shape, net=net, eye=PyramidConfig(width=16, most=64, fold=fold)),
        objective=FramesConfig(),
        train=TrainConfig(batch=16, optimizer="muon", lr=2e-3, warm_up=500, samples=8, validate_images=128),
    )


def sequence(source: str, facts: Facts) -> RunConfig:
    """Convolutional LSTMs over patches of 4 x 4, of 2 x 2 below 48 pixels. Stochastic with --set model.latent=16."""
    fold = _fold(facts)
    return _with(ConvLSTMConfig(fold=fold), source, facts, fold)


def sequence_lstm(source: str, facts: Facts) -> RunConfig:
    """An LSTM over whole frames, and a linear head: what tutorials have."""
    return _with(LSTMConfig(), source, facts, _fold(facts))


def _fold(facts: Facts) -> int:
    short = min(facts.height, facts.width)
    return 4 if short >= 48 else 2 if short >= 16 else 1
