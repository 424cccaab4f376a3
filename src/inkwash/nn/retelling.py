"""Say it again in other words: a writer that sees only what a text encoder made of a text, and must write a text that says the same.

What binds a colour to its thing, and a thing to its place in a sentence, is hard to learn from pictures alone: their loss tells little of
it, and that late. Captions of one picture tell it at once. The writer is needed only while learning.

Reference: Sutskever, Vinyals and Le 2014, Sequence to Sequence Learning with Neural Networks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.words import is_chinese
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import PAD
from inkwash.nn.writers import TransformerWriterConfig


class Retelling(nn.Module):
    """The writer for an encoder of this configuration. It is told which language to write, English or Chinese."""

    def __init__(self, config: TextConfig, blocks: int = 2):
        super().__init__()
        self.tokenizer = config.tokenizer.build()
        writer = TransformerWriterConfig(width=config.width, blocks=blocks, head=config.head)
        self.writer = writer.build(self.tokenizer.size + 2, config.tokenizer.length, config.width)

    def forward(self, vectors: Tensor, mask: Tensor, texts: Sequence[str]) -> Tensor:
        """Nats a token of each text, given vectors (N, L, D) of another, bool mask (N, L) where there are any: (N,)."""
        tokens = self.tokenizer.batch(texts).to(vectors.device)
        begin = torch.tensor([self.tokenizer.size + is_chinese(text) for text in texts], device=vectors.device)
        scores, _ = self.writer(torch.cat([begin[:, None], tokens[:, :-1]], 1), vectors, mask)  # (N, L', K)
        there = tokens != PAD
        nats = F.cross_entropy(scores.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)
        return (nats * there).sum(1) / there.sum(1)
