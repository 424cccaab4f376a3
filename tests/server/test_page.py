"""The page without a browser: what is served, behind which policy, and what its files may not hold."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from inkwash.server.app import make_app
from inkwash.server.routes.page import FILES, FOLDER
from inkwash.server.settings import ServerConfig

NAMESPACES = ("http://www.w3.org/2000/svg", "http://ns.adobe.com/xap/1.0/")  # names that are never fetched
KEY = "k" * 24
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    config = ServerConfig(models=("none",), folder=tmp_path_factory.mktemp("page"))
    return TestClient(make_app(config, KEY), base_url="http://127.0.0.1")


def test_the_page_is_served_without_a_key_behind_a_strict_policy(client):
    answer = client.get("/")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8" and "水墨" in answer.text
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data: blob:", "connect-src": "'self'",
        "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert answer.headers["x-content-type-options"] == "nosniff" and client.get("/v1/models").status_code == 401


def test_its_files_are_served_and_nothing_else(client):
    for name in set(FILES) - {"index.html"}:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200 and answer.text == TEXTS[name], name
        assert answer.headers["content-type"].split(";")[0] in ("text/javascript", "text/css", "image/svg+xml")
        assert "content-security-policy" in answer.headers
        again = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304 and not again.content
    for name in ("", "none.js", "index.html", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "//etc/passwd", "main.js%00"):
        assert client.get(f"/page/{name}").status_code in (401, 404), name  # 401: a path that the guard does not let through


def test_what_the_page_asks_for_is_there_and_ships():
    asked = re.findall(r'(?:src|href)="/page/([^"]+)"', TEXTS["index.html"])
    asked += [name for text in TEXTS.values() for name in re.findall(r'from "\./([\w.]+)"', text)]
    assert set(asked) == set(FILES) - {"index.html"}, "each file is used, and each that is used is there"
    package = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["inkwash"]
    assert "server/page/**" in package and {p.name for p in FOLDER.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_fetches_from_elsewhere_or_makes_markup_of_text(name):
    text = TEXTS[name]
    for known in NAMESPACES:
        text = text.replace(known, "")
    assert not re.findall(r"""(?:https?:|wss?:|["'(])//[\w.-]+""", text)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|@import|url\(", text)
    assert len(text.splitlines()) <= 400
    if name == "index.html":
        assert not re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", text)


def table(words: str, language: str) -> dict[str, str]:
    block = words[words.index(f"  {language}: {{") :]
    block = block[: block.index("\n  },")]
    return {key: json.loads(text) for key, text in re.findall(r'(\w+): ("(?:[^"\\]|\\.)*")', block)}


def test_both_languages_say_the_same_things():
    english, chinese = (table(TEXTS["words.js"], language) for language in ("en", "zh"))
    assert set(english) == set(chinese) and len(english) > 100 and all(english.values()) and all(chinese.values())
    for key in english:  # and put in the same values
        assert set(re.findall(r"\{\w+\}", english[key])) == set(re.findall(r"\{\w+\}", chinese[key])), key
    asked = set(re.findall(r'data-(?:t|name|hint)="(\w+)"', TEXTS["index.html"]))
    used = "".join(re.sub(r"//.*|/\*.*?\*/", "", text) for name, text in TEXTS.items() if name != "words.js")  # comments say nothing
    asked |= set(re.findall(r'(?:\bt|\bname|\bkey|"data-hint"): "(\w+)"', used)) | set(re.findall(r'\bsay\([^"]+, "(\w+)"', used))
    assert asked <= set(english)
    options = {"rho", "interval", "overshoot", "churn", "temperature", "beams", "top_k", "top_p", "truncation"}  # which models name
    assert not [key for key in set(english) - options if not re.search(rf"\b{key}\b|{key.removesuffix('Note')}", used)], "nobody says these"


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return sum(w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4) for w, c in zip((0.2126, 0.7152, 0.0722), parts))


def test_words_stand_out_in_both_themes():
    """WCAG 2.2, 1.4.3: 4.5 to 1; 1.4.11: 3 to 1 for the edges of controls."""
    values = dict(re.findall(r"--([\w-]+): ([^;]+);", TEXTS["style.css"]))
    for theme in (0, 1):
        colour = {k: (re.findall(r"#[0-9a-f]{6}", v) * 2)[theme] for k, v in values.items() if "#" in v}
        pairs = [(a, b, 4.5) for a in ("ink", "faint", "seal") for b in ("paper", "sheet", "wash")]
        for one, other, least in [*pairs, ("on-stamp", "stamp", 4.5), ("edge", "paper", 3.0), ("edge", "sheet", 3.0)]:
            dark, light = sorted(luminance(colour[name]) for name in (one, other))
            assert (light + 0.05) / (dark + 0.05) >= least, (theme, one, other)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_scripts_parse(tmp_path):
    for name in FILES:
        if name.endswith(".js"):
            module = tmp_path / name.replace(".js", ".mjs")
            module.write_text(TEXTS[name], encoding="utf-8")
            run = subprocess.run(["node", "--check", str(module)], capture_output=True, text=True, timeout=30)
            assert run.returncode == 0, run.stderr
