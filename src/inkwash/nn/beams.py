"""Beam search: of one picture several beginnings of a text are kept, and the likeliest go on.

The likeliest text is the one of greatest (log p) / ((5 + length) / 6)^penalty (Wu et al. 2016, Google's Neural Machine Translation System,
section 7).
"""

import math
from typing import NamedTuple

from torch import Tensor

from inkwash.nn.tokenizer import END


class Beginning(NamedTuple):
    """nats: log p of its tokens. looked: for each of them the shares of the places, (P,)."""

    nats: float
    tokens: list[int]
    looked: list[Tensor]


class Beams:
    """The beginnings of one picture's text, the likeliest first. length: of a text, its end included, at most."""

    def __init__(self, width: int, penalty: float, length: int):
        self.width, self.penalty, self.length = width, penalty, length
        self.open = [Beginning(0.0, [], []), *[Beginning(-math.inf, [], [])] * (width - 1)]  # at first all are one
        self.ended: list[Beginning] = []

    def go_on(self, best: list[tuple[float, int, int]], shares: Tensor) -> list[int] | None:
        """best: the 2 `width` likeliest ways on, as log p, the beginning (a place in `open`), and the token. shares: (width, P), where each
        beginning looked. Returns the place that each new beginning had; None where nothing that goes on can be better than what ended."""
        kept, places = [], []
        for nats, row, token in best:
            before = self.open[row]
            if token == END and nats > -math.inf:
                self.ended.append(Beginning(nats, before.tokens, before.looked))
            elif len(kept) < self.width and nats > -math.inf:
                kept.append(Beginning(nats, [*before.tokens, token], [*before.looked, shares[row]]))
                places.append(row)
        if not kept or max(map(self.rank, self.ended), default=-math.inf) >= kept[0].nats / self._long(self.length):
            return None
        more = self.width - len(kept)
        self.open = kept + [kept[0]._replace(nats=-math.inf)] * more
        return places + places[:1] * more

    def best(self) -> Beginning:
        return max(self.ended, key=self.rank)

    def rank(self, text: Beginning) -> float:
        return text.nats / self._long(len(text.tokens) + 1)

    def _long(self, length: int) -> float:
        return ((5 + length) / 6) ** self.penalty
