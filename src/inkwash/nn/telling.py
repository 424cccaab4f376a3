"""Say what is there: a writer that sees only vectors, those of a text or of a picture's latents, and must write a caption that fits.

It is a second task for whoever makes the vectors, and needed only while learning. What binds a colour to its thing, and a thing to its
place, is hard to learn from the squared error of pictures: it tells little of it, and that late. Captions tell it at once.

Reference: Sutskever, Vinyals and Le 2014, Sequence to Sequence Learning with Neural Networks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.words import is_chinese
from inkwash.nn.tokenizer import PAD, TokenizerConfig
from inkwash.nn.writers import TransformerWriterConfig


class Telling(nn.Module):
    """d: length of the vectors. It is told which language to write, English or Chinese."""

    def __init__(self, d: int, tokenizer: TokenizerConfig, width: int = 128, blocks: int = 2, head: int = 64):
        super().__init__()
        self.tokenizer = tokenizer.build()
        writer = TransformerWriterConfig(width=width, blocks=blocks, head=head)
        self.writer = writer.build(self.tokenizer.size + 2, tokenizer.length, d)

    def forward(self, vectors: Tensor, mask: Tensor | None, texts: Sequence[str]) -> Tensor:
        """Nats a token of each text, given vectors (N, P, D) and where there are any, bool (N, P), None for everywhere: (N,)."""
        tokens = self.tokenizer.batch(texts).to(vectors.device)
        begin = torch.tensor([self.tokenizer.size + is_chinese(text) for text in texts], device=vectors.device)
        scores, _ = self.writer(torch.cat([begin[:, None], tokens[:, :-1]], 1), vectors, mask)  # (N, L, K)
        there = tokens != PAD
        nats = F.cross_entropy(scores.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)
        return (nats * there).sum(1) / there.sum(1)
