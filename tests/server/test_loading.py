"""A server while its models are being loaded."""

import socket
import threading
import time

from inkwash.server.keeper import Keeper
from inkwash.server.settings import ServerConfig
from live import PROMPT, Server, error_of


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def test_who_comes_early_is_told_and_pictures_wait_a_moment(models, tmp_path):
    port = free_port()
    running = Server(tmp_path, [models["reader"]], "--port", str(port), wait=False)
    running.url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                status, _, said = running.get("/healthz")
                break
            except OSError:  # it does not listen yet
                assert time.monotonic() < end and running.process.poll() is None
                time.sleep(0.01)
        assert (status, said["status"]) == (503, "loading")
        assert error_of(running.get("/v1/models"), 503)["code"] == "loading" and running.get("/")[0] == 200
        assert running.post("/v1/images/generations", {"prompt": PROMPT})[0] == 200
        assert running.get("/healthz")[2]["status"] == "ok"
    finally:
        running.stop()


def test_models_that_cannot_be_loaded_end_the_server(tmp_path):
    running = Server(tmp_path, [tmp_path / "none"], wait=False)
    assert running.process.wait(60) == 2
    said = (tmp_path / "log.txt").read_text()
    assert "none does not exist" in said and "The models cannot be loaded" in said and "serving at" not in said


def test_a_worker_that_is_replaced_is_loading_again(tmp_path, monkeypatch):
    class Process:
        def __init__(self):
            self.gone, self.stdin, lines = threading.Event(), open("/dev/null", "wb"), threading.Event()  # noqa: SIM115
            self.tell = lines.set
            self.stdout = (line for line in [b"ready\n"] if lines.wait(10))

        def poll(self):
            return 1 if self.gone.is_set() else None

        def wait(self):
            self.gone.wait(10)
            return 1

    began: list[Process] = []
    monkeypatch.setattr("inkwash.server.keeper._start", lambda *_: began.append(Process()) or began[-1])
    monkeypatch.setattr("inkwash.server.keeper.PAUSE", (0.01,))
    keeper = Keeper(ServerConfig(models=("m",), folder=tmp_path))

    def until(state: str, count: int) -> None:
        end = time.monotonic() + 10
        while not (len(began) == count and keeper.state() == state):
            assert time.monotonic() < end, (keeper.state(), len(began))
            time.sleep(0.005)

    assert keeper.state() == "worker is gone"
    keeper.start()
    for count in (1, 2):
        until("loading", count)
        began[-1].tell()
        until("ok", count)
        if count == 1:
            began[-1].gone.set()
    began[-1].gone.set()
    keeper.stop()
