"""Writes one reference page a module: its docstring, and every name in its ``__all__`` under its shortest public path."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import GenericAlias

import rooms

import lemode


@cache
def public_modules() -> list[str]:
    """Every module without an underscore in its path, by name."""
    found = ["lemode"]
    for info in pkgutil.walk_packages(lemode.__path__, "lemode."):
        parts = info.name.split(".")
        # built libraries that ctypes loads are no modules of Python
        if not any(p.startswith("_") for p in parts) and info.name != "lemode.kernels.lemode_core":
            module = importlib.import_module(info.name)
            if hasattr(module, "__all__"):
                found.append(info.name)
    return sorted(found)


def public_path(module: str, name: str) -> str:
    """The shortest public path of a module's name: ``lemode.LEM``, not ``lemode.lem.LEM``."""
    thing = getattr(importlib.import_module(module), name)
    parts = module.split(".")
    for k in range(1, len(parts)):
        parent = importlib.import_module(".".join(parts[:k]))
        if name in getattr(parent, "__all__", ()) and getattr(parent, name) is thing:
            return f"{parent.__name__}.{name}"
    return f"{module}.{name}"


def _directive(path: str) -> str:
    module, name = path.rsplit(".", 1)
    thing = getattr(importlib.import_module(module), name)
    if inspect.ismodule(thing):
        return ""
    if inspect.isclass(thing):
        # fit, predict and the like are their base's
        estimators = ("lemode.Surrogate", "lemode.FieldSurrogate", "lemode.LEMClassifier", "lemode.LEMRegressor")
        inherited = "   :inherited-members:\n" if path in estimators else ""
        return f".. autoclass:: {path}\n   :members:\n{inherited}"
    if inspect.isfunction(thing) or inspect.isbuiltin(thing):
        return f".. autofunction:: {path}\n"
    if isinstance(thing, GenericAlias):  # which autodoc takes for a callable
        return f".. py:data:: {path}\n\n   {_said_below(module, name)}\n"
    return f".. autodata:: {path}\n"


def _said_below(module: str, name: str) -> str:
    """The string below an assignment."""
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    for node, after in pairwise(body):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == name and isinstance(after, ast.Expr):
            return str(ast.literal_eval(after.value))
    raise ValueError(f"{module}.{name} has no docstring below it")


def pages() -> dict[str, str]:
    """The text of every page by the name of its module."""
    modules = public_modules()
    home: dict[str, str] = {}  # which page documents a path: the deepest module that lists it
    for module in sorted(modules, key=lambda m: (-m.count("."), m)):
        for name in importlib.import_module(module).__all__:
            home.setdefault(public_path(module, name), module)
    texts = {}
    for module in modules:
        lines = [f"{module}\n{'=' * len(module)}\n", f".. automodule:: {module}\n   :no-members:\n"]
        names = importlib.import_module(module).__all__
        own, listed = [], []
        for name in names:
            path = public_path(module, name)
            (own if home[path] == module else listed).append(path)
        elsewhere = [p for p in listed if not inspect.ismodule(_get(p))]
        if elsewhere:
            lines.append("**Names of this module:** " + ", ".join(f":py:obj:`~{p}`" for p in elsewhere) + ".\n")
        if module == "lemode":
            lines.append("The modules are reached as attributes: ``lemode.analysis``, ``lemode.systems`` and so on.\n")
        lines += [_directive(path) for path in own]
        children = [m for m in modules if m.rsplit(".", 1)[0] == module and m != module]
        if module != "lemode" and children:
            lines.append("Modules\n-------\n\n.. toctree::\n   :maxdepth: 1\n\n" + "".join(f"   {m}\n" for m in children))
        texts[module] = "\n".join(lines)
    return texts


def _get(path: str) -> object:
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def index(modules: list[str]) -> str:
    """The front page of the reference: every module with one line, by rooms."""
    lines = [
        "API reference\n=============\n\nOne page a module, every public name. In signatures ``d`` is the hidden size, ``m`` the number of "
        "input features,\n``L`` or ``T`` a length in time, ``N`` or ``n`` a number of series, ``D`` the dimension of a system.\n"
    ]
    shown = rooms.by_room()
    for title in ("The package and its commands", *(t for t in shown if t != "The package and its commands")):
        listed = {m: sentence for m, sentence in shown[title].items() if m in modules}
        if listed:
            lines.append(f"{title}\n{'-' * len(title)}\n\n.. list-table::\n   :widths: 35 65\n")
            lines += [f"   * - :doc:`{m}`\n     - {sentence}" for m, sentence in listed.items()]
            lines.append("")
    top = [m for m in modules if m.count(".") <= 1 or m.rsplit(".", 1)[0] not in modules]
    lines.append(".. toctree::\n   :hidden:\n\n" + "".join(f"   {m}\n" for m in top))
    return "\n".join(lines)


def write_api_pages(folder: Path) -> None:
    """Write the pages and their index; files that did not change are left alone."""
    folder.mkdir(exist_ok=True)
    texts = pages()
    texts["index"] = index(list(texts))
    for name, text in texts.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in folder.glob("*.rst"):
        if path.stem not in texts:
            path.unlink()
