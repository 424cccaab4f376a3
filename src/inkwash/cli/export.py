"""inkwash export."""

from pathlib import Path

from inkwash.cli.common import tell, user_code
from inkwash.core.errors import ConfigError
from inkwash.inference.export import export_onnx
from inkwash.inference.load import load


def run(model: str, out: str, code: str | None, json: bool) -> None:
    user_code(code)
    path = Path(out)
    if path.suffix != ".onnx":
        raise ConfigError(f"{out!r} is not the name of an ONNX file: it ends in .onnx.")
    inputs = export_onnx(load(model, "cpu", "fp32"), path)
    size = path.stat().st_size
    lines = [f"wrote {path} ({size / 1e6:.1f} MB)", *(f"  {k}: {v['type']} {v['shape']}" for k, v in inputs.items())]
    tell({"wrote": str(path), "bytes": size, "inputs": inputs}, json, lines)
