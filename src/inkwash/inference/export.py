"""Export: a model's network as an ONNX file, for runtimes that know no Python (extra `onnx`)."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from inkwash.core.disk import make_folder, write_bytes
from inkwash.core.errors import ConfigError
from inkwash.inference.load import Loaded
from inkwash.nn.conv import direct

OPSET = 18


@torch.no_grad()
def export_onnx(loaded: Loaded, path: str | Path) -> dict[str, Any]:
    """Write the network of a model to `path`, any number of rows at a time, weights inside, in fp32. Returns what its inputs are.

    The configuration goes into the file's metadata. Raises ConfigError for a model that has nothing to export, or without the extra.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it, and says so in three sentences
    except ImportError:
        raise ConfigError("onnx and onnxscript are not installed: pip install 'inkwash[onnx]'.") from None
    module, inputs = loaded.model.deployed()
    rows = torch.export.Dim("n", min=1)
    with direct(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own making
        program = torch.onnx.export(
            module.eval(),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["out"],
            dynamic_shapes={name: {0: rows} for name in inputs},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"inkwash": json.dumps(loaded.model.config.model_dump(mode="json"), sort_keys=True)})
    make_folder(Path(path).parent)
    write_bytes(Path(path), proto.SerializeToString())
    return {name: {"shape": ["n", *t.shape[1:]], "type": str(t.dtype).removeprefix("torch.")} for name, t in inputs.items()}
