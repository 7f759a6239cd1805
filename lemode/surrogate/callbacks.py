"""What a fit tells of itself while it goes on: one protocol, and as its examples a log, TensorBoard, and a plot in a notebook."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import secrets
import time
import traceback
import warnings
from contextvars import ContextVar
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import storage
from .errors import FitWarning

if TYPE_CHECKING:
    from .run import History

__all__ = ["Callback", "Ended", "JSONLog", "Listeners", "LivePlot", "TensorBoard", "tell"]

METHODS = ("on_step", "on_validation", "on_end")


class Callback:
    """Told of a fit, ``fit(..., callbacks=[...])``; a subclass overrides what it wants to hear of. Each report is a dict of plain values.

    What returns True after a step or a validation ends the gradient steps: the best weights so far are kept. So they are where one raises
    an exception, which a FitWarning then shows; before there are any, it is raised.

    Examples
    --------
    Stop where the validation error is small enough:

    >>> class Enough(Callback):
    ...     def on_validation(self, report):
    ...         return report["validation"] < 0.5
    >>> wave = np.sin(np.linspace(0, 60, 601))[:, None]
    >>> model = lemode.Surrogate(hidden_size=4, steps=2000, window=60, verbose=0, train="all").fit(wave, callbacks=[Enough()])
    >>> print(model.history_.stopped, len(model.history_.loss) < 2000)
    ended by a callback True
    """

    def on_step(self, report: dict[str, Any]) -> Any:
        """A gradient step: ``stage``, ``step`` from 1 on, ``loss``, ``lr``, ``seconds``."""

    def on_validation(self, report: dict[str, Any]) -> Any:
        """A look at the validation series: ``stage``, ``step``, ``validation``, ``best``, ``seconds``; of a readout ``draw``, no step."""

    def on_end(self, report: dict[str, Any]) -> Any:
        """The end: ``stopped``, ``steps``, ``best_step``, ``validation``, ``seconds``, ``phases``; or ``error``, and there is no model."""


class Ended(Exception):
    """A callback has ended the fit, by returning True or by an error.

    Examples
    --------
    >>> Ended(Callback(), ValueError("no")).error
    ValueError('no')
    """

    def __init__(self, callback: object, error: Exception | None = None) -> None:
        super().__init__(f"the callback {type(callback).__name__}")
        self.error = error

    def story(self) -> str:
        """What was raised, with its traceback."""
        return "" if self.error is None else f"{self} raised\n\n{''.join(traceback.format_exception(self.error))}"


# a variable of the context, so that fits in several threads are told apart
_listening: ContextVar[tuple[Any, ...]] = ContextVar("_listening", default=())


def tell(method: str, **report: Any) -> None:
    """Call a method of all that listen; `Ended` when all of them have heard it, if one has ended the fit.

    Examples
    --------
    >>> class Loud(Callback):
    ...     def on_step(self, report):
    ...         print(report)
    >>> with Listeners([Loud()]):
    ...     tell("on_step", step=3)
    {'step': 3}
    """
    ended: Ended | None = None
    for callback in _listening.get():
        try:
            if getattr(callback, method)(dict(report)) is True and ended is None:
                ended = Ended(callback)
        except Exception as e:
            ended = Ended(callback, e)
    if ended is not None:
        raise ended


class Listeners:
    """Who is told of what happens in the block, and of its end: the `history` that was put there, or the error.

    Raises
    ------
    ValueError
        For what has not the methods of a `Callback`.

    Examples
    --------
    >>> try:
    ...     Listeners([print])
    ... except ValueError as error:
    ...     print(str(error).split(", as")[0])
    callbacks[0] is a builtin_function_or_method: give objects with on_step, on_validation and on_end
    """

    def __init__(self, callbacks: Any) -> None:
        self.callbacks = () if callbacks is None else tuple(callbacks) if isinstance(callbacks, (list, tuple)) else (callbacks,)
        for i, callback in enumerate(self.callbacks):
            if isinstance(callback, type) or not all(callable(getattr(callback, method, None)) for method in METHODS):
                name = f"the class {callback.__name__}" if isinstance(callback, type) else f"a {type(callback).__name__}"
                raise ValueError(
                    f"callbacks[{i}] is {name}: give objects with on_step, on_validation and on_end, as those of lemode.surrogate.Callback."
                )
        self.history: History | None = None

    def __enter__(self) -> Listeners:
        self._token = _listening.set(self.callbacks)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if isinstance(error, Ended) and error.error is not None:
            error = error.error
        try:
            self._end(error)
        finally:
            _listening.reset(self._token)
        if error is not None and kind is Ended:
            raise error

    def _end(self, error: BaseException | None) -> None:
        h = self.history
        report: dict[str, Any]
        if error is not None:
            report = {"error": f"{type(error).__name__}: {error}"}
        elif h is None:
            report = {}
        else:
            report = {
                "stopped": str(h.stopped), "steps": len(h.loss), "best_step": h.best_step,
                "validation": dict(h.validation).get(h.best_step, math.nan), "seconds": h.seconds, "phases": h.phases,
            }  # fmt: skip
        try:
            tell("on_end", **report)
        except Ended as e:
            if e.error is not None:
                warnings.warn(f"at the end of the fit {e.story()}", FitWarning, stacklevel=5)


class JSONLog(Callback):
    """A line of JSON for every validation and for the end of a fit, appended to a file; NaN and infinities are null.

    Each line has the ``time`` in UTC, the ``event``, 'step', 'validation' or 'end', and a number of the ``fit`` beside what was reported.
    Lines of several fits, also of other processes, do not mix. Where the file cannot be written any more, a FitWarning says so and the fit
    goes on.

    Parameters
    ----------
    path : of the file; its folder has to be there
    steps : a line for every gradient step, too

    Raises
    ------
    OSError
        For a file that could not be written.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> path, wave = Path(tempfile.mkdtemp()) / "fit.jsonl", np.sin(np.linspace(0, 60, 601))[:, None]
    >>> model = lemode.Surrogate(hidden_size=2, steps=60, window=60, verbose=0, train="all").fit(wave, callbacks=[JSONLog(path)])
    >>> [(line["event"], line.get("step"), line.get("stopped")) for line in map(json.loads, path.read_text().splitlines())]
    [('validation', 50, None), ('validation', 60, None), ('end', None, 'all steps done')]
    """

    def __init__(self, path: str | os.PathLike[str], steps: bool = False) -> None:
        self.path, self.steps = storage.check_writable(path), steps
        self.fit, self.failed = secrets.token_hex(4), False

    def on_step(self, report: dict[str, Any]) -> None:
        """If asked for."""
        if self.steps:
            self._append("step", report)

    def on_validation(self, report: dict[str, Any]) -> None:
        """A line."""
        self._append("validation", report)

    def on_end(self, report: dict[str, Any]) -> None:
        """The last line of this fit."""
        self._append("end", report)
        self.fit, self.failed = secrets.token_hex(4), False

    def _append(self, event: str, report: dict[str, Any]) -> None:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "fit": self.fit, "event": event, **_finite(report)}, allow_nan=False)
        if self.failed:
            return
        try:
            append_line(self.path, line)
        except OSError as e:
            self.failed = True
            warnings.warn(
                f"{self.path}: the log cannot be written ({e.strerror}); the fit goes on without it.", FitWarning, stacklevel=5
            )


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Append a line in one piece, or nothing of it: behind what a power cut left of another one, it is a line of its own."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        # while another one writes, the file ends in the middle of its line
        with contextlib.suppress(ImportError, OSError):  # Windows, and file systems without locks
            fcntl: Any = import_module("fcntl")
            fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        torn = size > 0 and os.lseek(handle, size - 1, os.SEEK_SET) >= 0 and os.read(handle, 1) != b"\n"
        content = f"{chr(10) if torn else ''}{line}\n".encode()
        written = os.write(handle, content)
        if written < len(content):  # the disk is full
            if os.fstat(handle).st_size == size + written:
                os.ftruncate(handle, size)
            raise OSError(28, "No space left on device")
    finally:
        os.close(handle)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


class TensorBoard(Callback):
    """Loss, learning rate and validation error for TensorBoard, by torch's own writer; wants ``pip install tensorboard``.

    Parameters
    ----------
    folder : of the run; a new one below ``runs`` by default

    Raises
    ------
    ImportError
        Without TensorBoard.

    Examples
    --------
    ``model.fit(x, callbacks=[lemode.surrogate.TensorBoard("runs/first")])``, and then ``tensorboard --logdir runs`` in the shell.

    >>> issubclass(TensorBoard, Callback)
    True
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as e:
            raise ImportError("TensorBoard is not installed: `pip install tensorboard`, or log with JSONLog.") from e
        self.writer = SummaryWriter(None if folder is None else os.fspath(folder))

    def on_step(self, report: dict[str, Any]) -> None:
        """Two points."""
        for name in ("loss", "lr"):
            self.writer.add_scalar(name, report[name], report["step"])

    def on_validation(self, report: dict[str, Any]) -> None:
        """A point; those of the draws of a readout are a curve of their own."""
        name, at = ("validation", report["step"]) if "step" in report else ("readout", report["draw"])
        self.writer.add_scalar(name, report["validation"], at)

    def on_end(self, report: dict[str, Any]) -> None:
        """Written out."""
        self.writer.close()


