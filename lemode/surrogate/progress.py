"""How far a fit is: a bar on a terminal or in a notebook, plain lines in a file, and what its callbacks are told."""

from __future__ import annotations

import sys
import time
from typing import Any

from .callbacks import Ended, tell

__all__ = ["Progress"]

# between two lines; a bar would leave its control characters in a file
SECONDS = 10.0


class Progress:
    r"""Told of every step and of every validation, it says what it can where it is.

    Parameters
    ----------
    total, done : steps, and those of an earlier run
    verbose : 0 is quiet
    unit : what a step is

    Examples
    --------
    >>> import contextlib, io
    >>> with contextlib.redirect_stderr(io.StringIO()) as file:
    ...     progress = Progress(total=2, done=0, verbose=1)
    ...     progress.step()
    ...     progress.step()
    ...     progress.validated(0.25, 0.2)
    ...     progress.close()
    >>> file.getvalue()
    'fit: 2 steps, validation 2.50e-01, best 2.00e-01\n'
    """

    def __init__(self, total: int, done: int, verbose: int, unit: str = "step") -> None:
        self.unit, self.done, self.said, self.text, self.last = unit, done, -1, "", time.perf_counter()
        self.bar: Any = None
        self.quiet = not verbose
        if verbose and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            from tqdm.auto import tqdm

            self.bar = tqdm(total=total, initial=done, unit=unit, desc="fit", mininterval=0.5)

    def step(self, **facts: Any) -> None:
        """One more; `Ended` if a callback says so."""
        self.done += 1
        if self.bar is not None:
            self.bar.update()
        if self.unit == "step":
            tell("on_step", step=self.done, **facts)

    def validated(self, error: float, best: float, **facts: Any) -> None:
        """What the validation found; `Ended` if a callback says so, of gradient steps."""
        self.text = f"validation {error:.2e}, best {best:.2e}"
        if self.bar is not None:
            self.bar.set_postfix_str(self.text, refresh=False)
        elif time.perf_counter() - self.last > SECONDS:
            self._say()
        if self.unit == "step":
            tell("on_validation", step=self.done, validation=error, best=best, **facts)
            return
        try:
            tell("on_validation", stage="readout", draw=self.done, validation=error, best=best, **facts)
        except Ended as e:
            if e.error is not None:  # a readout takes seconds, and without its end there is nothing to keep
                raise

    def close(self) -> None:
        """The last word."""
        if self.bar is not None:
            self.bar.close()
        elif self.text and self.said < self.done:
            self._say()

    def _say(self) -> None:
        if not self.quiet:
            print(f"fit: {self.done:,} {self.unit}s, {self.text}", file=sys.stderr, flush=True)
        self.said, self.last = self.done, time.perf_counter()
