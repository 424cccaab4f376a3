import json
import subprocess
import sys
import types
from typing import Annotated, Literal

import pytest
import torch
from pydantic import Field

import toy
from inkwash.core.config import MODELS, OBJECTIVES, Config, Kinded, ModelConfig, ObjectiveConfig, lookup, read_value
from inkwash.core.errors import ConfigError, DataError, FileError, InkwashError, TrainingError, nearest
from inkwash.methods.diffusion import DiffusionConfig
from inkwash.training import RunConfig
from tiny import run_config, write_npz


class Inner(Config):
    width: int = 8
    rate: float = 0.5


class Outer(Config):
    name: str = "a"
    sides: tuple[int, int] = (2, 3)
    inner: Inner = Inner()
    more: Inner | None = None


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return run_config("diffusion", write_npz(tmp_path_factory.mktemp("data") / "a.npz"))


def test_frozen_and_closed():
    with pytest.raises(Exception, match="frozen"):
        Outer().name = "b"
    with pytest.raises(NotImplementedError, match="settings only"):
        Outer().build()


def test_json_is_canonical():
    a = Outer.parse({"name": "水墨", "inner": {"rate": 0.25, "width": 3}})
    b = Outer.parse({"inner": {"width": 3, "rate": 0.25}, "name": "水墨"})
    assert a.to_json() == b.to_json() and "水墨" in a.to_json()
    assert Outer.parse(json.loads(a.to_json())) == a


def test_override_replaces_dotted_keys_and_reads_json():
    new = Outer().override({"name": "x", "sides": "[4, 5]", "inner.width": "16", "inner.rate": 2})
    assert (new.name, new.sides, new.inner.width, new.inner.rate) == ("x", (4, 5), 16, 2.0)
    assert Outer() == Outer(), "the original stays"
    texts = ("2024", "true", "null", "None", "[1]")
    assert [Outer().override({"name": text}).name for text in texts] == list(texts), "a text may look like anything"
    assert Outer().override({"name": '"null"'}).name == "null"
    assert Outer().override({}) == Outer()


class Left(Config):
    kind: Literal["left"] = "left"
    width: int = 3
    only: int = 1


class Inside(Config):
    depth: int = 4
    other: int = 1


class Right(Config):
    kind: Literal["right"] = "right"
    width: int = 5
    name: str
    inside: Inside = Inside()
    length: int = 7


class Either(Config):
    side: Annotated[Left | Right, Field(discriminator="kind")] | None = Left()


def test_another_kind_takes_what_it_shares_and_has_settings_of_its_own():
    new = Either(side=Left(width=9)).override({"side.name": "x", "side.kind": "right"})
    assert new.side == Right(width=9, name="x", length=7)
    assert Either().override({"side.kind": "right", "side.name": "x", "side.length": "2"}).side.length == 2
    assert Either().override({"side.kind": "right", "side.name": "x", "side.inside.depth": 2}).side.inside == Inside(depth=2)
    with pytest.raises(ConfigError, match=r"'side\.only'.*side has no 'only'"):
        Either().override({"side.kind": "right", "side.name": "x", "side.only": 2})
    with pytest.raises(ConfigError, match=r"side\.name|'name'"):
        Either().override({"side.kind": "right"})
    with pytest.raises(ConfigError, match="no kind 'up'"):
        Either().override({"side.kind": "up"})


def test_values_as_people_type_them():
    typed = {"1": 1, "1e-3": 1e-3, "true": True, "True": True, "None": None, "null": None, "[1, 2]": [1, 2], "a b": "a b", "": "", 3: 3}
    for text, value in typed.items():
        assert read_value(text) == value and type(read_value(text)) is type(value)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"nam": 1}, ["'nam'", "Outer", "did you mean 'name'?"]),
        ({"inner.widht": 1}, ["'inner.widht'", "inner has no 'widht'", "did you mean 'width'?"]),
        ({"iner.width": 1}, ["'iner.width'", "did you mean 'inner'?"]),
        ({"inner.width.more": 1}, ["'inner.width.more'", "inner.width has no 'more'"]),
        ({"more.width": 1}, ["more has no 'width'"]),
        ({"zzzzzz": 1}, ["known: inner, more, name, sides"]),
        ({"inner.width": "wide"}, ["'inner.width' cannot be 'wide'", "integer"]),
        ({"sides": [1]}, ["'sides.1'"]),
        ({"": 1}, ["''"]),
        ({"inner.": 1}, ["'inner.'"]),
    ],
)
def test_what_cannot_be_set_is_one_sentence(settings, words):
    with pytest.raises(ConfigError) as caught:
        Outer().override(settings)
    message = str(caught.value)
    assert "\n" not in message and all(w in message for w in words), message


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"model.net.widht": 32}, ["model.net has no 'widht'", "did you mean 'width'?"]),
        ({"model.solver": 1}, ["model has no 'solver'"]),
        ({"train.learning_rate": 1}, ["train has no 'learning_rate'"]),
        ({"train.lr": -1}, ["'train.lr' cannot be -1", "greater than 0"]),
        ({"train.lr": "NaN"}, ["'train.lr' cannot be nan"]),
        ({"train.precision": "fp16"}, ["'train.precision' cannot be 'fp16'", "bf16"]),
        ({"model": {"kind": "difusion"}}, ["There is no 'difusion'", "did you mean 'diffusion'?"]),
        ({"model": {"shape": [1, 8, 8]}}, ["needs a 'kind'"]),
        ({"model": {"kind": 3}}, ["A kind is a name, not 3"]),
        ({"model": {"kind": "diffusion", "shape": [1, 8, 8], "clases": []}}, ["'clases'", "did you mean 'classes'?"]),
        ({"model": {"kind": "diffusion", "shape": [1, 8, 8], "net": {"mult": []}}}, ["'net.mult'", "did you mean 'mults'?"]),
        ({"model": {"kind": "diffusion", "shape": [1, 8, 8], "net": {"kind": "dit", "mult": 1}}}, ["'net.mult'", "did you mean 'mlp'?"]),
        ({"model": {"kind": "diffusion", "shape": [1, 8, 8], "net": {"kind": "dot"}}}, ["'net' has no kind 'dot'", "'unet', 'dit'"]),
        ({"model": {"kind": "diffusion", "shape": [1, 8, 8], "net": 3}}, ["'net' cannot be 3"]),
        ({"model": {"kind": "diffusion"}}, ["'shape'", "required"]),
        ({"model": {"kind": "elbo"}}, ["There is no 'elbo'"]),
        ({"data.view.siez": 3}, ["data.view has no 'siez'", "did you mean 'size'?"]),
    ],
)
def test_a_run_says_what_is_wrong_in_it(config, settings, words):
    with pytest.raises(ConfigError) as caught:
        config.override(settings)
    message = str(caught.value)
    assert "\n" not in message and all(w in message for w in words), message


