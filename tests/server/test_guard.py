"""Who gets in."""

import socket

import pytest
from starlette.testclient import TestClient

from inkwash.core.errors import ConfigError, FileError
from inkwash.server.app import make_app
from inkwash.server.settings import ServerConfig, read_key
from live import PROMPT, Server, error_of

KEY = "a-key-of-many-characters"


@pytest.fixture(scope="module")
def locked(models, tmp_path_factory):
    """A server with a key, that takes small bodies and refuses sizes."""
    more = ("--limit", "body=20000", "--limit", "queue=3", "--sizes", "refuse", "--allow-host", "ink.example")
    running = Server(tmp_path_factory.mktemp("locked"), [models["reader"]], *more, key=KEY)
    yield running
    running.stop()


def test_a_key_is_needed_for_all_but_pictures(locked):
    assert locked.get("/v1/models")[0] == 200 and locked.get("/metrics")[0] == 200
    for headers in (
        {"Authorization": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
    ):
        error = error_of(locked.get("/v1/models", headers=headers), 401)
        assert error["code"] == "invalid_api_key" and KEY not in error["message"]
    assert error_of(locked.get("/metrics", headers={"Authorization": ""}), 401)
    assert '"401"' in locked.get("/metrics")[2].decode(), "what the guard refuses counts too"
    url = locked.post("/v1/images/generations", {"prompt": PROMPT})[2]["data"][0]["url"]
    assert locked.get(url, headers={"Authorization": ""})[0] == 200  # its name is the key
    assert locked.get("/healthz", headers={"Authorization": ""})[0] == 200
    assert KEY not in (locked.folder / "log.txt").read_text()
    assert not [p for p in (locked.folder / "data").glob("*.json") if KEY in p.read_text()]


def test_the_server_is_called_by_its_name(locked):
    assert locked.get("/v1/models", headers={"Host": "ink.example"})[0] == 200
    assert error_of(locked.get("/v1/models", headers={"Host": "evil.example"}), 403)["code"] == "bad_host"
    assert error_of(locked.get("/v1/models", headers={"Host": "127.0.0.1.evil.example:80"}), 403)["code"] == "bad_host"


def test_a_server_is_called_by_its_addresses_of_ipv6_in_brackets(tmp_path):
    config = ServerConfig(models=("m",), folder=tmp_path, host="2001:db8::5", hosts=("fe80::5", "[fe80::6]"))
    client = TestClient(make_app(config, KEY, lambda: "ok"))
    for name in ("[2001:db8::5]:8000", "[fe80::5]", "[FE80::6]:80", "[::1]:1", "127.0.0.1:8000"):
        assert client.get("/healthz", headers={"Host": name}).status_code == 200, name
    for name in ("2001:db8::5", "[fe80::7]", "[fe80::5].evil.example"):
        assert client.get("/healthz", headers={"Host": name}).status_code == 403, name


def test_other_sites_get_nothing_from_a_server_without_a_key(server):
    ask = {"prompt": PROMPT}
    assert error_of(server.post("/v1/images/generations", ask, headers={"Origin": "https://evil.example"}), 403)["code"] == "bad_origin"
    assert server.post("/v1/images/generations", ask, headers={"Origin": server.url})[0] == 200
    assert error_of(server.get("/v1/models", headers={"Host": "evil.example"}), 403)["code"] == "bad_host"  # a name turned to this address


def test_large_bodies_are_refused_however_they_come(locked):
    assert error_of(locked.post("/v1/images/generations", raw=b"x" * 30_000), 413)["code"] == "request_too_large"
    host, port = locked.url.removeprefix("http://").split(":")
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            wire.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        wire.sendall(b"0\r\n\r\n")
        assert b"413" in wire.recv(4096)
    with socket.create_connection((host, int(port)), timeout=20) as wire:
        wire.sendall(head.encode() + b"Content-Length: 99999999999\r\n\r\n")
        assert b"413" in wire.recv(4096)


def test_a_size_may_be_refused(locked):
    error = error_of(locked.post("/v1/images/generations", {"prompt": PROMPT, "size": "1024x1024"}), 400)
    assert error["message"] == "The size 1024x1024 is not possible; this model makes 8x8." and error["code"] == "invalid_size"


def test_a_full_queue_says_when_to_come_back(locked):
    slow = {"prompt": PROMPT, "steps": 200, "n": 10}
    answers = [locked.post("/v1/images/generations", {**slow, "seed": i}, headers={"Prefer": "respond-async"}) for i in range(12)]
    full = [a for a in answers if a[0] == 429]
    assert full and {a[0] for a in answers} <= {202, 429}
    assert (
        error_of(full[0], 429)["code"] == "queue_full"
        and int(full[0][1]["retry-after"]) >= 1
        and full[0][2]["error"]["type"] == "rate_limit_error"
    )
    for status, _, job in answers:
        if status == 202:
            locked.post(f"/v1/jobs/{job['id']}/cancel")


def test_a_folder_has_one_server(locked, models, tmp_path):
    twin = Server(tmp_path, [models["reader"]], "--folder", str(locked.folder / "data"), wait=False)
    assert twin.process.wait(60) == 2 and "Another server works in" in (tmp_path / "log.txt").read_text()


def test_keys(tmp_path):
    def config(host):
        return ServerConfig(models=("m",), folder=tmp_path, host=host)

    (tmp_path / "key").write_text(f"{KEY}\n")
    assert read_key(str(tmp_path / "key"), "another-key-of-the-environment", config("0.0.0.0")) == KEY
    assert read_key(None, None, config("127.0.0.1")) is None and read_key(None, KEY, config("127.0.0.1")) == KEY
    with pytest.raises(ConfigError, match="can be reached by others: give it a key"):
        read_key(None, None, config("0.0.0.0"))
    for bad in ("short", "with spaces in it, long", "", "long-enough-but-ümlaut"):
        (tmp_path / "key").write_text(bad)
        with pytest.raises(ConfigError, match="at least 16 printable"):
            read_key(str(tmp_path / "key"), None, config("::1"))
    with pytest.raises(FileError, match="cannot be read"):
        read_key(str(tmp_path / "none"), None, config("::1"))
