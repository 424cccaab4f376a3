import json
import sys

import pytest
import torch

from inkwash.core.errors import ConfigError, FileError
from inkwash.metrics.features.transformers_nets import load_transformers


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Small random models, saved as their hub folders are."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("towers")
    vit = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}
    text |= {"bos_token_id": 1, "eos_token_id": 2}
    clip = transformers.CLIPConfig(text_config=text, vision_config={**vit, "intermediate_size": 64}, projection_dim=16)
    torch.manual_seed(0)
    transformers.Dinov2Model(transformers.Dinov2Config(**vit)).save_pretrained(folder / "dinov2")
    transformers.CLIPModel(clip).save_pretrained(folder / "clip")
    transformers.BertModel(transformers.BertConfig(**text)).save_pretrained(folder / "bert")
    return folder


@pytest.mark.parametrize("family, dim", [("dinov2", 32), ("clip", 16)])
def test_towers(folders, family, dim):
    net = load_transformers(folders / family)
    x = torch.rand(3, 1, 20, 30) * 2 - 1
    y = net(x)
    assert y.shape == (3, dim) and net.dim == dim and net.id.startswith(f"{family}-28px-")
    assert not torch.allclose(y[0], y[1]) and not y.requires_grad
    assert load_transformers(folders / family).id == net.id


def test_features_are_the_models_own(folders):
    """Against the whole model, with pixels prepared by hand; images of the right size, so that resizing plays no part."""
    transformers = pytest.importorskip("transformers")
    x = torch.rand(2, 3, 28, 28)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        whole = transformers.Dinov2Model.from_pretrained(folders / "dinov2")
        expected = whole(pixel_values=(x - mean) / std).last_hidden_state[:, 0]
        torch.testing.assert_close(load_transformers(folders / "dinov2")(x * 2 - 1), expected, atol=1e-4, rtol=1e-4)
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
        whole = transformers.CLIPModel.from_pretrained(folders / "clip")
        expected = whole.visual_projection(whole.vision_model(pixel_values=(x - mean) / std).pooler_output)
        torch.testing.assert_close(load_transformers(folders / "clip")(x * 2 - 1), expected, atol=1e-4, rtol=1e-4)


def test_preprocessor_file_is_read(folders, tmp_path):
    for file in (folders / "clip").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    net, plain = load_transformers(tmp_path), load_transformers(folders / "clip")
    assert net.mean.flatten().tolist() == [0.5] * 3 and net.id != plain.id
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(FileError, match="not JSON"):
        load_transformers(tmp_path)


def test_refusals(folders, tmp_path):
    with pytest.raises(ConfigError, match="bert model"):
        load_transformers(folders / "bert")
    with pytest.raises(FileError, match="allowed explicitly"):
        load_transformers("facebook/dinov2-small")
    with pytest.raises(FileError, match="cannot be loaded"):
        load_transformers(tmp_path)
    for file in (folders / "dinov2").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(FileError, match="cannot be loaded"):
        load_transformers(tmp_path)


def test_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"inkwash\[features\]"):
        load_transformers(tmp_path)
