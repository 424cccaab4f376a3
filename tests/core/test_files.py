import json
import os
import pickle

import pytest
import torch

from inkwash.core import disk
from inkwash.core.disk import read_json, replace_folder, standing, write_bytes
from inkwash.core.errors import FileError, InkwashError
from inkwash.core.files import load_model, load_tensors, save_model, save_tensors
from inkwash.methods.vae import VAEConfig
from tiny import contents

CONFIG = VAEConfig(shape=(1, 4, 4), latent=2, net={"width": 2, "most": 2, "fold": 1})
TENSORS = {
    "weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "half": torch.ones(5, dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "empty": torch.empty(0, 3),
    "flags": torch.tensor([True, False]),
}


@pytest.fixture
def folder(tmp_path):
    model = CONFIG.build()
    save_model(tmp_path / "model", CONFIG, model.state_dict(), "card")
    return tmp_path / "model"


def test_tensors_go_to_disk_and_back(tmp_path):
    save_tensors(tmp_path / "a.safetensors", TENSORS, "水墨 \n note")
    tensors, note = load_tensors(tmp_path / "a.safetensors")
    assert note == "水墨 \n note" and tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[k], v) and tensors[k].dtype == v.dtype for k, v in TENSORS.items())
    save_tensors(tmp_path / "none.safetensors", {})
    assert load_tensors(tmp_path / "none.safetensors") == ({}, "")


def test_other_programs_read_the_file(tmp_path):
    from safetensors import safe_open

    save_tensors(tmp_path / "a.safetensors", TENSORS, "note")
    with safe_open(tmp_path / "a.safetensors", "pt") as f:
        assert f.metadata()["inkwash"] == "note" and set(f.keys()) == TENSORS.keys()
        assert torch.equal(f.get_tensor("weight"), TENSORS["weight"])


def test_files_of_other_programs_are_read(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", {"format": "pt"})
    tensors, note = load_tensors(tmp_path / "a.safetensors")
    assert tensors["a"].tolist() == [1, 1] and note == ""


def test_equal_contents_give_equal_bytes_whatever_the_order_and_layout(tmp_path):
    wide = torch.randn(2, 3, 4, 4)
    for i in range(12):
        place = tmp_path / f"{i}.safetensors"
        tensors = {"b": torch.zeros(2), "a": wide.to(memory_format=torch.channels_last) if i % 2 else wide}
        save_tensors(place, dict(reversed(tensors.items())) if i % 3 else tensors, "note")
    assert len({p.read_bytes() for p in tmp_path.iterdir()}) == 1


def test_a_flipped_bit_anywhere_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, "the note")
    whole = path.read_bytes()
    for at in range(len(whole)):  # every byte: length, header, names, note, digest, padding, data
        for bit in (0, 5):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            try:
                _, note = load_tensors(path)
            except FileError as error:
                assert "\n" not in str(error)
            else:
                raise AssertionError(f"byte {at}, bit {bit} of {len(whole)}: {whole[max(0, at - 20) : at + 20]} was read, note {note!r}")


def test_a_flipped_bit_anywhere_in_a_model_folder_is_found(folder):
    """Half a hundred places in each file, header and data, and every byte of the configuration."""
    for name in ("model.safetensors", "config.json"):
        path = folder / name
        whole = path.read_bytes()
        places = range(len(whole)) if name == "config.json" else sorted({round(i * (len(whole) - 1) / 49) for i in range(50)})
        for at in places:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            try:
                load_model(folder)
            except InkwashError as error:
                assert "\n" not in str(error)
            else:
                assert json.loads(path.read_bytes()) == json.loads(whole), f"{name}: byte {at}"  # white space
        path.write_bytes(whole)
    load_model(folder)


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 100, -1, -40])
def test_a_cut_file_is_found(cut, tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FileError, match="not a safetensors file, or is damaged"):
        load_tensors(path)


