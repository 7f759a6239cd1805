"""``lemode audit``, ``lemode report`` and ``lemode systems``: what there is to say of a saved model, and of the systems of the library."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..report import audit_surrogate, read_series, write_report
from ..surrogate import Surrogate
from ..systems import describe

__all__ = ["add"]


def add(commands: Any) -> None:
    """The three commands.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add(parser.add_subparsers())
    >>> parser.parse_args(["systems", "lorenz63"]).name
    'lorenz63'
    """
    command = commands.add_parser(
        "audit", help="every bound of the theory beside its measured value, for a saved surrogate",
        description="Evaluate every statement that applies to a saved surrogate and print measured values beside bounds. "
        "Exit status 1 if one does not hold.",
    )  # fmt: skip
    command.add_argument("model", type=Path, help="a file written by Surrogate.save")
    command.add_argument(
        "--data",
        type=Path,
        help="series to audit on: .npy (n, T, D) or (T, D), .npz with 'x', or .csv, whose header names the columns",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON as well")
    command.add_argument("--plot", type=Path, metavar="FILE", help="write a plot of the gradient flow through the last layer")
    command.set_defaults(run=_audit)
    page = commands.add_parser(
        "report", help="one self-contained HTML page about a saved surrogate",
        description="Write training history, free run, time scales, audit and stability certificate of a saved surrogate to one HTML "
        "page with its plots inside. Data come from a file or from a system of the library; without any, what needs data is left out.",
    )  # fmt: skip
    page.add_argument("model", type=Path, help="a file written by Surrogate.save")
    source = page.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, help="series to test on, as for audit")
    source.add_argument(
        "--system", metavar="NAME", help="a system of lemode.systems, e.g. FitzHughNagumo, that makes the series"
    )
    page.add_argument("--out", type=Path, metavar="FILE", help="the page; model.html beside the model by default")
    page.set_defaults(run=_report)
    listing = commands.add_parser(
        "systems", help="the dynamical systems of the library, or one of them with its reference facts"
    )
    listing.add_argument("name", nargs="?", help="a system, e.g. lorenz63")
    listing.set_defaults(run=_systems)


def _systems(options: argparse.Namespace) -> int:
    print(describe(options.name))
    return 0


def _audit(options: argparse.Namespace) -> int:
    model = Surrogate.load(options.model)
    x, u = (None, None) if options.data is None else read_series(options.data, model.names_, model.input_names_, model.table_)
    report = audit_surrogate(model, x, u)
    print(report)
    if options.json is not None:
        options.json.write_text(json.dumps(report.to_dict(), indent=1))
    if options.plot is not None:
        report.plot().figure.savefig(options.plot, dpi=150)
    if report.holds is False:
        broken = [row.statement for row in report.rows if row.holds is False]
        print(
            f"lemode audit: of {len(report.rows)} statements {len(broken)} do not hold: {', '.join(broken)}.", file=sys.stderr
        )
    return int(report.holds is False)


def _report(options: argparse.Namespace) -> int:
    out = options.out or options.model.with_suffix(".html")
    write_report(Surrogate.load(options.model), out, data=options.data, system=options.system, title=options.model.name)
    print(f"Written: {out}")
    return 0
