"""``lemode fit``: from a table to a saved model. Every hyper-parameter in Python is an option."""

from __future__ import annotations

import argparse
import inspect
import re
import warnings
from pathlib import Path
from typing import Any

from ..surrogate import FieldSurrogate, Surrogate
from ..surrogate.processes import Processes
from ..surrogate.run import Stopped
from ..surrogate.storage import check_writable
from . import tables

__all__ = ["add", "hyper_parameters", "literal"]

# the shell has its own: --quiet, and a fit of a new process has nothing to go on from but a checkpoint
NOT_ASKED = ("verbose", "warm_start")


def add(commands: Any) -> None:
    """The command.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add(parser.add_subparsers())
    >>> options = parser.parse_args("fit data.csv -o model.lem --observe v w --season 12 --budget 60".split())
    >>> options.observe, options.season, options.budget
    (['v', 'w'], [12], 60)
    """
    command = commands.add_parser(
        "fit", help="learn from a table", allow_abbrev=False,
        description="Fit a surrogate to the columns of a table and save it. Empty cells are missing, rows may be missing or uneven in "
        "time. Without --validation a fifth of the data is held out, which decides between models. Over several processes: "
        "torchrun --nproc-per-node 2 -m lemode fit ...",
    )  # fmt: skip
    command.add_argument(
        "data",
        type=Path,
        nargs="+",
        help="CSV files, whose first line names the columns, each a trajectory; - reads the standard input",
    )
    command.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the model, such as model.lem")
    tables.add_reading(command)
    command.add_argument("--validation", type=Path, metavar="FILE", help="a table that chooses the best weights")
    command.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="written as the fit goes on; if it is there, the fit goes on from it"
    )
    command.add_argument(
        "--checkpoint-every", type=float, metavar="SECONDS", help="write it so often as well, and not at validations only"
    )
    command.add_argument(
        "--field", action="store_true", help="the columns are a field on a periodic grid: fit a FieldSurrogate"
    )
    command.add_argument("--json", action="store_true", help="say what was done as JSON")
    command.add_argument("-q", "--quiet", action="store_true", help="no progress")
    group = command.add_argument_group("hyper-parameters", "of lemode.Surrogate, and with --field of lemode.FieldSurrogate")
    for name, parameter in hyper_parameters().items():
        group.add_argument(f"--{name.replace('_', '-')}", dest=name, default=argparse.SUPPRESS, **parameter)
    command.set_defaults(run=_run)


def hyper_parameters() -> dict[str, dict[str, Any]]:
    """What argparse is told of each hyper-parameter of a surrogate, by its name: from signatures and docstrings.

    Examples
    --------
    >>> found = hyper_parameters()
    >>> found["train"]["choices"], found["continuous"]["action"].__name__, found["observe"]["nargs"]
    (['auto', 'all', 'readout', 'both'], 'BooleanOptionalAction', '+')
    """
    found: dict[str, dict[str, Any]] = {}
    for cls in (Surrogate, FieldSurrogate):
        said = _said(cls.__doc__ or "")
        for name, parameter in inspect.signature(cls).parameters.items():
            if name in found or name in NOT_ASKED:
                continue
            kind, text = said.get(name, ("", ""))
            option: dict[str, Any] = {"help": text.replace("%", "%%") or argparse.SUPPRESS}
            choices = re.fullmatch(r"\{([^}]*)\}(, optional)?", kind)
            if "bool" in parameter.annotation:
                option["action"] = argparse.BooleanOptionalAction
            elif "dict" in parameter.annotation:
                option |= {"nargs": "+", "metavar": "NAME=NUMBER", "type": _pair}
            elif "tuple" in parameter.annotation or parameter.annotation == "Any":
                option |= {"nargs": "+", "metavar": "VALUE", "type": literal}
            elif choices:
                option["choices"] = [word.strip(" '") for word in choices[1].split(",")]
            else:
                option |= {"metavar": "VALUE", "type": literal}
            found[name] = option
    return found


