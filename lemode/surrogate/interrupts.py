"""Ctrl-C and SIGTERM end a fit at the end of a step, and never in the middle of one."""

from __future__ import annotations

import math
import signal
import threading
import time
from types import FrameType
from typing import Any

__all__ = ["AGAIN", "Interrupted", "Interrupts", "again"]

# seconds after a signal that ended a fit, in which another one ends the loop around it
AGAIN = 2.0

_interrupted = -math.inf  # when a signal ended a fit


class Interrupted(KeyboardInterrupt):
    """A signal came, and the step in which it came is done.

    Examples
    --------
    >>> issubclass(Interrupted, KeyboardInterrupt)
    True
    """


class Interrupts:
    """Inside the block, SIGINT and SIGTERM wait until `check` is called; a second one within `AGAIN` seconds does not wait.

    Where a program has a handler of its own for one of them, or ignores it, that stays. Python gives signals to the main thread: in
    another one this does nothing. What was there before is there again after the block.

    Examples
    --------
    >>> import signal
    >>> before = signal.getsignal(signal.SIGTERM)
    >>> with Interrupts() as interrupts:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     try:
    ...         interrupts.check()
    ...     except KeyboardInterrupt as error:
    ...         print(error)
    SIGTERM
    >>> signal.getsignal(signal.SIGTERM) is before
    True
    """

    def __init__(self) -> None:
        self.came: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number, plain in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) == plain:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, before)

    def check(self) -> None:
        """`Interrupted`, if one has come."""
        if self.came is not None:
            raise Interrupted(self.came.name)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if again():
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
        self.came = signal.Signals(number)


def again() -> bool:
    """Whether the signal of now follows one that has ended a fit; it counts from now on as one that has.

    Examples
    --------
    >>> _ = again()
    >>> again()
    True
    """
    global _interrupted
    before, _interrupted = _interrupted, time.monotonic()
    return _interrupted - before < AGAIN
