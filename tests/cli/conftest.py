"""The command line called in this process, and ten pictures with a run of every recipe on them."""

import sys

import pytest

from inkwash.cli import main as main_module
from tiny import BEGUN, DRAWING, QUICK, write_folder


@pytest.fixture
def cli(monkeypatch, capfd):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def call(*args) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inkwash", *map(str, args)])
        capfd.readouterr()
        code = 0
        try:
            main_module.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def refused(cli):
    """The sentence with which a command is refused."""

    def call(*args) -> str:
        code, out, err = cli(*args)
        assert code == 2, (code, out, err)
        assert "Traceback" not in err and out == ""
        last = err.rstrip("\n").split("\n")[-1]
        assert last.startswith("inkwash: ") and last.endswith((".", "?")), err
        assert all(line.startswith("Skipped: ") for line in err.rstrip("\n").split("\n")[:-1]), err
        return last

    return call


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    """Ten PNG files in two classes."""
    return write_folder(tmp_path_factory.mktemp("data") / "ten", 10, (10, 8))


@pytest.fixture(scope="module")
def trained(ten, tmp_path_factory):
    """A run of every recipe that draws, and a student, on ten pictures."""
    from inkwash.recipes.start import configure
    from inkwash.training.run import train

    root = tmp_path_factory.mktemp("runs")
    settings = dict(text.split("=") for text in QUICK[1::2])
    for name in (*DRAWING, "distill"):
        start = root / BEGUN[name] if name in BEGUN else None
        train(configure(name, ten, steps=2, settings=settings, start=start), root / name, quiet=True)
    return root
