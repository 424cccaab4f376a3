"""The documentation says what is so: both languages alike, links that lead somewhere, commands that parse, examples that run."""

import ast
import functools
import importlib.util
import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
import typer

import inkwash
from inkwash.cli.main import app
from inkwash.core.config import MODELS, lookup
from inkwash.core.model import Sampler
from inkwash.data import Facts
from inkwash.inference.hub import PipelineOptions
from inkwash.recipes import RECIPES
from tiny import recipe_config, write_npz

ROOT = Path(__file__).parents[1]
ENGLISH = [ROOT / "README.md", *sorted((ROOT / "docs" / "en").glob("*.md"))]
PAIRS = [(p, ROOT / "README.zh.md" if p.parent == ROOT else ROOT / "docs" / "zh" / p.name) for p in ENGLISH]
PAGES = [*(p for pair in PAIRS for p in pair), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHARED = {  # kinds that have a place on another one's page
    "student": "diffusion", "codes": "vqvae", "latent": "autoencoder", "pixel-upscaler": "autoregressive", "dalle": "text",
    "text-lstm": "text", "eye": "text", "layout": "text",
}  # fmt: skip
SOURCE = "scenes?count=4"
FACTS = Facts(channels=1, height=28, width=28, classes=tuple("0123456789"), count=60000, captions=False)
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]
by_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)
by_pair = pytest.mark.parametrize("pair", PAIRS, ids=NAMES[: 2 * len(PAIRS) : 2])

spec = importlib.util.spec_from_file_location("fill_figures", ROOT / "tools" / "fill_figures.py")
fill_figures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fill_figures)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    return FENCE.sub("", read(page))


def blocks(page: Path, kind: str) -> list[str]:
    return [code for language, code in FENCE.findall(read(page)) if language == kind]


def uncommented(code: str) -> list[str]:
    """Lines of code without the comments, which are in the reader's language."""
    return [line for raw in code.splitlines() if (line := re.sub(r"(^|\s+)#.*", "", raw).rstrip())]


def headings(page: Path) -> list[tuple[int, str]]:
    return [(len(m[1]), m[2].strip()) for m in re.finditer(r"^(#+) (.*)$", prose(page), re.MULTILINE)]


def numbers(page: Path) -> set[str]:
    text = re.sub(r"\]\([^)]*\)|<!-- [^>]* -->|\(?[A-Z][\w ]+ (?:et al\. )?\d{4}", "", prose(page))
    return {n.replace(",", "") for n in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)}


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for _, text in headings(page)}


@by_pair
def test_both_languages_have_the_same_shape(pair):
    one, other = pair
    assert [level for level, _ in headings(one)] == [level for level, _ in headings(other)]
    for kind in ("sh", "python"):
        assert [uncommented(b) for b in blocks(one, kind)] == [uncommented(b) for b in blocks(other, kind)]
    marks = [[m.group(2, 3) for m in fill_figures.MARKER.finditer(read(p))] for p in pair]
    assert marks[0] == marks[1]
    tables = [re.findall(r"^\|.*\|$", prose(p), re.MULTILINE) for p in pair]
    assert [row.count("|") for row in tables[0]] == [row.count("|") for row in tables[1]]


@by_pair
def test_both_languages_have_the_same_numbers(pair):
    assert numbers(pair[0]) == numbers(pair[1])


def test_chinese_pages_are_chinese():
    for _, page in PAIRS:
        text = prose(page)
        assert len(re.findall(r"[\u4e00-\u9fff]", text)) > 0.15 * len(text), page


