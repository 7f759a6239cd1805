"""Which backend runs a recursion, and why: one rule for sequences, free runs and fields.

- ``reference``: the plain loop over `lemode.schemes`, differentiated by autograd. Every scheme, device and dtype.
- ``torch``: forward and adjoint by hand in torch operations; schemes with a leak.
- ``parallel``: sweeps over the whole sequence, `lemode.kernels.parallel`; schemes with a leak. What is no sequence, such as a free
  run, goes by ``auto``.
- ``triton``: one launch on a GPU, `lemode.kernels.triton`; schemes with a leak, float32 and, read and returned, half precision. What it
  does not run goes by ``auto``. Not yet measured on a GPU, so ``auto`` does not choose it.
- ``native``: the compiled core, for float32 and float64 on the CPU; schemes with a leak.
- ``auto``: ``native`` where it can; else ``torch`` where it is the faster one; else ``reference``.

Two cases come before the wish. torch.func and forward-mode differentiation need operations that they can look into and get the plain
loop. What records or replaces operations (torch.compile, torch.export, torch.jit.trace, make_fx, fake tensors, tensor subclasses) gets
the whole sequence as one registered operator, which runs by these rules when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..schemes import SCHEMES, Scheme
from . import bridge, core

__all__ = [
    "BACKENDS",
    "LEAKY",
    "Choice",
    "batched",
    "choose",
    "decide",
    "explain",
    "fits_core",
    "handed_on",
    "noted",
    "transformed",
]

BACKENDS = ("auto", "native", "torch", "reference", "parallel", "triton")
LEAKY = tuple(name for name, scheme in SCHEMES.items() if scheme.leak)
TORCH_UP_TO = 128  # hidden units: beyond it the plain loop beats the hand-derived adjoint in torch operations


class Choice(NamedTuple):
    """A backend, or 'operator', with the reason.

    Examples
    --------
    >>> Choice("reference", "asked for").backend
    'reference'
    """

    backend: str
    why: str


_record: list[Choice] | None = None


def choose(
    asked: str,
    scheme: Scheme,
    tensors: Sequence[Tensor],
    hidden_size: int,
    *,
    native: bool = True,
    why_not: str = "",
) -> Choice:
    """The backend for these tensors; `native` is False, for the reason `why_not`, where the core has no code for the kind of call.

    Raises
    ------
    ValueError
        For an unknown backend, or one that was asked for and does not run this scheme, device, dtype or kind of call.
    RuntimeError
        If the compiled core was asked for and is missing.

    Examples
    --------
    >>> zero = torch.zeros(3)
    >>> choose("auto", lemode.schemes.SCHEMES["strang"], [zero], 4)
    Choice(backend='reference', why="scheme 'strang' has no leak: only the plain loop runs it")
    """
    return noted(decide(asked, scheme, tensors, hidden_size, native=native, why_not=why_not))


def noted(choice: Choice) -> Choice:
    """The choice, which `explain` then prints."""
    if _record is not None:
        _record.append(choice)
    return choice


def handed_on(asked: str, why: str, choice: Choice) -> Choice:
    """The choice made in place of the backend that was asked for and does not run this, with the reason.

    Examples
    --------
    >>> handed_on("triton", "Triton runs on a GPU", Choice("native", "the compiled core runs it")).why
    "not 'triton' (Triton runs on a GPU): the compiled core runs it"
    """
    return choice._replace(why=f"not {asked!r} ({why}): {choice.why}")


def decide(
    asked: str,
    scheme: Scheme,
    tensors: Sequence[Tensor],
    hidden_size: int,
    *,
    native: bool = True,
    why_not: str = "",
) -> Choice:
    """As `choose`, without a word to `explain`: for what is then run by another choice."""
    if asked not in BACKENDS:
        raise ValueError(f"backend={asked!r}: known backends are {', '.join(BACKENDS)}.")
    if asked == "reference":
        return Choice("reference", "asked for")
    if transformed():
        return Choice("reference", "torch.func and forward mode look into the operations")
    if scheme.leak is None and asked != "auto":
        raise ValueError(f"backend={asked!r} runs {', '.join(LEAKY)}; use backend='reference' for {scheme.name!r}.")
    if _recorded(tensors):
        return Choice("operator", "operations are recorded or replaced: the sequence is one operator")
    if scheme.leak is None:
        return Choice("reference", f"scheme {scheme.name!r} has no leak: only the plain loop runs it")
    if asked in ("torch", "parallel", "triton"):
        return Choice(asked, "asked for")
    fits = fits_core(tensors)
    if native and fits and core.available():
        return Choice("native", "the compiled core runs it")
    if asked == "native":
        if not native:
            raise ValueError(f"backend='native': {why_not}; use backend='auto'.")
        core.require()
        raise ValueError(
            "backend='native' runs float32 or float64 tensors of one dtype on the CPU; use backend='auto' for others."
        )
    if native and fits:
        core.warn_missing()
        why_not = "the compiled core is missing"
    elif native:
        why_not = "the compiled core reads float32 and float64 on the CPU"
    if hidden_size < TORCH_UP_TO:
        return Choice("torch", f"{why_not}; by hand in torch is the faster one up to {TORCH_UP_TO} units")
    return Choice("reference", f"{why_not}; the plain loop is the faster one from {TORCH_UP_TO} units on")


def fits_core(tensors: Sequence[Tensor]) -> bool:
    """Whether the core runs tensors of this kind: on the CPU, float32 or float64, all alike.

    Examples
    --------
    >>> fits_core([torch.zeros(2), torch.zeros(2)]), fits_core([torch.zeros(2), torch.zeros(2).double()])
    (True, False)
    """
    dtype = tensors[0].dtype
    return dtype in core.DTYPES and all(t.is_cpu and t.dtype == dtype for t in tensors)


def explain(function: Callable[..., object], *args: object, **options: object) -> str:
    """Which backend runs each layer of ``function(*args)``, and why; it is called once, without derivatives.

    Examples
    --------
    >>> print(explain(lemode.LEM(1, 4, scheme="strang"), torch.zeros(10, 2, 1)))
    reference: scheme 'strang' has no leak: only the plain loop runs it
    """
    global _record
    found: list[Choice] = []
    _record = found
    try:
        with torch.no_grad():
            function(*args, **options)
    finally:
        _record = None
    return "\n".join(f"{backend}: {why}" for backend, why in found)


def transformed() -> bool:
    """Whether torch.func or forward-mode differentiation is at work.

    Examples
    --------
    >>> transformed(), bool(torch.func.vmap(lambda x: x + transformed())(torch.zeros(2))[0])
    (False, True)
    """
    # private: torch says neither publicly. tests/contracts/test_derivatives.py holds both to what they are taken for
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def batched(*grads: Tensor | None) -> bool:
    """Whether ``torch.autograd.grad(..., is_grads_batched=True)`` asks for several gradients at once.

    Examples
    --------
    >>> batched(torch.zeros(2), None)
    False
    """
    return any(g is not None and torch._C._functorch.is_legacy_batchedtensor(g) for g in grads)


def _recorded(tensors: Sequence[Tensor]) -> bool:
    """Whether something records or replaces operations, so that none may be hidden from it."""
    if torch.compiler.is_compiling():
        return True
    if torch._C._get_tracing_state() is not None or torch._C._len_torch_dispatch_stack() > 0:
        return True
    return not all(bridge.has_memory(t) for t in tensors)
