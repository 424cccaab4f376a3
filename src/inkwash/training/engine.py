"""Engine: one process or many behind the same few verbs. The only file that imports Accelerate.

No module is wrapped. Parameters are broadcast once; gradients are averaged explicitly after the last micro-batch, missing ones as
zeros: under DistributedDataParallel a phase that touches only some parameters is silently not averaged.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn

from inkwash.core.device import choose_device, keep_freed_memory


class _Gather(torch.autograd.Function):
    """Concatenate the rows of all processes; the gradient of a row flows back to the process that it came from."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()  # autograd may share it with another branch
        dist.all_reduce(gradient)
        start = dist.get_rank() * ctx.rows
        # Every process computes the same mean loss over the gathered rows, and gradients are averaged afterwards: no factor is due.
        return gradient[start : start + ctx.rows]


class Engine:
    """Who this process is, and how it speaks with the others. Started by `accelerate launch` or torchrun; alone otherwise."""

    def __init__(self, device: str = "auto"):
        keep_freed_memory()
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        if self.world > 1:
            cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
            state = PartialState(cpu=cpu, backend="gloo" if cpu else None)
            self.rank, self.device = state.process_index, state.device
        else:
            self.rank, self.device = 0, choose_device(device)

    @property
    def main(self) -> bool:
        return self.rank == 0

    def same_everywhere(self, modules: Iterable[nn.Module]) -> None:
        """Copy every parameter and buffer of the first process to the others."""
        if self.world > 1:
            for module in modules:
                for t in (*module.parameters(), *module.buffers()):
                    dist.broadcast(t.data, 0)

    @torch.no_grad()
    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace each gradient by its mean over processes, in one message; a missing one is zero, in one process too."""
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        if self.world == 1:
            return
        flat = torch.cat([p.grad.reshape(-1) for p in parameters])
        dist.all_reduce(flat)
        flat /= self.world
        offset = 0
        for p in parameters:
            p.grad.copy_(flat[offset : offset + p.numel()].view_as(p))
            offset += p.numel()

    def gather(self, x: Tensor) -> Tensor:
        """(N, ...) of this process to (N_total, ...) of all, in order of rank, with gradient."""
        return x if self.world == 1 else _Gather.apply(x)

    def reduce(self, x: Tensor) -> Tensor:
        """Mean over processes, without gradient."""
        if self.world == 1:
            return x
        x = x.detach().clone()
        dist.all_reduce(x)
        return x / self.world

    def from_main(self, value: float) -> float:
        """The first process's number, so that all take the same decision."""
        if self.world == 1:
            return value
        box = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(box, 0)
        return box.item()

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()
