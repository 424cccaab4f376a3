"""Captions made of short names (tools/emoji_captions.py)."""

import csv
import io
import runpy
import sys
import zipfile
from pathlib import Path

import pytest

from inkwash.data import open_source
from tiny import pictures

TOOL = Path(__file__).parents[2] / "tools" / "emoji_captions.py"


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(TOOL), run_name="tool")


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("red heart", "a red heart"),
        ("man running tone3", "a man running, medium skin tone"),
        ("flag argentina", "the argentina flag"),
        ("eleven thirty", "clock showing 11:30"),
        ("family, man, girl, boy", "family of man, girl and boy"),
        ("regional indicator g", "blue letter g"),
        ("oncoming automobile", "oncoming car"),
        ("person, dark skin tone, red hair", "a person, red hair, dark skin tone"),
    ],
)
def test_a_name_is_said_in_other_words_too(tool, name, wanted):
    said = tool["english"](name)
    assert wanted in said and len(said) == len(set(said)) >= 3


def test_chinese_where_all_of_it_is_known(tool):
    chinese = tool["chinese"]
    assert chinese("red heart") == ["红色的心"] and chinese("cat") == ["猫", "猫的表情"] and chinese("balloon tone1")[0] == "气球"
    assert chinese("flag argentina") == chinese("red flag argentina") == chinese("red") == []


def test_of_variants_in_skin_tone_a_few_are_kept_and_go_together(tool):
    tones = ("light", "medium-light", "medium", "medium-dark", "dark")
    names = [f"{core}{tone}" for core in ("artist", "people, woman, man") for tone in ("", *(f", {t} skin tone" for t in tones))]
    kept = tool["thinned"]([*names, "cat", "hand tone1", "hand tone2", "hand tone3"], 2)
    assert {"artist", "people, woman, man", "cat"} <= kept and len(kept) == 3 + 3 + 1 + 2
    assert len({tool["split"](name) for name in names if name.startswith("artist")}) == 1
    assert "an artist, dark skin tone" in tool["english"]("artist, dark skin tone")
    assert tool["bare"]("handshake, light skin tone, medium-dark skin tone") == "handshake"


def test_the_zip_has_all_pictures_and_splits_by_name_without_tone(tool, tmp_path, monkeypatch, capsys):
    from PIL import Image

    names = [f"{thing} tone{k}" for thing in ("hand", "nose", "ear", "baby", "automobile", "man pouting") for k in range(1, 4)]
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        table = io.StringIO()
        csv.writer(table).writerows([["file_name", "text"], *([f"{i}.png", name] for i, name in enumerate(names))])
        old.writestr("metadata.csv", table.getvalue())
        for i, x in enumerate(pictures(len(names))):
            data = io.BytesIO()
            Image.fromarray(x).save(data, "PNG")
            old.writestr(f"{i}.png", data.getvalue())
    monkeypatch.setattr(sys, "argv", ["tool", str(tmp_path / "old.zip"), str(tmp_path / "new.zip"), "--tones", "3"])
    tool["main"]()
    assert f"{len(names)} pictures" in capsys.readouterr().out
    parts = {split: open_source(str(tmp_path / "new.zip"), split) for split in ("train", "test")}
    assert sum(map(len, parts.values())) == len(names)
    tellers = {split: {source.text(i)[0].split(",")[0] for i in range(len(source))} for split, source in parts.items()}
    assert tellers["test"] and not tellers["train"] & tellers["test"]
