"""The finite-loss guard: a step whose gradient is not finite changes nothing, and the run stops with a sentence that says where."""

import torch
from torch import Tensor, nn

from inkwash.core.batch import Batch, Step
from inkwash.core.objective import Objective


def _bad(value) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_bad(v) for v in value)
    return isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())


def culprit(objective: Objective, phase: str, batch: Batch, step: Step) -> str:
    """Replay a loss and name the first module with an output that is not finite, else the first parameter with such a gradient."""
    found: list[str] = []
    roots = {"model": objective.model, "objective": objective}

    def watch(name: str):
        def hook(module: nn.Module, inputs, output) -> None:
            if not found and _bad(output):
                found.append(name)

        return hook

    handles = [m.register_forward_hook(watch(f"{r}.{n}" if n else r)) for r, root in roots.items() for n, m in root.named_modules()]
    try:
        loss, _ = objective.loss(phase, batch, step)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return found[0]
    for root_name, root in roots.items():
        for name, p in root.named_parameters():
            if _bad(p):
                return f"{root_name}.{name} (its weights)"
    if not _bad(loss):
        names = {p: f"{r}.{n}" for r, root in roots.items() for n, p in root.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(loss, list(names), allow_unused=True)
        for name, gradient in zip(names.values(), gradients):
            if gradient is not None and _bad(gradient):
                return f"{name} (its gradient)"
    return "the loss itself"
