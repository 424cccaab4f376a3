"""Picture to picture: with pairs, and without."""

from inkwash.data import Facts, View
from inkwash.methods.cyclegan import CycleConfig
from inkwash.methods.style import StyleConfig
from inkwash.methods.translator import PairedConfig, TranslatorConfig
from inkwash.nn.critics import PatchConfig
from inkwash.nn.translator import TranslatorNetConfig
from inkwash.training import DataConfig, RunConfig, TrainConfig

PIECE = 192  # side of what is cut from photographs to be painted: room for several strokes


def _fold(facts: Facts) -> int:
    return 1 if min(facts.height, facts.width) <= 16 else 2


def cyclegan(source: str, facts: Facts) -> RunConfig:
    """Two kinds of picture without pairs, --data A --data-b B: residual networks, relativistic with R1, a pool of 50."""
    shape = (facts.channels, facts.height, facts.width)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels, flip=True)),
        model=TranslatorConfig(shape=shape, directions=("b", "a"), net=TranslatorNetConfig(fold=_fold(facts))),
        objective=CycleConfig(critic=PatchConfig(levels=2 if min(shape[1:]) <= 64 else 3)),
        train=TrainConfig(batch=16, lr=4e-4, warm_up=0, decay=0.5, ema=2000.0, samples=32),
    )


def pix2pix(source: str, facts: Facts) -> RunConfig:
    """Pairs, two pictures side by side in each file: a critic of patches and the absolute error.

    What is on the right becomes what is on the left, unless data.view.pair says otherwise.
    """
    halved = View(pair="right").halved(facts.height, facts.width)
    shape = (facts.channels, *((facts.height, facts.width) if facts.pair or facts.sized else halved))
    net = TranslatorNetConfig(fold=2 if min(shape[1:]) <= 128 else 4, blocks=9, residual=False)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=shape[1:], channels=facts.channels, pair=facts.pair or "right", flip=True)),
        model=TranslatorConfig(shape=shape, directions=("picture",), net=net),
        objective=PairedConfig(critic=PatchConfig(levels=3)),
        train=TrainConfig(batch=8, lr=4e-4, warm_up=0, decay=0.5, ema=2000.0, samples=16),
    )


def style(source: str, facts: Facts) -> RunConfig:
    """Photographs painted in one pass, in the style of --set objective.painting=FILE."""
    size = (PIECE, PIECE) if facts.note else (facts.height, facts.width)  # pictures of many sizes are cut, not made small
    shape = (3, *size)
    net = TranslatorNetConfig(width=32, blocks=5, fold=2)
    return RunConfig(
        data=DataConfig(source=source, view=View(size=size, channels=3, fit="window", random_crop=True, flip=True)),
        model=TranslatorConfig(shape=shape, directions=("painted",), net=net),
        objective=StyleConfig(),
        train=TrainConfig(batch=4, lr=1e-3, warm_up=0, decay=0.5, ema=500.0, samples=8),
    )
