"""What every test shares: one thread, files in memory, one place to find the package from a child process."""

import gc
import os
import shutil
import sys
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1] / "src"), os.environ.get("PYTHONPATH", "")]))

MEMORY = Path("/dev/shm")  # a file made and removed costs milliseconds on a disk, and the tests make tens of thousands
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

import pytest  # noqa: E402 (after the variables that torch reads once)
import torch  # noqa: E402

torch.set_num_threads(1)


def pytest_collection_finish():
    """What has been imported stays: a collection need not walk through all of torch every time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Labelled pictures in two splits, as a file; a module that wants others has a fixture of this name."""
    from tiny import write_npz  # not before the variables above

    return write_npz(tmp_path_factory.mktemp("data") / "two.npz")


@pytest.fixture(autouse=True)
def _same_start():
    """Tests that draw from the global generator see the same values in any order."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_strangers_left(tmp_path_factory):
    """A person's own file is imported by its name; the next test may have another file of that name."""
    before, root = set(sys.modules), str(tmp_path_factory.getbasetemp())
    yield
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(root):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    """A sync takes 5 to 50 ms, and only a power cut could tell."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