@by_page
def test_links_and_pictures_exist(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@by_page
def test_named_files_exist(page):
    for name in re.findall(r"`((?:src|tools|tests|benchmarks|docs)/[\w./-]+)`", prose(page)):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", fill_figures.pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_figures_are_those_of_the_json(page):
    figures = fill_figures.read()
    assert fill_figures.filled(page, figures) == read(page), "run python tools/fill_figures.py"
    text = read(page)
    assert len(re.findall(r"<!-- (?:fig|table|picture):", text)) == len(list(fill_figures.MARKER.finditer(text)))


def test_figures_say_how_they_were_measured():
    known = {f"{row}.{column}" for _, columns, rows in fill_figures.TABLES.values() for row in rows for column in columns}
    known |= {m[3] for page in fill_figures.pages() for m in fill_figures.MARKER.finditer(read(page)) if m[2] == "fig"}
    for key, figure in fill_figures.read().items():
        assert {"value", "unit", "what"} <= figure.keys() and figure["what"], key
        assert isinstance(figure["value"], (int, float)), key
    assert known  # every key that a page asks for has a well-formed name
    assert all(re.fullmatch(r"[\w-]+(\.[\w-]+)+", key) for key in known)


def test_filling_replaces_missing_and_formats(tmp_path, monkeypatch):
    monkeypatch.setattr(fill_figures, "ROOT", tmp_path)
    page = tmp_path / "README.zh.md"
    text = "a <!-- fig:a.b -->old<!-- /fig --> <!-- fig:c.d --><!-- /fig -->\n<!-- table:order -->x<!-- /table -->"
    page.write_text(text, encoding="utf-8")
    text = fill_figures.filled(page, {"a.b": {"value": 0.123456, "unit": "%"}, "solvers.heun.order": {"value": 1.97}})
    assert "-->0.1235%<!--" in text and "-->尚未测量<!--" in text
    assert "| `heun` | 1.97 |" in text and "ddim" not in text and "x" not in text.split("table:order")[1].split("/table")[0]
    assert "not measured yet" in fill_figures.table("order", {}, "en")


# The command line


COMMANDS = typer.main.get_command(app).commands


def lines_of(page: Path) -> list[str]:
    """Command lines of Inkwash in blocks of sh, from `inkwash` on; `python -m` and launchers before it are cut."""
    found = []
    for line in (line for block in blocks(page, "sh") for line in uncommented(block)):
        if match := re.search(r"(?:^|-m |\s)inkwash (.*)$", line):
            found.append(match[1])
    return found


@by_page
def test_command_lines_parse(page):
    for line in lines_of(page):
        verb, *arguments = shlex.split(line)
        assert verb in COMMANDS, line
        try:
            context = COMMANDS[verb].make_context(verb, list(arguments))
        except Exception as error:  # whatever the parser raises, the line is what matters
            pytest.fail(f"inkwash {line}: {error}")
        if verb == "train" and context.params["recipe"] in RECIPES:
            config = recipe_of(context.params["recipe"])
            config.override(dict(pair.split("=", 1) for pair in context.params["setting"] or []))
        for pair in context.params.get("option") or []:
            assert pair.split("=")[0] in sampling_options(), line


@by_page
def test_inline_commands_exist(page):
    for line in re.findall(r"`inkwash ([^`]+)`", prose(page)):
        verb, *arguments = line.split()
        assert verb in COMMANDS, line
        options = {o for p in COMMANDS[verb].params for o in p.opts} | {"--help"}
        assert {a for a in arguments if re.match(r"--?[a-z]", a)} <= options, line


@functools.cache
def recipe_of(name: str):
    return recipe_config(name, SOURCE, FACTS)


@functools.cache
def settings_of(name: str) -> dict:
    return recipe_of(name).model_dump()


@functools.cache
def sampling_options() -> set[str]:
    """Every -o key of the methods in the package."""
    built = [recipe_of(name).model.build() for name in RECIPES]
    return {key for model in built if isinstance(model, Sampler) for key in model.Options.model_fields} | set(PipelineOptions.model_fields)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_verb_has_its_place_in_the_index(language):
    text = prose(ROOT / "docs" / language / "index.md")
    for verb in COMMANDS:
        assert f"`inkwash {verb}`" in text
    assert "--help" in text


def test_every_method_has_a_page():
    for kind in MODELS:
        assert lookup(kind, MODELS)
        page = SHARED.get(kind, kind)
        for language, readme in (("en", "README.md"), ("zh", "README.zh.md")):
            assert f"docs/{language}/{page}.md" in read(ROOT / readme)


def defaults(page: Path) -> list[tuple[str, str]]:
    """Rows of tables whose first cell is a setting and whose second is a number: (setting, number)."""
    return re.findall(r"^\| `((?:model|objective|train|data)\.[\w.]+)` \| (-?[\d.]+)[ |,]", prose(page), re.MULTILINE)


@pytest.mark.parametrize("page", ["vae", "gan", "diffusion", "training"])
def test_defaults_in_tables_are_those_of_the_recipes(page):
    config = recipe_config("diffusion" if page == "training" else page, SOURCE, FACTS).model_dump()
    rows = defaults(ROOT / "docs" / "en" / f"{page}.md")
    assert rows
    for setting, number in rows:
        value = config
        for key in setting.split("."):
            value = value[key]
        assert value == float(number), setting


@by_page
def test_settings_that_are_named_exist(page):
    configs = [settings_of(name) for name in RECIPES]
    for setting in set(re.findall(r"`((?:model|objective|train|data)\.[a-z_.]+)`", prose(page))):
        if setting.startswith("model.") and setting.split(".")[1] in ("classes", "model"):
            continue  # of a loaded model, not a setting
        assert any(has(config, setting.split(".")) for config in configs), setting


def has(values: dict, path: list[str]) -> bool:
    return path[0] in values and (len(path) == 1 or (isinstance(values[path[0]], dict) and has(values[path[0]], path[1:])))


# The examples


PYTHON = [(page, code) for page in ENGLISH for code in blocks(page, "python")]
FILES = {m[1]: code for _, code in PYTHON if (m := re.match(r"# (\w+)\.py\n", code))}
SNIPPETS = [code for _, code in PYTHON if not re.match(r"# \w+\.py\n", code) and "inkwash.train(" not in code]


def test_there_are_examples():
    assert {"mine", "fixed", "early"} <= FILES.keys() and len(SNIPPETS) >= 4


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_in_the_pages_train_and_sample(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / f"{name}.py"
    file.write_text(FILES[name], encoding="utf-8")
    small = {"train.batch": 4, "train.precision": "fp32", "train.samples": 0, "train.device": "cpu", "model.net.width": 8}
    source = write_npz(tmp_path / "two.npz")
    run = inkwash.train(f"{file}:recipe", data=source, out=tmp_path / "run", steps=3, settings=small, quiet=True)
    inkwash.train(out=run, resume=True, steps=4, quiet=True)
    images = inkwash.load(run, device="cpu", precision="fp32").sample(n=2, seed=1)
    assert images.shape == (2, 3, 8, 8) and images.abs().max() <= 1
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["step"] == 4 and f"{name}:" in json.dumps(record["config"])


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_run(code, capsys):
    exec(compile(code, "snippet", "exec"), {})
    if "BatchNorm" in code:  # the page says that company changes the one and not the other
        batch, group = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
        assert batch > 1e-3 and group < 1e-5
    if "torch.linspace(1e-4, 0.02, 1000)" in code:  # the values in its comments
        printed = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
        told = [float(n) for c in re.findall(r"#(.*)", code) for n in re.findall(r"0\.\d+", c)]
        assert printed == pytest.approx(told, rel=0.05)


def test_calls_of_the_public_functions_fit_them():
    functions = {"train": inkwash.train, "load": inkwash.load}
    calls = 0
    for _, code in PYTHON:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "inkwash":
                keywords = dict.fromkeys(k.arg for k in node.keywords)
                inspect.signature(functions[node.func.attr]).bind(*node.args, **keywords)
                calls += 1
    assert calls >= 5
