"""Small models, a server of them, and the page in a browser."""

import pytest

from inkwash.core.files import load_model, save_model
from inkwash.training import train
from live import Server
from tiny import run_config, stir_, write_npz


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Runs by name: one that reads, one of two classes, one that draws without being told anything, a captioner, one that enlarges."""
    root = tmp_path_factory.mktemp("models")
    data, plain = write_npz(root / "a.npz"), write_npz(root / "b.npz", classes=0)
    kinds = {"reader": ("text", data), "classy": ("diffusion", data), "free": ("diffusion", plain), "writer": ("captioner", data)}
    places = {}
    for name, (kind, source) in kinds.items():
        places[name] = train(run_config(kind, source, steps=1), root / name, quiet=True)
        model = load_model(places[name] / "model")
        stir_(model, 0.1)
        save_model(places[name] / "model", model.config, model.state_dict(), "moved")
    return places


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    """All four models, no key."""
    running = Server(tmp_path_factory.mktemp("served"), models.values())
    yield running
    running.stop()


@pytest.fixture(scope="session")
def chrome(tmp_path_factory):
    from chrome import Chrome  # which skips a test where selenium is missing

    running = Chrome(tmp_path_factory.mktemp("profile"))
    yield running
    running.driver.quit()


@pytest.fixture
def page(chrome, server):
    """The page, fresh; afterwards it has asked nobody but the server, and has no errors on its console."""
    chrome.driver.get(server.url + "/healthz")
    chrome.js("localStorage.clear(); sessionStorage.clear()")
    chrome.asked(), chrome.errors()
    chrome.open(server.url)
    yield chrome
    assert not chrome.errors()
    asked = {url for url in chrome.asked() if not url.startswith(("data:", "blob:"))}
    assert asked and all(url.startswith(server.url) for url in asked), asked
