"""Batches by position: which rows a batch holds depends on the seed and its place in the run, and on nothing else."""

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from inkwash.core.batch import Batch, Condition
from inkwash.core.errors import ConfigError
from inkwash.core.pixels import from_uint8
from inkwash.core.rng import mix
from inkwash.data.dataset import Dataset, Pending, Rows


class Loader:
    """The run as one endless sequence of rows, epoch after epoch, each a permutation of the data set keyed by (seed, epoch).

    batch_size is one process's. A batch of all processes covers `batch_size * world` positions, of which process `rank` gets the
    rank-th contiguous block; so the joined batch is the same for every `world`, and for every cut into micro-batches.
    latents: what a frozen encoder makes of every row of the data set, (N, ...), for `Batch.latent`.
    augment: apply the view's flips and random cuts, keyed by (seed, position); as `shuffle` unless given. Pictures of pairs, and rows of a
    set beside, which are shuffled for themselves, come in `Condition.image`.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
        augment: bool | None = None,
        latents: Tensor | None = None,
    ):
        if batch_size < 1:
            raise ConfigError(f"A batch of {batch_size} rows cannot be made: it needs at least 1.")
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.rank, self.world, self.shuffle = rank, world, shuffle
        self.augment = shuffle if augment is None else augment
        self.latents, self._orders = latents, {}
        self._beside = Loader(dataset.beside, batch_size, mix(seed, "beside"), rank, world, shuffle, augment) if dataset.beside else None

    def batch_at(self, position: int, count: int | None = None) -> Batch:
        """This process's share of the rows position .. position + count * world - 1 of the run.

        count: rows for each process, batch_size unless given (less for a micro-batch). `index` holds positions in the run.
        """
        index = self._index(position, count or self.batch_size)
        return self._batch(index, self._ask(index))

    def stream(self, position: int = 0, count: int | None = None, prefetch: int = 4) -> Iterator[Batch]:
        """Endless batches from a position on, the same as `batch_at` gives; of a set that is not in memory some are read ahead."""
        count = count or self.batch_size
        ahead: deque = deque()
        try:
            while True:
                while len(ahead) < (1 if self.dataset.in_memory else max(1, prefetch)):
                    index = self._index(position, count)
                    ahead.append((index, self._ask(index)))
                    position += count * self.world
                index, pending = ahead.popleft()
                yield self._batch(index, pending)
        finally:
            for _, asked in ahead:
                for pending in asked:
                    pending.cancel()

    def _ask(self, index: np.ndarray) -> list[Pending]:
        """Start reading the rows at positions of the run, and those beside them."""
        own = self.dataset.ask(self.rows_at(index))
        return [own, *self._beside._ask(index)] if self._beside else [own]

    def _index(self, position: int, count: int) -> np.ndarray:
        return position + self.rank * count + np.arange(count)

    def rows_at(self, index: np.ndarray) -> np.ndarray:
        """Rows of the data set at positions of the run."""
        epochs, places = np.divmod(index, len(self.dataset))
        if not self.shuffle:
            return places
        which = np.empty_like(index)
        for epoch in range(epochs[0], epochs[-1] + 1):
            at = epochs == epoch
            which[at] = self._order(epoch)[places[at]]
        return which

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(mix(self.seed, "epoch", epoch))
            for old in [e for e in self._orders if e < epoch - 1 or e > epoch + 1]:
                del self._orders[old]
            self._orders[epoch] = torch.randperm(len(self.dataset), generator=generator).numpy()
        return self._orders[epoch]

    def _batch(self, index: np.ndarray, asked: list[Pending]) -> Batch:
        rows = asked[0].collect()
        images, other = self._images(index, rows), None
        if self.dataset.view.pair:
            images, other = images.chunk(2, dim=-3)
        elif self._beside:
            other = self._beside._images(index, asked[1].collect())
        latent = None if self.latents is None else self.latents[self.rows_at(index)]
        if latent is not None and latent.is_floating_point():
            latent = latent.float()
        return Batch(images, Condition(label=rows.labels, image=other), torch.from_numpy(index), rows.text, latent, rows.boxes)

    def _images(self, index: np.ndarray, rows: Rows) -> Tensor:
        """Float (N, C, H, W) as trained on."""
        view = self.dataset.view
        return from_uint8(view.augment(rows.images, row_keys(self.seed, index)) if self.augment else view.centre(rows.images))


def row_keys(seed: int, index: np.ndarray) -> np.ndarray:
    """uint64 (N,): a key for each position of the run (the finaliser of splitmix64 over a counter, Steele et al. 2014)."""
    h = index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(mix(seed, "view"))
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))
