"""Everything of a fit that is under way in one file, so that it can go on after a crash. Plain tensors and JSON."""

from __future__ import annotations

import copy
import hashlib
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import storage
from .errors import FitWarning
from .processes import processes
from .recipe import Recipe
from .run import History, Run
from .schema import check_fields, check_types
from .series import Grid

__all__ = ["Checkpoint", "digest"]

FORMAT = "lemode checkpoint"
CONTENTS: dict[str, Any] = {
    "recipe": dict[str, Any], "history": dict[str, Any], "stage": int, "step": int, "best": float, "free_before": float,
    "numbers": dict[str, Any], "groups": list[dict[str, Any]],
}  # fmt: skip
# of an older lemode it may be missing
OPTIONAL: dict[str, Any] = {"fingerprint": dict[str, Any], "reached": float, "bad": int}


@dataclass
class Checkpoint:
    """A file of the fit that is under way.

    Parameters
    ----------
    path : of the file
    fingerprint : what has to be the same for a fit to go on from it, by the names of which a refusal speaks
    every : seconds from one time that it is written to the next, at the end of a step; at every validation by default

    Examples
    --------
    A fit with ``checkpoint=path`` writes it at every validation, and at the end:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from lemode.surrogate import storage
    >>> path, wave = Path(tempfile.mkdtemp()) / "fit.ckpt", np.sin(np.linspace(0, 60, 601))[:, None]
    >>> model = lemode.Surrogate(hidden_size=2, steps=5, verbose=0, train="all").fit(wave, checkpoint=path)
    >>> tensors, metadata = storage.read(path, "lemode checkpoint")
    >>> sorted({name.split(".")[0] for name in tensors}), metadata["step"]
    (['best', 'generator', 'generator_now', 'network', 'optimizer', 'refreshed'], 5)

    Where the file is that of a finished fit nothing is left to do; that of another fit is refused:

    >>> losses = model.history_.loss
    >>> model.fit(wave, checkpoint=path).history_.loss == losses
    True
    >>> try:
    ...     model.set_params(lr=0.1).fit(wave, checkpoint=path)
    ... except ValueError as error:
    ...     print(str(error).split("fit.ckpt: ")[1])
    the checkpoint of a fit with other lr; remove the file to start anew, or fit as before.
    """

    path: str | os.PathLike[str]
    fingerprint: dict[str, Any]
    every: float | None = None
    _failed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._written = time.monotonic()

    def beside(self, suffix: str) -> Checkpoint:
        """Another one of the same fit, in the file of that name with the suffix."""
        return Checkpoint(f"{os.fspath(self.path)}{suffix}", self.fingerprint, self.every)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        Path(self.path).unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The file is this fit's alone in the block; BlockingIOError where another fit, of any process, holds it.

        The lock is the system's, and goes with its process, however that ends.
        """
        import filelock  # torch needs it, too

        if processes().rank:  # the first process holds it for all
            yield
            return
        lock = filelock.FileLock(f"{os.path.realpath(self.path)}.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise BlockingIOError(
                f"{self.path}: another fit is writing this checkpoint; wait for its end, or give this one a file of its own."
            ) from None
        except OSError as e:
            raise storage.failed(e, self.path) from e
        try:
            yield
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: who opens it now makes a new one
            lock.release()

    def due(self, validated: bool, last: bool) -> bool:
        """Whether it is to be written now, after a step: validated, or the last one of a stage.

        Examples
        --------
        >>> seldom, always = Checkpoint("c", {}, every=3600.0), Checkpoint("c", {})
        >>> [c.due(validated=True, last=False) for c in (seldom, always)], seldom.due(validated=False, last=True)
        ([False, True], True)
        """
        return last or (validated if self.every is None else time.monotonic() - self._written >= self.every)

    def save(self, run: Run) -> None:
        """Write weights, best weights, optimizer, random generator, schedule and history; replaces the file atomically.

        Where that cannot be done, on a full disk, what was there stays, a FitWarning says so, and the fit goes on. Of several processes
        the first one writes.
        """
        if processes().rank:
            return
        try:
            self._write(run)
            self._failed = False
        except OSError as e:
            if not self._failed:
                kept = "the one before it is whole" if os.path.exists(self.path) else "there is none yet"
                warnings.warn(f"{e} The fit goes on, and tries again at the next checkpoint; {kept}.", FitWarning, stacklevel=6)
            self._failed = True
        self._written = time.monotonic()

    def _write(self, run: Run) -> None:
        optimizer = run.optimizer.state_dict()
        tensors = {f"network.{k}": v for k, v in run.network.state_dict().items()}
        parts = {"best": run.best_weights, "before": run.before_weights, "refreshed": run.refreshed_with}
        for part, weights in parts.items():
            tensors |= {f"{part}.{k}": v for k, v in (weights or {}).items()}
        tensors |= {f"average.{i}": v for i, v in enumerate(run.averages)}
        tensors |= {"generator": run.before_refresh, "generator_now": run.generator.get_state()}
        numbers: dict[str, Any] = {}
        for index, state in optimizer["state"].items():
            for key, value in state.items():
                target = tensors if isinstance(value, torch.Tensor) else numbers
                target[f"optimizer.{index}.{key}"] = value
        metadata = {
            "recipe": asdict(run.recipe), "history": asdict(run.history), "stage": run.stage, "step": run.step,
            "fingerprint": self.fingerprint, "best": run.best, "reached": run.reached, "free_before": run.free_before,
            "numbers": numbers, "groups": optimizer["param_groups"], "bad": run.bad,
        }  # fmt: skip
        storage.write(self.path, {k: v.clone() for k, v in tensors.items()}, metadata, FORMAT)

    def load(self, run: Run) -> None:
        """Put what `save` wrote back into `run`, if there is a file; ValueError if it belongs to another fit.

        That is, one of other data, seed or hyper-parameters. The file of an older lemode does not say what data it is of: it is taken, with
        a FitWarning. What a process that was killed has left half written is removed.
        """
        if not processes().rank:
            storage.sweep(self.path)
        if not os.path.exists(self.path):
            return
        tensors, metadata = storage.read(self.path, FORMAT)
        try:
            check_types(metadata, CONTENTS, OPTIONAL)
            check_fields(History, metadata["history"], "history")
        except ValueError as e:
            raise self._misfit(e) from e
        older = "generator_now" not in tensors  # since format 4
        if older:
            tensors = _completed(run, tensors)
        self._refuse_other(run, tensors, metadata, older)
        try:
            _put_back(run, tensors, metadata)
        except Exception as e:  # whatever comes of contents that anybody may have written
            raise self._misfit(e) from e

    def _misfit(self, e: Exception) -> ValueError:
        return ValueError(f"{self.path}: the contents of this {FORMAT} do not fit together ({e}); remove the file.")

    def _refuse_other(self, run: Run, tensors: dict[str, torch.Tensor], metadata: dict[str, Any], older: bool) -> None:
        """ValueError for the checkpoint of another fit; a FitWarning of an older lemode, which does not say all of it."""
        recipe = asdict(run.recipe)
        saved = asdict(Recipe()) | {k: tuple(v) if isinstance(v, list) else v for k, v in metadata["recipe"].items()}
        known, asked = metadata.get("fingerprint", {}), self.fingerprint
        if older:
            # its weights to start from were without the buffers that networks have since
            known = {name: value for name, value in known.items() if name in asked and name != "weights to start from"}
            unknown = ", ".join(name for name in asked if name not in known)
            warnings.warn(
                f"{self.path}: the checkpoint of an older lemode, which does not say of which {unknown} it is: the fit goes on as if they "
                "were the same.",
                FitWarning,
                stacklevel=7,
            )
            asked = {name: asked[name] for name in known}
        different = [k for k in recipe if saved.get(k) != recipe[k]]
        different += [k for k in asked if known.get(k) != asked[k]]
        if different or not _same_sizes(run.network.state_dict(), _part(tensors, "network.")):
            what = f"with other {', '.join(different)}" if different else "of a network of other sizes"
            raise ValueError(f"{self.path}: the checkpoint of a fit {what}; remove the file to start anew, or fit as before.")


def _put_back(run: Run, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
    network, sizes = _part(tensors, "network."), run.network.state_dict()
    for part in ("best.", "before.", "refreshed."):
        weights = _part(tensors, part)
        if weights and not _same_sizes(sizes, weights):
            raise ValueError(f"the tensors of {part[:-1]} are of other sizes")
    stage, step = metadata["stage"], metadata["step"]
    if not (0 <= stage <= len(run.recipe.stages) and 0 <= step <= run.recipe.steps_of(min(stage, len(run.recipe.stages) - 1))):
        raise ValueError(f"stage={stage}, step={step}: there are no such")
    for i, average in enumerate(run.averages):
        average.copy_(tensors[f"average.{i}"])
    run.best, run.best_weights = metadata["best"], _part(tensors, "best.") or None
    run.reached = metadata.get("reached", run.best)  # of an older lemode
    run.free_before, run.before_weights = metadata["free_before"], _part(tensors, "before.") or None
    run.stage, run.step, run.bad = stage, step, metadata.get("bad", 0)
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *metadata["numbers"].items()]:
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    run.optimizer.load_state_dict({"state": state, "param_groups": metadata["groups"]})
    _try_step(run)
    run.history = History(**metadata["history"])
    _refresh(run, tensors)
    run.network.load_state_dict(network)


def _same_sizes(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return {k: (v.shape, v.dtype) for k, v in one.items()} == {k: (v.shape, v.dtype) for k, v in other.items()}


def _try_step(run: Run) -> None:
    """A step of copies, which fails where the state of an optimizer is none of these parameters."""
    network, optimizer = copy.deepcopy((run.network, run.optimizer))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()


def _refresh(run: Run, tensors: dict[str, torch.Tensor]) -> None:
    """The stored states again, as the last validation has left them, and the generator as it was after the last step."""
    run.before_refresh, run.refreshed_with = tensors["generator"], _part(tensors, "refreshed.") or None
    run.generator.set_state(run.before_refresh)
    if run.refreshed_with is not None:
        run.network.load_state_dict(run.refreshed_with)
        run.starts.refresh(run.network, run.generator)
    if "generator_now" in tensors:
        run.generator.set_state(tensors["generator_now"])


def _completed(run: Run, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What an older lemode wrote, always after a validation, with the buffers that networks have since: those of this one."""
    found = dict(tensors)
    for part in ("network.", "best.", "before."):
        if _part(tensors, part):
            found |= {f"{part}{name}": value for name, value in run.network.named_buffers() if f"{part}{name}" not in tensors}
    return found | {f"refreshed.{name}": value for name, value in _part(found, "network.").items()}


def digest(*parts: Grid | torch.Tensor) -> str:
    """A fingerprint of data, to the last bit.

    Examples
    --------
    >>> a, b = torch.zeros(3), torch.tensor([0.0, 0.0, 1e-30])
    >>> digest(a) == digest(torch.zeros(3)), digest(a) == digest(b)
    (True, False)
    """
    total = hashlib.sha256()
    for part in parts:
        arrays = (part.values, part.r, part.at) if isinstance(part, Grid) else (part.detach().numpy(),)
        for array in arrays:
            if array is None:
                total.update(b"none")
            else:
                total.update(f"{array.dtype} {array.shape}".encode())
                total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
