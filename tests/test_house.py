"""The house rules: imports go down, files and functions stay short, what is public says what it is, no file is run."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from inkwash.core.config import MODELS, OBJECTIVES
from inkwash.recipes import RECIPES

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "inkwash").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
CODE = {p: ast.parse(p.read_text(encoding="utf-8")) for p in SOURCES}
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def at(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


def test_files_are_short():
    lines = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert len(lines) > 50
    assert not {name: n for name, n in lines.items() if n > LONGEST_FILE}


def test_functions_are_short():
    functions = [(at(p, node), length(node)) for p, tree in CODE.items() for node in ast.walk(tree) if isinstance(node, FUNCTION)]
    assert len(functions) > 300
    assert not [f for f in functions if f[1] > LONGEST_FUNCTION]


def test_what_is_public_has_a_docstring():
    """Every module; every public class, and every public function at module level, of more than three lines."""
    missing = [str(p.relative_to(ROOT)) for p, tree in CODE.items() if tree.body and not ast.get_docstring(tree)]
    for path, tree in CODE.items():
        inside_cli = "cli" in path.parts  # a verb's help page is its docstring in main.py
        for node in tree.body:
            known = isinstance(node, (*FUNCTION, ast.ClassDef)) and not node.name.startswith("_")
            if known and length(node) > 3 and not ast.get_docstring(node) and not (inside_cli and node.name in ("run", "start")):
                missing.append(at(path, node))
    assert not missing


def test_a_docstring_says_what_is_raised_where_a_public_function_raises():
    """For module-level functions outside the command line: a raise of the family's is a part of what it does."""
    silent = []
    for path, tree in CODE.items():
        for node in tree.body:
            if not isinstance(node, FUNCTION) or node.name.startswith("_") or "cli" in path.parts:
                continue
            calls = [r.exc.func for r in ast.walk(node) if isinstance(r, ast.Raise) and isinstance(r.exc, ast.Call)]
            raised = {ast.unparse(c) for c in calls}
            raised &= {"ConfigError", "DataError", "FileError", "TrainingError"}
            if raised and "aise" not in (ast.get_docstring(node) or ""):
                silent.append(f"{at(path, node)}: {sorted(raised)}")
    assert not silent


def imported(tree: ast.AST) -> set[str]:
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def test_one_file_imports_accelerate():
    users = [p.name for p, tree in CODE.items() if any(n.split(".")[0] == "accelerate" for n in imported(tree))]
    assert users == ["engine.py"]


def test_nothing_runs_what_a_file_holds():
    """torch.load only with weights_only=True; no torch.save, unpickling, numpy pickles, eval or exec."""
    wrong = []
    for path, tree in CODE.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if (
                (name == "torch.load" and options.get("weights_only") != "True")
                or name in ("torch.save", "eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler")
                or options.get("allow_pickle", "False") != "False"
            ):
                wrong.append(f"{path.name}:{node.lineno} {name}")
    assert not wrong


def test_no_exception_is_swallowed():
    """No bare except, and none whose body is only pass."""
    wrong = []
    for path, tree in CODE.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or ast.unparse(node.type) == "BaseException"
                empty = all(isinstance(s, ast.Pass) for s in node.body)
                line = path.read_text(encoding="utf-8").splitlines()[node.lineno - 1]
                if broad or (empty and "#" not in line):
                    wrong.append(f"{path.name}:{node.lineno}")
    assert not wrong


def test_methods_never_import_methods_and_the_contract_knows_them_all():
    methods = {p.stem for p in SOURCES if p.parent.name == "methods" and p.stem != "__init__"}
    for path, tree in CODE.items():
        if path.parent.name == "methods":
            assert not {n for n in imported(tree) if n.startswith("inkwash.methods")}, path
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (independent,) = [c["modules"] for c in contracts if c["type"] == "independence"]
    assert {m.rpartition(".")[2] for m in independent} == methods
    used = {place.partition(":")[0] for place in (*MODELS.values(), *OBJECTIVES.values())}
    assert used == {f"inkwash.methods.{m}" for m in methods}, "a method is a file and a line of the catalog"
    files = {p.stem for p in SOURCES if p.parent.name == "recipes"} - {"__init__", "start"}
    assert files == {place.partition(":")[0].rpartition(".")[2] for place in RECIPES.values()}


def test_every_room_is_on_a_floor():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (floors,) = [c["layers"] for c in contracts if c["name"] == "imports go down only"]
    rooms = {room.strip() for floor in floors for room in floor.replace("|", ":").split(":")}
    packages = {f"inkwash.{p.name}" for p in (ROOT / "src" / "inkwash").iterdir() if (p / "__init__.py").is_file()}
    assert rooms == packages


def test_imports_go_down():
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


def test_ruff_is_content():
    pytest.importorskip("ruff")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "src", "tests", "tools", "benchmarks"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:]


def test_tests_are_short_too():
    assert not {str(p.relative_to(ROOT)): n for p in TESTS if (n := len(p.read_text(encoding="utf-8").splitlines())) > 540}
