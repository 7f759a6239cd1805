"""The arrows of docs/house.md: every module of lemode belongs to one room, and imports point down.

Read from the sources; nothing is imported. Counted: imports at the head of a module and inside its functions. Those under
``if TYPE_CHECKING`` never run, so they may point up; but a circle is one even if only types close it. Not seen: the names that
`lemode._renamed` looks up by text for one version more. A package is its ``__init__.py``: a submodule that is imported makes no
arrow from the package above it, although Python runs that file first.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "lemode"

TOOLS = {"lemode._checks", "lemode._renamed", "lemode._version", "lemode.errors", "lemode.threads", "lemode.types"}
# the rooms by the names of their modules
ROOMS = {
    "tools": TOOLS,
    "ode": {"lemode.ode"},
    "schemes": {"lemode.schemes"},
    "kernels": {"lemode.kernels"},
    "layers": {"lemode.lem", "lemode.conv", "lemode.sequence"},
    "continuous": {"lemode.continuous"},
    "trajectories": {"lemode.trajectories"},
    "systems": {"lemode.systems"},
    "metrics": {"lemode.metrics"},
    "plots": {"lemode.plots"},
    "analysis": {"lemode.analysis"},
    "weights": {"lemode.convert", "lemode.init"},
    "tasks": {"lemode.tasks"},
    "surrogate": {"lemode.surrogate"},
    "baselines": {"lemode.baselines"},
    "supervised": {"lemode.supervised"},
    "export": {"lemode.export"},
    "sktime": {"lemode.sktime"},
    "report": {"lemode.report"},
    "top": {"lemode"},
    "cli": {"lemode.cli", "lemode.__main__"},
}
MODEL = {"tools", "ode", "schemes", "kernels", "layers", "continuous"}
# what a room may stand on
BELOW = {
    "tools": set(),
    "ode": {"tools"},
    "schemes": {"tools", "ode"},
    "kernels": {"tools", "ode", "schemes"},
    "layers": {"tools", "ode", "schemes", "kernels"},
    "continuous": {"tools", "ode", "schemes", "kernels", "layers"},
    "trajectories": {"tools"},
    "systems": {"tools", "trajectories"},
    "metrics": {"tools"},
    "plots": {"tools", "metrics"},
    "analysis": MODEL,
    "weights": MODEL | {"analysis"},
    "tasks": {"tools"},
    "surrogate": MODEL | {"trajectories", "systems", "metrics"},
    "baselines": {"tools", "trajectories", "systems", "surrogate"},
    "supervised": MODEL | {"weights", "tasks", "surrogate"},
    "export": MODEL | {"surrogate"},
    "sktime": {"tools", "surrogate"},
    "report": set(ROOMS) - {"report", "export", "sktime", "cli", "top"},
    "top": set(ROOMS) - {"cli", "top"},
    "cli": set(ROOMS) - {"cli"},
}
# drawn on request: these may import plots inside a function, never at their heads
DRAW_LATE = {"analysis", "surrogate"}

# What is wrong, with the reason. The lists may only become shorter: an entry that is no longer needed fails, too.
KNOWN_ARROWS: dict[tuple[str, str], str] = {}
# imports without which there would be no circle: of those that run, and with those for types only
RUNNING_CIRCLES: dict[tuple[str, str], str] = {}
KNOWN_CIRCLES: dict[tuple[str, str], str] = {**RUNNING_CIRCLES}


def modules(source: Path = SOURCE) -> dict[str, Path]:
    """Every module by name."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: set[str]) -> set[tuple[str, str]]:
    """The modules of lemode that one names, and where: at its "head", "late" (in a function) or for "types" only."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()

    def visit(node: ast.AST, where: str) -> None:
        if isinstance(node, ast.Import):
            found.update((a.name, where) for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                target = f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base
                if target in known and target != name:
                    found.add((target, where))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, "types")
            for child in node.orelse:
                visit(child, where)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and where == "head":
            where = "late"
        for child in ast.iter_child_nodes(node):
            visit(child, where)

    visit(ast.parse(path.read_text()), "head")
    return found


def graph(source: Path = SOURCE, types: bool = False) -> dict[str, set[tuple[str, str]]]:
    """What each module imports when it runs; with `types` also what it names under TYPE_CHECKING."""
    found = modules(source)
    edges = {name: imports(name, path, set(found)) for name, path in found.items()}
    return {name: {(t, where) for t, where in targets if types or where != "types"} for name, targets in edges.items()}


def room(module: str) -> str:
    """The room of a module: that of the longest name it begins with."""
    parts = module.split(".")
    for k in range(len(parts), 0, -1):
        for name, members in ROOMS.items():
            if ".".join(parts[:k]) in members and (k > 1 or len(parts) == 1):
                return name
    raise AssertionError(f"{module} is in no room: add it to ROOMS, and to docs/house.md")


def wrong_arrows(edges: dict[str, set[tuple[str, str]]]) -> set[tuple[str, str]]:
    """Imports of a room that the importing one does not stand on."""
    found = set()
    for module, targets in edges.items():
        for target, where in targets:
            here, there = room(module), room(target)
            late = there == "plots" and here in DRAW_LATE and where == "late"
            if here != there and there not in BELOW[here] and not late:
                found.add((module, target))
    return found


def circles(edges: dict[str, set[tuple[str, str]]]) -> set[frozenset[str]]:
    """Sets of more than one module each of which reaches all others: strongly connected components."""
    reach = {m: {t for t, _ in targets} for m, targets in edges.items()}
    for middle in reach:  # Warshall's closure: a hundred modules
        for targets in reach.values():
            if middle in targets:
                targets |= reach[middle]
    return {frozenset(n for n in reach[m] if m in reach[n]) for m in reach if m in reach[m]}


@pytest.fixture(scope="module")
def edges():
    return graph()


def test_arrows_point_down(edges):
    found = wrong_arrows(edges)
    new, gone = found - set(KNOWN_ARROWS), set(KNOWN_ARROWS) - found
    assert not new, "these imports point up:\n" + "\n".join(f"  {a} imports {b}" for a, b in sorted(new))
    assert not gone, f"no longer there, delete them from KNOWN_ARROWS: {sorted(gone)}"


@pytest.mark.parametrize("types", [False, True], ids=["imports", "imports and types"])
def test_no_circles(types):
    edges, known = graph(types=types), set(KNOWN_CIRCLES if types else RUNNING_CIRCLES)
    left = circles({a: {(b, where) for b, where in targets if (a, b) not in known} for a, targets in edges.items()})
    assert not left, "these modules import each other:\n" + "\n".join(f"  {', '.join(sorted(c))}" for c in left)
    rings = circles(edges)
    gone = {(a, b) for a, b in known if b not in {t for t, _ in edges.get(a, ())} or not any({a, b} <= r for r in rings)}
    assert not gone, f"no longer part of a circle, delete them from the known ones: {sorted(gone)}"


def test_the_rooms_themselves_have_no_circle():
    assert circles({name: {(below, "head") for below in rooms} for name, rooms in BELOW.items()}) == set()


def test_what_the_script_sees(tmp_path):
    """On a package of five files: a late import, one for types only, a circle of two, an arrow upwards."""
    package = tmp_path / "lemode"
    package.mkdir()
    (package / "__init__.py").write_text("from .ode import x\n")
    (package / "ode.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .lem import y\n")
    (package / "schemes.py").write_text("def f():\n    from . import lem\n")
    (package / "lem.py").write_text("import lemode.schemes\nfrom .plots import line\n")
    (package / "plots.py").write_text("")
    found = graph(package)
    assert found["lemode"] == {("lemode.ode", "head")}
    assert found["lemode.ode"] == set()
    assert found["lemode.schemes"] == {("lemode.lem", "late")}
    assert circles(found) == {frozenset({"lemode.schemes", "lemode.lem"})}
    assert wrong_arrows(found) == {("lemode.schemes", "lemode.lem"), ("lemode.lem", "lemode.plots")}


# theorems by their numbers, what others expect of the package, models that older versions wrote: of no room
OF_NO_ROOM = {"properties", "contracts", "golden", "data"}
# of the package as a whole, and of what stands beside it
OF_ALL = {"architecture", "docs", "examples", "golden", "readme", "rooms", "theory"}


def astray(tests: Path, source: Path = SOURCE) -> set[str]:
    """Test files that are not where one looks: in the folder of the room that they test, by the name of the module if it is of one."""
    known = modules(source)
    packages = {path.parent.name for path in source.glob("*/__init__.py")}
    found = {p.name for p in tests.iterdir() if p.is_dir() and p.name not in packages | OF_NO_ROOM | {"__pycache__"}}
    for path in [*tests.glob("test_*.py"), *(p for room in packages for p in (tests / room).glob("**/test_*.py"))]:
        name, folder = path.stem.removeprefix("test_"), path.relative_to(tests).parent.as_posix()
        homes = {p.relative_to(source).parent.as_posix() for p in known.values() if p.stem == name}
        if folder == ".":
            right = "." in homes or name in OF_ALL
        else:
            used = {target for target, _ in imports("", path, set(known))}
            right = folder in homes if homes else any(m.split(".")[1:2] == [folder] for m in used)
        if not right:
            found.add(path.relative_to(tests).as_posix())
    return found


def test_tests_mirror_the_package():
    assert astray(TESTS) == set()


def test_a_test_that_is_astray_is_found(tmp_path):
    for room in ("analysis", "kernels", "solvers"):
        (tmp_path / room).mkdir()
    for file in (
        "test_jacobian.py",
        "analysis/test_jacobian.py",
        "kernels/test_jacobian.py",
        "kernels/test_lem.py",
        "test_lem.py",
    ):
        (tmp_path / file).write_text("")
    (tmp_path / "analysis" / "test_all_bounds.py").write_text("from lemode import analysis")
    (tmp_path / "kernels" / "test_all_bounds.py").write_text("from lemode.analysis import audit")
    assert astray(tmp_path) == {
        "solvers", "test_jacobian.py", "kernels/test_jacobian.py", "kernels/test_lem.py", "kernels/test_all_bounds.py"
    }  # fmt: skip
