"""A server in a process of its own, and a way to ask it. What it is asked with, and how it is told."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image

PROMPT = "a picture number 3"  # that the tiny model has learnt


class Server:
    """`inkwash serve` in a process of its own."""

    def __init__(self, folder: Path, names, *more: str, key: str | None = None, wait: bool = True):
        self.folder, self.key = folder, key
        folder.mkdir(parents=True, exist_ok=True)
        self.log = open(folder / "log.txt", "ab")  # noqa: SIM115 (it stays open as long as the process runs)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"} | ({"INKWASH_API_KEY": key} if key else {})
        command = [sys.executable, "-m", "inkwash", "serve", *map(str, names), "--folder", str(folder / "data"), "--port", "0", *more]
        self.begun = self.log.tell()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment)
        if wait:
            self.url = self._address()

    def _address(self, seconds: float = 120) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            said = (self.folder / "log.txt").read_bytes()[self.begun :].decode()
            if "serving at " in said:
                return said.rpartition("serving at ")[2].split()[0]
            assert self.process.poll() is None, said
            time.sleep(0.05)
        raise AssertionError(f"No server after {seconds} s.")

    def ask(self, method: str, path: str, body=None, headers=None, raw: bytes | None = None):
        """(status, headers, body): the body as JSON where it is."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {}), **(headers or {})}
        request = urllib.request.Request(path if path.startswith("http") else self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, got, content = answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            status, got, content = error.code, dict(error.headers), error.read()
        return status, got, json.loads(content) if "json" in got.get("Content-Type", got.get("content-type", "")) else content

    def get(self, path: str, **more):
        return self.ask("GET", path, **more)

    def post(self, path: str, body=None, **more):
        return self.ask("POST", path, body, **more)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.log.close()


def png(size=(8, 8), mode="RGB", colour=(200, 30, 30)) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return out.getvalue()


def url_of(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def form_of(fields: dict, files: list[tuple[str, bytes]]) -> tuple[bytes, dict]:
    """A multipart body by hand, and its header."""
    parts = [f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
    for name, data in files:
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join([*parts, b"--b--\r\n"]), {"Content-Type": "multipart/form-data; boundary=b"}


def error_of(answer, status: int) -> dict:
    code, _, body = answer
    assert code == status, body
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]
