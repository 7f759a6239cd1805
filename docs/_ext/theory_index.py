"""What the scripts in theory/ say of themselves: title, statements, the functions of lemode that compute them. Needs no Sphinx."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def scripts() -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """For every script: its title, its statements, and the names of lemode in its head."""
    found = {}
    for path in sorted((ROOT / "theory").glob("[a-z]*.py")):
        tree = ast.parse(path.read_text())
        head = ast.get_docstring(tree) or ""
        statements: tuple[str, ...] = ()
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "STATEMENTS":
                statements = tuple(ast.literal_eval(node.value))
        found[path.stem] = (head.strip().splitlines()[0], statements, _names(head))
    return found


def _names(head: str) -> tuple[str, ...]:
    """Names in the lines that begin with ``|``: full paths, and short names of the same module after one."""
    text, module, names = " ".join(line[1:] for line in head.splitlines() if line.startswith("|")), "", []
    for literal in re.findall(r"``([^`]+)``", text):
        name = literal.split("(")[0]
        if name.startswith("lemode."):
            module = name.rsplit(".", 1)[0]
            names.append(name)
        elif module and re.fullmatch(r"\w+", name):
            names.append(f"{module}.{name}")
    return tuple(names)
