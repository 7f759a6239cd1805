"""The command ``lemode``: its parser, and the ways in which it ends."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from .._version import __version__
from . import completion, evaluate, export, fit, forecast, saved

__all__ = ["CANNOT", "INTERRUPTED", "build_parser", "main"]

# what a command returns to the shell; argparse itself ends with 2 for a command line that it does not understand
CANNOT, INTERRUPTED = 1, 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands.

    Examples
    --------
    >>> build_parser().parse_args(["forecast", "model.lem", "--steps", "5"]).steps
    5
    """
    parser = argparse.ArgumentParser(
        prog="lemode",
        description="Long Expressive Memory as the discretization of a multiscale ODE.",
        epilog="Exit status: 0 if all is well, 1 if it could not be done or an audited statement does not hold, 2 for a command line that "
        "is not understood, 130 after Ctrl-C. Results go to the standard output, all else to standard error.",
    )
    parser.add_argument("--version", action="version", version=f"lemode {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for module in (fit, forecast, evaluate, export, saved):
        module.add(commands)
    completion.add(commands, parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 for what could not be done, in one sentence on standard error, or 130 after Ctrl-C.

    SystemExit with 2 for a command line that is not understood, as of every argparse.

    Examples
    --------
    A model that is not there, which standard error says:

    >>> main(["audit", "nowhere.lem"])
    1
    """
    options = build_parser().parse_args(arguments)
    with warnings.catch_warnings():
        # what lemode warns of is for the user, whatever the filters; a line without the place in the code
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_, **__: _say(options.command, f"warning: {message}")
        try:
            return int(options.run(options))
        except KeyboardInterrupt:
            _say(options.command, "interrupted.")
            return INTERRUPTED
        except BrokenPipeError:  # of `lemode ... | head`: nobody reads on
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return CANNOT
        except (OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError) as e:
            _say(options.command, _sentence(e))
            return CANNOT


def _say(command: str, text: str) -> None:
    print(f"lemode {command}: {text}", file=sys.stderr, flush=True)


def _sentence(e: BaseException) -> str:
    """On one line; an error of the system as a sentence about its file."""
    if isinstance(e, OSError) and e.strerror and e.filename is not None:
        return f"{e.filename}: {e.strerror[:1].lower()}{e.strerror[1:]}."
    return " ".join(str(e).split()) or type(e).__name__
