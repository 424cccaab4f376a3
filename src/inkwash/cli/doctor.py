"""inkwash doctor."""

import importlib.metadata
import os
import platform

import torch

from inkwash.cli.common import tell
from inkwash.core.device import best_device, keep_freed_memory, measure_precision

EXTRAS = ("accelerate", "safetensors", "pydantic", "transformers", "datasets", "diffusers", "tensorboard", "scikit-learn")


def run(json: bool) -> None:
    kept = keep_freed_memory()
    device = best_device()
    precision = measure_precision(device)
    flags = _cpu_flags()
    units = [name for name, flag in (("AMX", "amx_bf16"), ("AVX-512", "avx512f"), ("AVX2", "avx2"), ("NEON", "asimd")) if flag in flags]
    capability = torch.backends.cpu.get_cpu_capability()
    record = {
        "device": str(device),
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
        "precision": precision.name,
        "fp32_ms": round(precision.fp32_ms, 2),
        "bf16_ms": round(precision.bf16_ms, 2),
        "cpu_units": units,
        "cpu_capability": capability,
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "keeps_freed_memory": kept,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, **_versions()},
    }
    lines = [
        f"device      {device}" + (f" ({record['gpu']})" if record["gpu"] else ""),
        f"precision   {precision.name}: one convolution, forward and backward, takes {precision.fp32_ms:.1f} ms in fp32 and "
        f"{precision.bf16_ms:.1f} ms in bf16",
        f"CPU         {', '.join(units) or 'no vector units known here'}; torch uses {capability}",
        f"threads     {torch.get_num_threads()} of {os.cpu_count()} cores",
        f"versions    {', '.join(f'{k} {v}' for k, v in record['versions'].items())}",
        *_advice(record, precision.bf16),
    ]
    tell(record, json, lines)


def _advice(record: dict, bf16: bool) -> list[str]:
    out = []
    if record["device"] == "cpu" and not bf16:
        out.append("slow here   bf16: this CPU accepts it without matrix units, so fp32 is used, at a third of a server's speed or less")
    if record["device"] == "cpu":
        out.append("slow here   attention with many small heads, GroupNorm with many groups: our networks use one of each")
    if record["threads"] < (record["cores"] or 1):
        out.append(f"slow here   torch uses {record['threads']} of {record['cores']} cores: see OMP_NUM_THREADS")
    if not record["keeps_freed_memory"] and platform.system() == "Linux":
        out.append("slow here   this C library gives freed memory back at once, which costs about a fifth of a training step")
    return out


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            for line in f:
                if line.startswith(("flags", "Features")):
                    return set(line.split(":", 1)[1].split())
    except OSError:  # not Linux
        pass
    return {"asimd"} if platform.machine() == "arm64" else set()


def _versions() -> dict[str, str]:
    found = {}
    for name in EXTRAS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
