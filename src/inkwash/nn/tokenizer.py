"""Text as numbers: bytes, and pairs of tokens that often stand together, merged again and again (byte-pair encoding).

Text is lower case here; a Latin word is spelled with the space before it, and every Chinese, Japanese or Korean character is a piece of its
own, so that what a character means never depends on how its neighbours were merged. What no merge knows is spelled in bytes: any text has
tokens, and tokens come back as text.

References: 1. Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units. 2. Radford et al. 2019 (GPT-2: bytes).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from pydantic import Field
from torch import Tensor

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError

PAD, END, BYTES = 0, 1, 2  # token numbers: padding, the end of a text, the first of 256 bytes; merges follow
MOST_WORDS = 20_000  # a tokenizer remembers so many words that it has seen, or none

_CJK = "\u2e80-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_PIECES = re.compile(rf"[{_CJK}]| ?[^\W\d_{_CJK}]+| ?\d| ?[^\w\s]| ?.", re.DOTALL)
_WORDS = re.compile(rf"[{_CJK}]|[^\W\d_{_CJK}]+|\d")
_BESIDE = re.compile(rf"(?<=[{_CJK}])(?=[^\W_{_CJK}])")  # where a Latin word touches a character
_LATIN = re.compile(rf"[^\W_{_CJK}]")
_BETWEEN = re.compile(rf"(?<=[{_CJK}]) (?=\S)|(?<=\S) (?=[{_CJK}])")


def plain(text: str) -> str:
    """Lower case, compatible forms, single spaces (none beside a character of Chinese); a space before a first Latin word."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    text = _BESIDE.sub(" ", _BETWEEN.sub("", text))
    return f" {text}" if _LATIN.match(text) else text


def words(text: str) -> list[str]:
    """Latin words, digits and single characters of Chinese, as they come."""
    return [word for word in _WORDS.findall(plain(text)) if word.isalnum()]


class TokenizerConfig(Config):
    """merges: pairs of tokens, the most frequent first. words: those it was learnt from, none where they were too many to keep.
    length: most tokens of a text, its end included."""

    merges: tuple[tuple[int, int], ...] = ()
    words: tuple[str, ...] = ()
    length: int = Field(64, ge=2)

    def build(self) -> "Tokenizer":
        return Tokenizer(self)


class Tokenizer:
    """Text to tokens and back."""

    def __init__(self, config: TokenizerConfig):
        self.config, self.size = config, BYTES + 256 + len(config.merges)
        self._rank = {pair: BYTES + 256 + k for k, pair in enumerate(config.merges)}
        self._bytes = {BYTES + b: bytes([b]) for b in range(256)}
        for token, (a, b) in zip(self._rank.values(), config.merges):
            self._bytes[token] = self._bytes[a] + self._bytes[b]
        self._known = frozenset(config.words)
        self.piece = lru_cache(50_000)(self._piece)

    def _piece(self, piece: str) -> tuple[int, ...]:
        tokens = [BYTES + b for b in piece.encode(errors="replace")]
        while len(tokens) > 1:
            best = min(zip(tokens, tokens[1:]), key=lambda pair: self._rank.get(pair, self.size))
            if best not in self._rank:
                break
            tokens = _merged(tokens, best, self._rank[best])
        return tuple(tokens)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text of any length, without its end."""
        return [token for piece in _PIECES.findall(plain(text)) for token in self.piece(piece)]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens, up to the end. Bytes that are no text become a replacement character."""
        out = bytearray()
        for token in tokens:
            if token == END:
                break
            out += self._bytes.get(int(token), b"")
        return out.decode(errors="replace").removeprefix(" ")

    def spelled(self, tokens: Sequence[int]) -> list[tuple[str, int]]:
        """The words of tokens up to the end, and how many tokens each takes."""
        out: list[tuple[str, int]] = []
        text, held = b"", 0
        for token in tokens:
            if token == END:
                break
            text, held = text + self._bytes.get(int(token), b""), held + 1
            try:
                piece = text.decode()
            except UnicodeDecodeError:
                continue  # a character in several tokens
            if piece == " ":
                continue  # that of the word that follows
            if out and not piece.startswith(" ") and _LATIN.match(piece) and _LATIN.match(out[-1][0][-1:]):
                out[-1] = (out[-1][0] + piece, out[-1][1] + held)  # the rest of a word
            else:
                out.append((piece.strip(), held))
            text, held = b"", 0
        return [*out, (text.decode(errors="replace"), held)] if held else out

    def batch(self, texts: Sequence[str], cut: bool = True) -> Tensor:
        """int64 (N, L): each text's tokens and its end, padded to the longest. cut: leave out what is too long; else raise ConfigError."""
        rows, most = [self.encode(text) for text in texts], self.config.length - 1
        if not cut and (long := max(map(len, rows), default=0)) > most:
            raise ConfigError(f"The text is too long: it has {long} tokens, and this model reads {most}.")
        rows = [[*row[:most], END] for row in rows]
        out = torch.full((len(rows), max(map(len, rows), default=1)), PAD)
        for place, row in zip(out, rows):
            place[: len(row)] = torch.tensor(row)
        return out

    def unknown(self, text: str) -> list[str]:
        """Words that it has never seen, in order, each once; none where it does not remember any."""
        return list(dict.fromkeys(w for w in words(text) if w not in self._known)) if self._known else []


def _merged(tokens: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Tokens with every occurrence of a pair replaced, from left to right."""
    out, i = [], 0
    while i < len(tokens):
        if i + 1 < len(tokens) and (tokens[i], tokens[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out


def learn_tokenizer(texts: Iterable[str], merges: int = 1000, length: int = 64, least: int = 2) -> TokenizerConfig:
    """The most frequent pair is merged, again and again: at most `merges` times, while it occurs at least `least` times.

    The same texts give the same tokenizer: of pairs that are equally frequent, that of smaller numbers goes first.
    """
    counts, seen = Counter(), Counter()
    for text in texts:
        counts.update(_PIECES.findall(plain(text)))
        seen.update(words(text))
    pieces = [([BYTES + b for b in piece.encode(errors="replace")], n) for piece, n in counts.items()]
    pairs, holders = Counter(), {}
    for i, (tokens, n) in enumerate(pieces):
        _count(pairs, holders, i, tokens, n)
    learnt: list[tuple[int, int]] = []
    while len(learnt) < merges and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], -pair[0], -pair[1]))
        if pairs[best] < least:
            break
        new = BYTES + 256 + len(learnt)
        learnt.append(best)
        for i in sorted(holders.pop(best)):
            tokens, n = pieces[i]
            _count(pairs, holders, i, tokens, -n)
            pieces[i] = (_merged(tokens, best, new), n)
            _count(pairs, holders, i, pieces[i][0], n)
        pairs.pop(best, None)
    return TokenizerConfig(merges=tuple(learnt), words=remembered(seen), length=length)


def remembered(seen: Iterable[str]) -> tuple[str, ...]:
    """The words that a tokenizer keeps of those that were seen: each once, or none where they are too many."""
    each = sorted(set(seen))
    return tuple(each) if len(each) <= MOST_WORDS else ()


def _count(pairs: Counter, holders: dict[tuple[int, int], set[int]], i: int, tokens: list[int], n: int) -> None:
    """Add a piece's pairs n times. Who holds a pair is never taken back: a piece without it is merged into itself."""
    for pair in zip(tokens, tokens[1:]):
        pairs[pair] += n
        holders.setdefault(pair, set()).add(i)
