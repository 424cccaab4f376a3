"""Log-probabilities in bits per dimension, and the words that say what kind of number it is.

[1] Theis, van den Oord and Bethge, A Note on the Evaluation of Generative Models, ICLR 2016, arXiv:1511.01844, sec. 3.1
"""

import math
from typing import Literal, get_args

from torch import Tensor

from inkwash.core.errors import DataError

Tag = Literal["exact", "bound", "density", "estimate"]
TAGS = {
    "exact": "the probability of the k-level image itself",
    "bound": "a lower bound on it: the true bits are at most these",
    "density": "of a density over real-valued pixels: bits may be negative and do not compare with the other three",
    "estimate": "a stochastic or approximate value that may lie on either side",
}
assert set(TAGS) == set(get_args(Tag))


def bits_per_dim(log_prob: Tensor, dims: int) -> Tensor:
    """-log_prob / (dims ln 2) [1], float64 (N,) on the CPU, from log-probabilities in nats summed over dims = C x H x W values.

    Raises DataError for no dimensions.
    """
    if dims < 1:
        raise DataError(f"bits per dimension need at least one dimension, {dims} given.")
    return -log_prob.cpu().double() / (dims * math.log(2))
