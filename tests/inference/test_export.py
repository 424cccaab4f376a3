"""ONNX: another runtime gives the same numbers."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from inkwash.core.batch import Condition
from inkwash.core.errors import ConfigError
from inkwash.diffusion.told import Told
from inkwash.inference.export import export_onnx
from inkwash.inference.load import Loaded
from tiny import make_trainer, run_config, write_npz

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def loaded(tmp_path, kind="diffusion", classes=2, **settings):
    source = write_npz(tmp_path / "a.npz", shape=(3, 12, 10), classes=classes)
    model = make_trainer(run_config(kind, source).override(settings), stir=0.1).model.eval()
    return Loaded(model, tmp_path, "tiny", [], {})


EDM, DIT = {"model.prediction": "edm", "model.path": "edm"}, {"model.net": {"kind": "dit", "width": 16, "blocks": 2}}


@pytest.mark.parametrize("classes, settings", [(0, {}), (2, {}), (0, EDM), (2, DIT)])
def test_onnxruntime_gives_the_same_estimate(tmp_path, classes, settings):
    from_us = loaded(tmp_path, classes=classes, **settings)
    inputs = export_onnx(from_us, tmp_path / "deep" / "m.onnx")
    assert inputs["x"] == {"shape": ["n", 3, 12, 10], "type": "float32"} and set(inputs) == {"x", "t"} | ({"label"} if classes else set())
    session = runtime.InferenceSession(tmp_path / "deep" / "m.onnx", providers=["CPUExecutionProvider"])
    g = torch.Generator().manual_seed(0)
    for n in (1, 2, 5):
        x, t = torch.randn(n, 3, 12, 10, generator=g), torch.rand(n, generator=g) * 0.9 + 0.05
        label = torch.arange(n) % 3 if classes else None
        given = {"x": x.numpy(), "t": t.numpy()} | ({"label": label.numpy()} if classes else {})
        (out,) = session.run(None, given)
        with torch.no_grad():
            expected = from_us.model.estimate(x, t, Told(label))[0]
        np.testing.assert_allclose(out, expected.numpy(), atol=2e-4, rtol=1e-4)
        assert expected.std() > 0.01
    known = {p.key: p.value for p in onnx.load(tmp_path / "deep" / "m.onnx").metadata_props}
    assert json.loads(known["inkwash"])["shape"] == [3, 12, 10]


def test_a_model_that_reads_is_told_texts_of_any_length(tmp_path):
    from_us = loaded(tmp_path, "text", classes=0)
    inputs, length = export_onnx(from_us, tmp_path / "m.onnx"), from_us.model.text.length
    assert inputs["tokens"]["shape"] == ["n", length]
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    x, t = torch.randn(2, 3, 12, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3, 0.7])
    tokens = from_us.model.tokens(["a picture number 3", "第3张图"])
    (out,) = session.run(None, {"x": x.numpy(), "t": t.numpy(), "tokens": F.pad(tokens, (0, length - tokens.shape[1])).numpy()})
    with torch.no_grad():
        expected = from_us.model.estimate(x, t, from_us.model.told(Condition(tokens=tokens), 2))[0]
    np.testing.assert_allclose(out, expected.numpy(), atol=2e-4, rtol=1e-4)


def test_what_cannot_be_exported_says_so(tmp_path):
    with pytest.raises(ConfigError, match="'gan' model cannot be exported"):
        export_onnx(loaded(tmp_path, "gan"), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
