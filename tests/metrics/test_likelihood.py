import math

import pytest
import torch

from inkwash.core.errors import DataError
from inkwash.metrics.likelihood import bits_per_dim


@pytest.mark.parametrize("levels", [2, 256])
def test_uniform_image_needs_log2_levels_bits(levels):
    dims = 3 * 8 * 8
    log_prob = torch.full((5,), -dims * math.log(levels))
    torch.testing.assert_close(bits_per_dim(log_prob, dims), torch.full((5,), math.log2(levels)).double(), rtol=1e-6, atol=0)


def test_float64_and_refusal():
    assert bits_per_dim(torch.zeros(1), 4).dtype == torch.float64
    with pytest.raises(DataError, match="at least one dimension"):
        bits_per_dim(torch.zeros(1), 0)
