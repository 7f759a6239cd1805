"""Every module of lemode with the first sentence of its docstring, by rooms. Read from the sources: needs no Sphinx, imports nothing."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "lemode"

# the rooms from the lowest to the leaves; a module belongs to the longest name that it begins with
ROOMS = {
    "Tools that stand on nothing": (
        "lemode.types",
        "lemode.errors",
        "lemode.threads",
        "lemode._checks",
        "lemode._renamed",
        "lemode._version",
    ),
    "The equation and its steps": ("lemode.ode", "lemode.schemes"),
    "How a sequence is run": ("lemode.kernels",),
    "Layers": ("lemode.lem", "lemode.conv", "lemode.sequence"),
    "The equation between samples": ("lemode.continuous",),
    "Analysis": ("lemode.analysis",),
    "Weights from elsewhere, and initial ones": ("lemode.convert", "lemode.init"),
    "Data and systems": ("lemode.trajectories", "lemode.systems"),
    "Surrogates": ("lemode.surrogate",),
    "What a surrogate is compared with": ("lemode.baselines",),
    "Sequences with a label or a number": ("lemode.supervised", "lemode.tasks"),
    "Models without Python": ("lemode.export",),
    "Forecasters of other libraries": ("lemode.sktime",),
    "Judging and showing": ("lemode.metrics", "lemode.plots", "lemode.report"),
    "The package and its commands": ("lemode", "lemode.cli", "lemode.__main__"),
}


@cache
def sentences() -> dict[str, str]:
    """The first sentence of every module's docstring, by the module's name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        paragraph = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
        found[name] = re.split(r"(?<=\.) (?=[A-Z`])", paragraph)[0]
    return found


def room(module: str) -> str:
    """The room of a module."""
    names = {name: title for title, members in ROOMS.items() for name in members}
    candidates = [n for n in names if module == n or (n != "lemode" and module.startswith(n + "."))]
    if not candidates:
        raise ValueError(f"{module} is in no room of docs/_ext/rooms.py")
    return names[max(candidates, key=len)]


def by_room() -> dict[str, dict[str, str]]:
    """The modules of each room, each with its sentence."""
    found: dict[str, dict[str, str]] = {title: {} for title in ROOMS}
    for module, sentence in sentences().items():
        found[room(module)][module] = sentence
    return found


def as_markdown(public: set[str]) -> str:
    """One table a room; modules with a page are linked to it."""
    parts = []
    for title, modules in by_room().items():
        parts.append(f"### {title}\n\n| module | |\n|---|---|")
        for module, sentence in modules.items():
            # a sentence is of docstrings, in reStructuredText: only its literals have another form here
            shown = f"{{py:obj}}`{module}`" if module in public else f"`{module}`"
            text = re.sub(r":\w+(?::\w+)?:`~?([^`]+)`", r"`\1`", sentence.replace("``", "`")).replace("|", r"\|")
            parts.append(f"| {shown} | {text} |")
        parts.append("")
    return "\n".join(parts)