def test_a_run_goes_to_json_and_back(config):
    again = RunConfig.parse(json.loads(config.to_json()))
    assert again == config and again.to_json() == config.to_json()
    assert type(again.model) is DiffusionConfig, "the kind decides the class"
    assert config.override({"model.net.width": 24}).model.net.width == 24


@pytest.mark.parametrize("catalog", [MODELS, OBJECTIVES], ids=["models", "objectives"])
def test_every_entry_of_a_catalog_resolves(catalog):
    base = ModelConfig if catalog is MODELS else ObjectiveConfig
    for kind in catalog:
        found = lookup(kind, catalog)
        assert issubclass(found, base)
        assert found.model_fields["kind"].default == kind


def test_catalogs_import_nothing_before_they_are_asked():
    code = "import sys, inkwash.core.config as c; print(sorted(m for m in sys.modules if m.startswith('inkwash.methods') or m == 'torch'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_code_outside_the_package_must_be_imported_by_the_user(monkeypatch):
    assert lookup("toy:ToyConfig", MODELS) is toy.ToyConfig
    assert lookup("toy:CountingConfig", OBJECTIVES) is toy.CountingConfig
    with pytest.raises(ConfigError, match=r"'elsewhere:Thing' is code outside the package: name its file with --code elsewhere\.py"):
        lookup("elsewhere:Thing", MODELS)
    assert "elsewhere" not in sys.modules
    for kind in (
        "antigravity:fly",  # a module that importing would run
        "os:path",
        "subprocess:Popen",
        "toy:Toy",  # not a configuration
        "toy:CountingConfig",  # not one of a model
        "toy:recipe",
        "pydantic:BaseModel",
        "inkwash.core.config:ModelConfig",
        "inkwash.methods.vae:VAEConfig",
    ):
        with pytest.raises(ConfigError, match="is code outside the package"):
            lookup(kind, MODELS)
    assert "antigravity" not in sys.modules
    with pytest.raises(ConfigError, match="did you mean 'vae'"):
        lookup("vea", MODELS)

    module = types.ModuleType("strange")

    class Thing(ModelConfig):
        kind: Literal["strange:Thing"] = "strange:Thing"

    module.Thing = Thing
    monkeypatch.setitem(sys.modules, "strange", module)
    assert lookup("strange:Thing", MODELS) is Thing and issubclass(Thing, Kinded)


def test_errors_are_one_family():
    assert all(issubclass(e, InkwashError) for e in (ConfigError, DataError, FileError, TrainingError))
    assert nearest("colour", ["color", "size"]) == "did you mean 'color'?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b."
    assert nearest("zzz", []) == "known: none."


def test_a_device_and_a_precision_by_name():
    from inkwash.core.device import choose_device, choose_precision

    assert choose_device("cpu") == torch.device("cpu")
    assert choose_precision(torch.device("cpu"), "fp32").name == "fp32" and choose_precision(torch.device("cpu"), "bf16").bf16
    with pytest.raises(ConfigError, match="There is no precision 'fp16'"):
        choose_precision(torch.device("cpu"), "fp16")
    with pytest.raises(ConfigError, match="There is no device 'qpu'"):
        choose_device("qpu")


def test_a_precision_is_measured_where_gradients_are_switched_off():
    from inkwash.core import device

    with torch.no_grad():
        assert min(device._time_convolution(torch.device("cpu"), rounds=2)) > 0
