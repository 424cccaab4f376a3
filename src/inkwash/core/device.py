"""What this machine is good at: device, precision, memory of the C library. Measured, not believed."""

import ctypes
import functools
import platform
import time
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from inkwash.core.errors import ConfigError, nearest

PRECISIONS = ("auto", "bf16", "fp32")


@functools.cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory instead of giving it back to the kernel: page faults cost a fifth of a training step.

    Does nothing and returns False elsewhere. Call before the first large tensor.
    """
    if platform.system() != "Linux":
        return False
    try:
        libc = ctypes.CDLL(None)
        trim = libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        return bool(libc.mallopt(-3, 1 << 30) and trim)  # M_MMAP_THRESHOLD
    except (OSError, AttributeError):  # musl has no mallopt
        return False


def best_device() -> torch.device:
    """CUDA where there is a GPU, Apple's GPU next, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_device(wanted: str = "auto") -> torch.device:
    """The device of a name. Raises ConfigError where this machine has none such."""
    if wanted == "auto":
        return best_device()
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # an unknown name, or a torch that was built without it
        raise ConfigError(f"There is no device {wanted!r} here: cpu always works, and auto takes the best that is there.") from None
    return device


@dataclass(frozen=True)
class Precision:
    """How to compute: autocast to bf16 with channels-last, or fp32; and the two timings that decided, in milliseconds."""

    bf16: bool
    channels_last: bool
    fp32_ms: float
    bf16_ms: float

    @property
    def name(self) -> str:
        return "bf16" if self.bf16 else "fp32"

    def autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """Lay convolution weights out for this precision. The values do not change."""
        return module.to(memory_format=torch.channels_last) if self.channels_last else module


def _time_convolution(device: torch.device, rounds: int = 6) -> tuple[float, float]:
    """Milliseconds of a 3x3 convolution of 64 channels, 32 x 32, forward and backward: fp32 and bf16, the best of alternating
    rounds, so that another program's burst does not decide; of the first two where bf16 is far behind. Of 4 images on a CPU, a tenth of a
    second in all, of 16 on a GPU."""
    x = torch.randn(4 if device.type == "cpu" else 16, 64, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    conv = torch.nn.Conv2d(64, 64, 3, padding=1, device=device).to(memory_format=torch.channels_last)
    times: dict[bool, list[float]] = {False: [], True: []}
    for bf16 in [False, True] * rounds:
        start = time.perf_counter()
        with torch.enable_grad():  # whoever loads a model may have switched them off
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                y = conv(F.silu(x))
            y.float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times[bf16].append(1e3 * (time.perf_counter() - start))
        if len(times[True]) == 2 and times[True][1] > 3 * times[False][1]:  # no matrix units: the rest would take a third of a second
            break
    return min(times[False][1:]), min(times[True][1:])


@functools.cache
def measure_precision(device: torch.device) -> Precision:
    """Time one convolution both ways. A CPU accepts bf16 without matrix units too, and is then ten times slower."""
    keep_freed_memory()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        fp32, bf16 = _time_convolution(device)
    return Precision(bf16 < 0.8 * fp32, True, fp32, bf16)


def choose_precision(device: torch.device, wanted: str = "auto") -> Precision:
    """wanted: "auto" measures; "bf16" and "fp32" are taken at their word (the timings are then not taken and read 0).

    Raises ConfigError for any other.
    """
    if wanted not in PRECISIONS:
        raise ConfigError(f"There is no precision {wanted!r}; {nearest(wanted, PRECISIONS)}")
    if wanted == "auto":
        return measure_precision(device)
    return Precision(wanted == "bf16", True, 0.0, 0.0)


def peak_memory() -> int:
    """Peak resident bytes of this process; 0 where the system does not tell."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
