"""Text encoders of the transformers library (extra `hub`): CLIP, T5, multilingual ones, by name or local path. They stay as they are.

Their weights are not saved with a model that uses them: the model's folder says which encoder it needs. The vectors of a text are kept in
memory, so that a caption that comes again costs nothing.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError, FileError
from inkwash.core.extras import library, reason

ENCODERS = {"clip": "CLIPTextModel", "t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}  # others: AutoModel
KEPT = 200_000  # texts whose vectors are kept, of at most so many numbers in all:
ROOM = 1 << 28


class FrozenTextConfig(Config):
    """name: a folder, or a model on the Hugging Face hub that was fetched before. width: of its vectors. length: most tokens of a text."""

    kind: Literal["transformers"] = "transformers"
    name: str
    width: int = Field(ge=1)
    length: int = Field(64, ge=2)

    def build(self) -> "FrozenText":
        return FrozenText(self)


def read(f: Any, name: str, **more: Any) -> Any:
    """What from_pretrained gives, from the disk alone: a folder, or what the hub's own cache holds. Raises FileError in one sentence."""
    try:
        return f(name, local_files_only=True, trust_remote_code=False, **more)
    except Exception as error:  # the library raises many kinds
        hint = "" if Path(name).exists() else f" Nothing is fetched here: `hf download {name}` does so once."
        raise FileError(f"The text encoder {name} cannot be read: {reason(error)}.{hint}") from None


class FrozenText(nn.Module):
    """Tokens are the encoder's own, one more each, so that 0 is padding."""

    def __init__(self, config: FrozenTextConfig):
        super().__init__()
        self.config, self.width = config, config.width
        tool = library("transformers", "hub")
        tool.logging.set_verbosity_error()
        tool.logging.disable_progress_bar()
        kind = read(tool.AutoConfig.from_pretrained, config.name).model_type
        self.tokenizer = read(tool.AutoTokenizer.from_pretrained, config.name)
        encoder = read(getattr(tool, ENCODERS.get(kind, "AutoModel")).from_pretrained, config.name, use_safetensors=True)
        if encoder.config.hidden_size != config.width:
            raise ConfigError(f"The vectors of {config.name} have {encoder.config.hidden_size} numbers: set model.text.width to that.")
        self.length = min(config.length, getattr(encoder.config, "max_position_embeddings", None) or config.length)
        self._encoder = (encoder.eval().requires_grad_(False),)  # no part of this: neither saved nor trained
        self._kept: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()
        self._numbers = 0  # in all of them

    def tokens(self, texts: Sequence[str], cut: bool = True) -> Tensor:
        """int64 (N, L), on the CPU. cut: shorten what is too long; else raise ConfigError."""
        rows = [self.tokenizer(text, truncation=cut, max_length=self.length)["input_ids"] for text in texts]
        end = self.tokenizer.eos_token_id or 0
        rows = [row or [end] for row in rows]  # a text of no tokens would leave nothing to look at
        if (long := max(map(len, rows))) > self.length:
            raise ConfigError(f"The text is too long: it has {long} tokens, and this model reads {self.length}.")
        return torch.tensor([[t + 1 for t in row] + [0] * (max(map(len, rows)) - len(row)) for row in rows])

    def unknown(self, text: str) -> list[str]:
        return []

    @torch.no_grad()
    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (N, L) to vectors (N, L, D), and where there are any: bool (N, L)."""
        mask = tokens != 0
        rows = [tuple(row) for row in tokens.tolist()]
        rows = [row[: row.index(0)] if 0 in row else row for row in rows]
        new = [row for row in dict.fromkeys(rows) if row not in self._kept]
        for row in new:  # each by itself: what a text is must not depend on those beside it
            self._look_up(row, tokens.device)
        out = torch.zeros(*tokens.shape, self.width, device=tokens.device)
        for place, row in zip(out, rows):
            place[: len(row)] = self._kept[row].to(place)
        self._forget()
        return out, mask

    def _look_up(self, row: tuple[int, ...], device: torch.device) -> None:
        ids = torch.tensor([[t - 1 for t in row]], device=device)
        with torch.autocast(device.type, enabled=False):
            out = self._encoder[0].to(device)(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        self._kept[row] = out[0].float().cpu()
        self._numbers += out.numel()

    def _forget(self) -> None:
        """What was looked up first, where there is too much of it."""
        while self._kept and (len(self._kept) > KEPT or self._numbers > ROOM):
            row, vectors = self._kept.popitem(last=False)
            self._numbers -= vectors.numel()
