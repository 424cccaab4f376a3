"""Diffusers' schedulers as solvers: `--solver diffusers:NAME` runs one of them on our denoiser (extra `diffusers`).

A scheduler brings its own noise levels. Flow schedulers walk our flow path itself; all others walk a variance-preserving chain
of 1,000 steps whose cumulative alphas are those of our path, with t = (i + 1) / 1000 at their timestep i.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, nearest
from inkwash.diffusion.path import Denoiser, Path

FOREIGN = "diffusers:"
CHAIN = 1000
ON_FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
ON_VP = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "UniPCMultistepScheduler",
)


def make_scheduler(name: str, path: Path) -> Any:
    """A scheduler of diffusers on our path; "Scheduler" may be left off its name.

    Raises ConfigError where diffusers is missing, or has none such, or for another path.
    """
    try:
        import diffusers
    except ImportError:
        raise ConfigError("diffusers is not installed: pip install 'inkwash[diffusers]'.") from None
    name = name if name.endswith("Scheduler") else f"{name}Scheduler"
    fits = ON_FLOW if path.name == "flow" else ON_VP if path.name.startswith("vp") else ()
    if name not in fits:
        what = f"is not known for the {path.name} path" if name in ON_FLOW + ON_VP else "does not exist"
        hint = nearest(name, fits) if fits else "diffusers has none for it"
        raise ConfigError(f"The scheduler {name!r} {what}; {hint}")
    kind = getattr(diffusers, name)
    if name in ON_FLOW:
        return kind(num_train_timesteps=CHAIN)
    a = path.a(torch.arange(CHAIN + 1, dtype=torch.float64) / CHAIN * path.start)
    wishes = {"num_train_timesteps": CHAIN, "trained_betas": (1 - (a[1:] / a[:-1]) ** 2).tolist(), "prediction_type": "sample"}
    wishes |= {"clip_sample": False, "timestep_spacing": "trailing", "final_sigmas_type": "zero"}
    return kind(**{k: v for k, v in wishes.items() if k in inspect.signature(kind).parameters})


def with_scheduler(
    name: str,
    denoise: Denoiser,
    x: Tensor,
    path: Path,
    steps: int,
    generators: list[torch.Generator],
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Walk from noise x at the path's start with a scheduler of diffusers. generators: of each row, for random steps.

    Raises ConfigError for a scheduler that is unknown or does not fit the path.
    """
    if steps > CHAIN:
        raise ConfigError(f"A scheduler of diffusers takes up to {CHAIN} steps, {steps} were asked for.")
    scheduler = make_scheduler(name, path)
    scheduler.set_timesteps(steps)
    x = x / path.at(path.start)[2] * float(scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else 1.0)
    random = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    flow, total = path.name == "flow", len(scheduler.timesteps)
    for i, step in enumerate(scheduler.timesteps):
        if flow:
            t = min(float(step) / CHAIN, path.start)
            out = (x - denoise(x, t)) / t  # the velocity, noise - x0
        else:
            out = denoise(scheduler.scale_model_input(x, step), path.start * (float(step) + 1) / CHAIN)
        x = scheduler.step(out, step, x, return_dict=False, **random)[0]
        if on_step:
            on_step(i + 1, total)
    return x
