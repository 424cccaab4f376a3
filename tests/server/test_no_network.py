"""Nothing phones home: a guard in every Python process notes each address that is looked up or connected to."""

import os
import subprocess
import sys

import pytest

from live import PROMPT, Server, png, url_of

GUARD = """
import os, socket
_connect, _find = socket.socket.connect, socket.getaddrinfo
HERE = ("127.0.0.1", "::1", "localhost", None, "")

def note(address):
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(address, tuple) and host not in HERE:
        with open(os.environ["CALLED"], "a") as file:
            file.write(f"{address}\\n")
        raise OSError("there is no network")

def connect(self, address):
    note(address)
    return _connect(self, address)

def find(host, *more, **rest):
    note((host, 0))
    return _find(host, *more, **rest)

socket.socket.connect, socket.getaddrinfo = connect, find
with open(os.environ["CALLED"], "a") as file:
    pass
"""


@pytest.fixture
def called(tmp_path, monkeypatch):
    """The file of addresses that processes started from here wanted."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "guard"), os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("CALLED", str(tmp_path / "called"))
    return tmp_path / "called"


def test_the_guard_sees_what_it_should(called):
    code = "import socket\ntry:\n    socket.create_connection(('example.org', 80))\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "example.org" in called.read_text()


def test_neither_server_nor_command_asks_anybody(called, models, tmp_path):
    server = Server(tmp_path, [models["reader"], models["writer"]])
    try:
        assert server.post("/v1/images/generations", {"prompt": PROMPT})[0] == 200
        assert server.post("/v1/images/captions", {"image": url_of(png())})[0] == 200
        for path in ("/", "/v1/models", "/metrics", "/v1/openapi.json"):
            server.get(path)
    finally:
        server.stop()
    draw = [sys.executable, "-m", "inkwash", "draw", PROMPT, "--model", str(models["reader"]), "--out", str(tmp_path / "a.png")]
    subprocess.run(draw, check=True, capture_output=True)
    assert called.read_text() == "" and (tmp_path / "a.png").is_file()
