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


def make_scheduler(name: str, path: Path, steps: int) -> Any:
    """A scheduler of diffusers on our path, with its steps set; `diffusers:` before its name and "Scheduler" after it may be left off.

    Raises ConfigError where diffusers is missing, or has none such, or for another path, or for more steps than its chain has.
    """
    if steps > CHAIN:
        raise ConfigError(f"A scheduler of diffusers takes up to {CHAIN} steps, {steps} were asked for.")
    scheduler = _unset(name.removeprefix(FOREIGN), path)
    scheduler.set_timesteps(steps)
    return scheduler


def _unset(name: str, path: Path) -> Any:
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


def scheduler_times(scheduler: Any, path: Path) -> list[float]:
    """t at each of its steps, all of which ask for an estimate."""
    if path.name == "flow":
        return [min(float(step) / CHAIN, path.start) for step in scheduler.timesteps]
    return [path.start * (float(step) + 1) / CHAIN for step in scheduler.timesteps]


def with_scheduler(
    scheduler: Any,
    denoise: Denoiser,
    x: Tensor,
    path: Path,
    generators: list[torch.Generator],
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Walk from noise x at the path's start with what `make_scheduler` made. generators: of each row, for random steps."""
    x = x / path.at(path.start)[2] * float(scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else 1.0)
    random = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    times = scheduler_times(scheduler, path)
    for i, (step, t) in enumerate(zip(scheduler.timesteps, times)):
        if path.name == "flow":
            out = (x - denoise(x, t)) / t  # the velocity, noise - x0
        else:
            out = denoise(scheduler.scale_model_input(x, step), t)
        x = scheduler.step(out, step, x, return_dict=False, **random)[0]
        if on_step:
            on_step(i + 1, len(times))
    return x
