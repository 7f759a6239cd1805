"""``lemode export``: a saved model as C, or as ONNX, that runs without Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..surrogate import Surrogate

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add(parser.add_subparsers())
    >>> parser.parse_args("export model.lem --c out".split()).c
    PosixPath('out')
    """
    command = commands.add_parser(
        "export", help="a saved model as C or ONNX", allow_abbrev=False,
        description="Write a saved model as plain C99, with an example that forecasts a CSV file, or as ONNX, a step and a forecast.",
    )  # fmt: skip
    command.add_argument("model", type=Path, help="a file written by lemode fit or Surrogate.save")
    command.add_argument("--c", type=Path, metavar="FOLDER", help="write C: a header, a source, and main.c")
    command.add_argument("--onnx", type=Path, metavar="FOLDER", help="write ONNX: step.onnx and forecast.onnx")
    command.add_argument("--name", help="what the files and functions in C are called; as the model by default")
    command.set_defaults(run=_run, parser=command)


def _run(options: argparse.Namespace) -> int:
    from .. import export

    if options.c is None and options.onnx is None:
        options.parser.error("give --c FOLDER, --onnx FOLDER, or both")
    model = Surrogate.load(options.model)
    written = []
    if options.c is not None:
        written += export.c(model, options.c, options.name or options.model.stem)
    if options.onnx is not None:
        written += export.onnx(model, options.onnx)
    for path in written:
        print(f"Written: {path}")
    return 0