def _said(doc: str) -> dict[str, tuple[str, str]]:
    """Of each parameter in a docstring its type and the first sentence about it."""
    found = {}
    parameters = inspect.cleandoc(doc).partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    for names, kind, text in re.findall(r"^(\w[\w, ]*?)(?: : (.*))?\n((?: +.*(?:\n|$))+)", parameters, re.M):
        sentence = re.split(r"(?<=[.:;])\s", " ".join(text.split()))[0].rstrip(".:;")
        for name in names.split(", "):
            found[name] = (kind, re.sub(r":\w+:", "", sentence).replace("`", ""))
    return found


def literal(text: str) -> Any:
    """An integer, a number, None, or the text.

    Examples
    --------
    >>> literal("3"), literal("1e-3"), literal("none"), literal("quick")
    (3, 0.001, None, 'quick')
    """
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None if text.lower() == "none" else text


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.rpartition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=NUMBER")
    return name, literal(value)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The hyper-parameters that were given, as Python takes them."""
    found = {}
    for name, option in hyper_parameters().items():
        if not hasattr(options, name):
            continue
        value = getattr(options, name)
        if option.get("type") is _pair:
            value = dict(value)
        elif isinstance(value, list):
            value = tuple(map(str, value)) if name in ("observe", "inputs", "angles") else tuple(value)
            value = value[0] if name in ("input_noise", "symmetry") and len(value) == 1 else value
        found[name] = value
    return found


def _run(options: argparse.Namespace) -> int:
    with Processes() as group:
        return _fit(options, first=group.rank == 0, several=group.size > 1)


def _fit(options: argparse.Namespace, first: bool, several: bool) -> int:
    """Of several processes the first one alone writes, and says what all of them know."""
    if several and Path("-") in options.data:
        raise ValueError("the standard input is one process's alone: name a file, which all processes of torchrun read.")
    if not first:
        warnings.simplefilter("ignore", UserWarning)
    check_writable(options.out)  # before the fit, which may take an hour
    given = _given(options)
    model = (FieldSurrogate if options.field else Surrogate)(verbose=0 if options.quiet or not first else 1).set_params(**given)
    names = (*given["observe"], *given.get("inputs", ())) if "observe" in given else None
    data = [tables.read(path, options, names) for path in options.data]
    validation = None if options.validation is None else tables.read(options.validation, options, names)
    every = {} if options.checkpoint_every is None else {"checkpoint_every": options.checkpoint_every}
    model.fit(data[0] if len(data) == 1 else data, validation=validation, checkpoint=options.checkpoint, **every)
    history = model.history_
    if not first:
        return 130 if history.stopped == Stopped.INTERRUPTED else 0
    model.save(options.out)
    facts = {
        "model": options.out,
        "class": type(model).__name__,
        "names": model.names_,
        "inputs": model.input_names_,
        "interval": model.step_,
        "clock": model.table_.clock,
        "warmup": model.warmup_,
        "parameters": sum(p.numel() for p in model.network_.parameters()),
        "steps": len(history.loss),
        "seconds": history.seconds,
        "stopped": str(history.stopped),
        "kept": history.kept,
        "chosen": history.chosen,
        "validation": history.validation[-1][1] if history.validation else None,
    }
    print(tables.as_json(facts) if options.json else _in_words(facts), end="")
    return 130 if history.stopped == Stopped.INTERRUPTED else 0


def _in_words(facts: dict[str, Any]) -> str:
    names = facts["names"] if len(facts["names"]) <= 8 else (*facts["names"][:3], "...", facts["names"][-1])
    known = f", from these and {', '.join(facts['inputs'])}" if facts["inputs"] else ""
    lines = [
        f"{facts['class']} of {', '.join(names)}{known}, every {facts['interval']:g} {facts['clock']}".rstrip(),
        f"  {facts['steps']:,} steps in {facts['seconds']:.0f} s: {facts['stopped']}",
        *([f"  kept the {facts['kept']}"] if facts["kept"] else []),
        f"  a forecast needs {facts['warmup']} rows of history",
        f"Written: {facts['model']}",
    ]
    return "\n".join(lines) + "\n"
