"""Weights in 8 bits."""

import torch

from inkwash.core.files import load_tensors, save_tensors
from inkwash.core.packing import packed, unpacked


def test_every_number_comes_back_to_half_a_step_of_its_row(tmp_path):
    g = torch.Generator().manual_seed(0)
    size = torch.logspace(-4, 2, 64)[:, None, None]
    tensors = {"kernel": torch.randn(64, 32, 9, generator=g) * size, "zero": torch.zeros(64, 64), "bias": torch.randn(64, generator=g)}
    tensors |= {"small": torch.randn(4, 4, generator=g), "count": torch.arange(5000)}
    save_tensors(tmp_path / "a.safetensors", packed(tensors), "note")
    save_tensors(tmp_path / "b.safetensors", {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}, "note")
    back, note = load_tensors(tmp_path / "a.safetensors")
    assert note == "note" and back.keys() == tensors.keys() and torch.equal(back["count"], tensors["count"])
    step = tensors["kernel"].abs().amax((1, 2), keepdim=True) / 127
    assert ((back["kernel"] - tensors["kernel"]).abs() <= step * 0.5001).all() and back["kernel"].dtype == torch.float32
    assert torch.equal(back["zero"], tensors["zero"]) and torch.equal(back["small"], tensors["small"].half())
    kernels = tensors["kernel"].numel() + tensors["zero"].numel()
    assert (tmp_path / "b.safetensors").stat().st_size - (tmp_path / "a.safetensors").stat().st_size > 0.9 * kernels


def test_what_was_never_packed_is_left_alone():
    tensors = {"a": torch.ones(3, dtype=torch.float16)}
    assert unpacked(tensors)["a"] is tensors["a"]