def test_a_pickle_by_another_name_is_refused_and_not_run(tmp_path, folder):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    plain, zipped = tmp_path / "plain.safetensors", tmp_path / "zipped.safetensors"
    plain.write_bytes(pickle.dumps(Trap()))
    torch.save({"a": torch.ones(2)}, zipped)
    for path in (plain, zipped):
        with pytest.raises(FileError, match="pickled weights are never read"):
            load_tensors(path)
        path.rename(folder / "model.safetensors")
        with pytest.raises(FileError, match="pickled weights are never read"):
            load_model(folder)
    assert not (tmp_path / "sprung").exists()


def test_what_is_not_a_model_folder_is_one_sentence(tmp_path, folder):
    with pytest.raises(FileError, match=r"is not a model folder: it has no config\.json"):
        load_model(tmp_path)
    config, weights = folder / "config.json", folder / "model.safetensors"
    whole = config.read_text()
    for text in ("", "{", "[]", "3", "{}", "null"):
        config.write_text(text)
        with pytest.raises(FileError, match=r"config\.json"):
            load_model(folder)
    config.write_text(whole.replace('"latent": 2', '"latent": 3'))
    with pytest.raises(FileError, match="differs from the configuration in"):
        load_model(folder)
    config.write_text(whole)
    weights.unlink()
    with pytest.raises(FileError, match="There is no file"):
        load_model(folder)


def test_weights_that_do_not_fit_name_the_first(tmp_path):
    model = CONFIG.build()
    state = model.state_dict()
    first = min(state)
    for change, words in [
        (lambda s: s.pop(first), f"the file lacks '{first}'"),
        (lambda s: s.update(zzz=torch.ones(1)), "the model has no 'zzz'"),
        (lambda s: s.update({first: torch.ones(7)}), f"'{first}' is (7,) in the file"),
    ]:
        other = dict(state)
        change(other)
        save_model(tmp_path / "m", CONFIG, other)
        with pytest.raises(FileError) as caught:
            load_model(tmp_path / "m")
        assert words in str(caught.value)


def test_a_model_folder_is_replaced_whole(folder):
    save_model(folder, CONFIG, CONFIG.build().state_dict(), "new", {"extra.txt": "x"})
    save_model(folder, CONFIG, CONFIG.build().state_dict(), "newer")
    assert set(contents(folder)) == {"config.json", "model.safetensors", "README.md"}, "what is no longer written is gone"
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("broken", [1, 2])
def test_a_rename_that_fails_keeps_the_old_folder(broken, folder, monkeypatch):
    before, calls, rename = contents(folder), [], os.replace

    def failing(a, b):
        if str(b).endswith((".old", "model")):
            calls.append(b)
            if len(calls) == broken:
                raise OSError(5, "Input/output error")
        rename(a, b)

    monkeypatch.setattr(disk.os, "replace", failing)
    with pytest.raises(FileError, match="Input/output error; what was there before is kept"):
        save_model(folder, CONFIG, CONFIG.build().state_dict())
    assert contents(folder) == before and [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_reader_finds_what_a_kill_between_two_renames_left(folder):
    old = folder.with_name(".model.old")
    folder.rename(old)
    assert standing(folder) == old
    assert load_model(folder).config == CONFIG
    assert old.exists() and not folder.exists(), "a reader changes nothing"


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")

    def failing(a, b):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "replace", failing)
        with pytest.raises(FileError, match=r"Cannot write .*a\.txt: No space left on device; what was there before is kept"):
            write_bytes(path, b"new")
    assert contents(tmp_path) == {"a.txt": b"old"}
    with pytest.raises(FileError, match="Cannot write"):
        write_bytes(tmp_path / "no" / "folder.txt", b"x")
    with pytest.raises(FileError, match="Cannot write"):
        replace_folder(tmp_path / "a.txt" / "x", lambda place: None)


def test_json_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        read_json(tmp_path / "none.json")
    for data in (b"{", b"\xff\xfe", b""):
        (tmp_path / "a.json").write_bytes(data)
        with pytest.raises(FileError, match="is damaged"):
            read_json(tmp_path / "a.json")