class LivePlot(Callback):
    """`lemode.plots.training_history` in a notebook, drawn anew while the fit goes on.

    Parameters
    ----------
    seconds : between two pictures

    Raises
    ------
    ImportError
        Without IPython, which a notebook has.

    Examples
    --------
    ``model.fit(x, callbacks=[lemode.surrogate.LivePlot()])`` in a notebook.

    >>> issubclass(LivePlot, Callback)
    True
    """

    def __init__(self, seconds: float = 2.0) -> None:
        try:
            from IPython.display import display
        except ImportError as e:
            raise ImportError("LivePlot is for notebooks: `pip install ipython`, or log with JSONLog.") from e
        self.seconds, self._display = seconds, display
        self._begin()

    def _begin(self) -> None:
        self.loss: list[float] = []
        self.validation: list[tuple[int, float]] = []
        self.best_step, self._drawn = 0, -math.inf
        self._picture: Any = None

    def on_step(self, report: dict[str, Any]) -> None:
        """A point of the loss; of what an earlier run has done there are none."""
        self.loss += [math.nan] * (report["step"] - 1 - len(self.loss)) + [report["loss"]]

    def on_validation(self, report: dict[str, Any]) -> None:
        """A point, and a picture if it is time for one."""
        if "step" not in report:
            return
        self.validation.append((report["step"], report["validation"]))
        self.best_step = min(self.validation, key=lambda at: at[1])[0]
        if time.monotonic() - self._drawn > self.seconds:
            self._draw()

    def on_end(self, report: dict[str, Any]) -> None:
        """The last picture stays."""
        if self.loss:
            self.best_step = report.get("best_step", self.best_step)
            self._draw()
        self._begin()

    def _draw(self) -> None:
        from matplotlib.figure import Figure

        from ..plots import training_history

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        training_history(self, figure.subplots())
        self._drawn = time.monotonic()
        if self._picture is None:
            self._picture = self._display(figure, display_id=True)
        else:
            self._picture.update(figure)
