"""One fit spread over several processes, as torchrun starts them: who has which part of it, and what they tell each other, by gloo.

Every process reads all the data and takes the same decisions; what is spread is the work: the gradient of a batch, and the rows of an
exact fit. The first process alone writes files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .callbacks import Ended
from .interrupts import Interrupted, Interrupts

__all__ = ["Processes", "processes"]


class Processes:
    """Inside the block, fits are spread over the processes that torchrun has started; over one, nothing is.

    Where torch.distributed has been set up before, that is taken, and left as it is.

    Attributes
    ----------
    rank, size : which one this is, and how many there are

    Raises
    ------
    RuntimeError
        In every process, where another one dies, or does not answer any more.

    Examples
    --------
    Without torchrun there is one process, which has all the series and the whole sum:

    >>> with Processes() as group:
    ...     group.rank, group.size, group.mine(3), group.sum(2.5)
    (0, 1, tensor([0, 1, 2]), [2.5])
    """

    def __init__(self, environment: bool = True) -> None:
        self.made = environment and int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized()
        if self.made:
            _answered(lambda: dist.init_process_group("gloo"))
        spread = environment and dist.is_initialized()
        self.rank, self.size = (dist.get_rank(), dist.get_world_size()) if spread else (0, 1)

    def __enter__(self) -> Processes:
        self._token = _now.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _now.reset(self._token)
        if self.made:
            dist.destroy_process_group()

    def mine(self, n: int) -> Tensor:
        """Of n things those that are this process's; every process has as many as another, or one more."""
        return torch.arange(n)[self.rank :: self.size]

    def sum(self, *numbers: float) -> list[float]:
        """The sums of these numbers over all processes."""
        total = torch.tensor(numbers, dtype=torch.float64)
        if self.size > 1:
            _answered(lambda: dist.all_reduce(total))
        return total.tolist()

    def first(self, number: float) -> float:
        """What the first process says, such as what time it is."""
        return self.sum(number if self.rank == 0 else 0.0)[0]

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """The gradients of all processes, added up; bit by bit the same in each of them."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        _answered(lambda: dist.all_reduce(flat))
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients])):
            gradient.copy_(total.view_as(gradient))

    def send(self, numbers: Tensor, to: int) -> None:
        """Numbers for another process, which has to `receive` them."""
        _answered(lambda: dist.send(numbers, to))

    def receive(self, numbers: Tensor, sender: int) -> None:
        """Fill a tensor with what another process sends."""
        _answered(lambda: dist.recv(numbers, sender))

    def broadcast(self, numbers: Tensor) -> None:
        """Fill a tensor with what it is in the first process."""
        if self.size > 1:
            _answered(lambda: dist.broadcast(numbers, 0))

    @contextmanager
    def ending_together(self, interrupts: Interrupts) -> Iterator[None]:
        """The end of a step: a signal, or a callback that ends the fit in the block, ends it in all processes, after this step."""
        ended: Ended | None = None
        try:
            yield
        except Ended as e:
            ended = e
        if self.size == 1:
            if ended is not None:
                raise ended
            interrupts.check()
            return
        signals, ends = self.sum(float(interrupts.came is not None), float(ended is not None))
        if signals:
            interrupts.check()
            raise Interrupted("another process was interrupted")
        if ends:
            raise ended or Ended(self)

    def check_alike(self, facts: dict[str, Any]) -> None:
        """ValueError in all processes where they are not of one fit: a fact is another one than in the first process."""
        if self.size == 1:
            return
        found: list[Any] = [None] * self.size
        _answered(lambda: dist.all_gather_object(found, {name: repr(fact) for name, fact in facts.items()}))
        for rank, theirs in enumerate(found):
            other = [name for name in found[0] if theirs.get(name) != found[0][name]]
            if other or theirs.keys() != found[0].keys():
                raise ValueError(
                    f"process {rank} has other {', '.join(other) or 'facts'} than process 0: all processes of a fit need the same "
                    "files and options; put the files where every machine sees them."
                )


def processes() -> Processes:
    """Those over which a fit is spread here and now: this one alone, outside the block of a `Processes`.

    Examples
    --------
    >>> processes().size
    1
    """
    return _now.get() or Processes(environment=False)


# a variable of the context: threads of a pool begin without it, so that their fits are their own
_now: ContextVar[Processes | None] = ContextVar("_now", default=None)


def _answered(exchange: Callable[[], Any]) -> None:
    """What torch.distributed raises, as a sentence."""
    try:
        exchange()
    except RuntimeError as e:
        raise RuntimeError(
            f"another process of this fit has died or does not answer ({str(e).splitlines()[0][:200]}): see what it said, and start "
            "all of them again; a fit with a checkpoint goes on from there."
        ) from e
