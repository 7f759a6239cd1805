"""What LEM and ConvLEM share: how a cell runs along a sequence, in which precision, and what they accept."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .ode import MultiscaleODE
from .schemes import Scheme

State = tuple[Tensor, Tensor]
# (ode, scheme, u, y0, z0, dt) -> the states at all steps
Recursion = Callable[[MultiscaleODE, Scheme, Tensor, Tensor, Tensor, float | Tensor], tuple[Tensor, Tensor]]


class Path(NamedTuple):
    """How a cell goes along its input: backwards in time, by the batch sizes of a packed sequence, with resets ``(L, 1 or N)``."""

    reverse: bool = False
    batch_sizes: Tensor | None = None
    reset: Tensor | None = None


def run_along(
    recursion: Recursion, ode: MultiscaleODE, scheme: Scheme, u: Tensor, state: State, dt: float | Tensor, path: Path
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``ys, zs`` at all steps in the order of `u`, and the state ``y_n, z_n`` at which each sample ends."""
    if path.batch_sizes is None and path.reset is None:
        if not path.reverse:
            ys, zs = recursion(ode, scheme, u, *state, dt)
            return ys, zs, ys[-1], zs[-1]
        ys, zs = recursion(ode, scheme, u.flip(0), *state, dt.flip(0) if isinstance(dt, Tensor) else dt)
        return ys.flip(0), zs.flip(0), ys[-1], zs[-1]
    outs: list[State] = []
    ended: list[State] = []  # the last states of samples that are over, the longest sample last
    y, z = (s[:0] for s in state) if path.reverse else state
    pieces = _pieces(u, dt, path)
    for piece, step, fresh in reversed(pieces) if path.reverse else pieces:
        n, running = piece.shape[1], len(y)
        if n < running:
            (y, y_over), (z, z_over) = (s.split([n, running - n]) for s in (y, z))
            ended.append((y_over, z_over))
        elif n > running:
            y, z = (torch.cat([s, first[running:n]]) for s, first in zip((y, z), state))
        if fresh is not None:
            y, z = (s.masked_fill(fresh.view(-1, *[1] * (s.dim() - 1)), 0) for s in (y, z))
        ys, zs, y, z = run_along(recursion, ode, scheme, piece, (y, z), step, Path(path.reverse))
        outs.append((ys, zs) if path.batch_sizes is None else (ys.flatten(0, 1), zs[0, :0]))  # nobody asks for z of packed ones
    if path.reverse:
        outs.reverse()
    ys, zs = (torch.cat(parts) for parts in zip(*outs))
    y, z = (torch.cat(parts) for parts in zip((y, z), *reversed(ended)))
    return ys, zs, y, z


def _pieces(u: Tensor, dt: float | Tensor, path: Path) -> list[tuple[Tensor, float | Tensor, Tensor | None]]:
    """The parts of `u` that are dense and free of resets, ``(l, n, ...)`` each, with their steps and what is reset before them."""
    if path.batch_sizes is not None:
        sizes, counts = (x.tolist() for x in torch.unique_consecutive(path.batch_sizes, return_counts=True))
        # split, not slices: the derivative of a slice is a tensor as large as all of u
        shapes = [(count, n) for n, count in zip(sizes, counts)]
        steps = _split(dt, [count * n for count, n in shapes])
        parts = zip(shapes, u.split([count * n for count, n in shapes]), steps)
        return [(x.unflatten(0, shape), d.view(shape) if isinstance(d, Tensor) else d, None) for shape, x, d in parts]
    assert path.reset is not None
    if not torch.compiler.is_compiling() and torch._C._is_tracing():
        raise ValueError("reset: where it is true decides what is run, which a trace would fix for ever; trace without reset.")
    cuts = _cuts(path.reset)
    lengths = [b - a for a, b in zip(cuts, [*cuts[1:], len(u)])]
    return list(zip(u.split(lengths), _split(dt, lengths), path.reset[cuts].unbind(0)))


# torch.compile breaks its graph here: where a sequence is cut depends on values, of which a graph knows nothing
def _cuts(reset: Tensor) -> list[int]:
    return sorted({0, *reset.any(1).nonzero().flatten().tolist()})


def _split(dt: float | Tensor, lengths: list[int]) -> Iterator[float | Tensor]:
    return iter(dt.split(lengths)) if isinstance(dt, Tensor) else iter([dt] * len(lengths))


class Recurrent(nn.Module):
    """What code written for torch's recurrent layers calls, or must be told."""

    def flatten_parameters(self) -> None:
        """Does nothing, as the parameters need no other layout; here because code for torch.nn.LSTM calls it."""

    def __prepare_scriptable__(self) -> nn.Module:
        raise NotImplementedError(
            f"torch.jit.script cannot read {type(self).__name__}: use torch.export.export, torch.compile or torch.jit.trace."
        )


class Stepped(Recurrent):
    """A module that steps ODEs with a scheme: its dt, and what a state_dict says of both."""

    scheme: Scheme
    allow_large_dt: bool
    _dt: float

    @property
    def dt(self) -> float:
        """The step size, admissible for the scheme; it can be set."""
        return self._dt

    @dt.setter
    def dt(self, dt: float) -> None:
        self.scheme.check_dt(dt, self.allow_large_dt)
        self._dt = float(dt)

    # The record is in the metadata that torch keeps beside the tensors, not an extra state: a key more would break what reads
    # and writes tensors only (safetensors, averaging of weights), and every file that is there.
    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if hasattr(destination, "_metadata"):
            destination._metadata.setdefault(prefix[:-1], {}).update(dt=self.dt, scheme=self.scheme.name)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing_keys: Any, unexpected_keys: Any, error_msgs: Any
    ) -> None:  # fmt: skip
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        mine = {"dt": self.dt, "scheme": self.scheme.name}
        theirs = {name: local_metadata.get(name, value) for name, value in mine.items()}
        if theirs != mine:
            saved, here = (", ".join(f"{name}={value!r}" for name, value in x.items()) for x in (theirs, mine))
            # a warning, for the same ODE with another step is what `refine` gives, and may be meant
            warnings.warn(
                f"{prefix[:-1] or 'the network'} was saved with {saved} and is loaded into {here}, with which the same weights are "
                "another map: make the network with those or, if this is meant, load dict(state_dict), the weights alone.",
                stacklevel=2,
            )


# sums of many small steps: in 16 bits y + dt g (yh - y) is y as soon as the step is below y / 256 (bfloat16) or y / 2048 (float16)
_WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32}


def state_dtype(parameters: torch.dtype) -> torch.dtype:
    """In which the recursion runs and its state is kept: that of the parameters, float32 for those of 16 bits."""
    return _WIDER.get(parameters, parameters)


def autocasting(x: Tensor) -> bool:
    """Whether torch.autocast is on for the device of x."""
    kind = x.device.type
    return kind != "meta" and torch.is_autocast_enabled(kind)


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """The recursion is not for autocast: it would round the state at every step."""
    return torch.autocast(x.device.type, enabled=False) if autocasting(x) else nullcontext()


def either(state: State | None, hx: State | None) -> State | None:
    """The initial state, under lemode's name or under torch's."""
    if hx is None:
        return state
    if state is not None:
        raise ValueError("state and hx are two names of the initial state: give one.")
    return hx


def check_layers(num_layers: Any, dropout: float) -> None:
    if not isinstance(num_layers, int) or num_layers < 1:
        raise ValueError(f"num_layers={num_layers!r}: give a positive integer.")
    if not 0.0 <= dropout <= 1.0:
        raise ValueError(f"dropout={dropout!r}: give a probability between 0 and 1.")


def check_tensor(u: Any, layout: str) -> None:
    if not isinstance(u, Tensor):
        raise TypeError(f"input is {type(u).__name__}: give a torch tensor {layout}.")
    if u.is_nested:
        raise ValueError(
            "input is a NestedTensor: give a PackedSequence, torch.nn.utils.rnn.pack_sequence(input.unbind(), enforce_sorted=False)."
        )


def check_dtype(u: Tensor, parameters: torch.dtype) -> None:
    """The input has the dtype of the parameters, or autocast may convert it."""
    if u.dtype != parameters and not (u.dtype.is_floating_point and autocasting(u)):
        raise ValueError(
            f"input is {u.dtype}, the parameters are {parameters}: convert one, e.g. input.to({parameters}) or "
            f"network.to({u.dtype if u.dtype.is_floating_point else torch.float32})."
        )


def checked_state(state: Any, shape: tuple[int, ...], u: Tensor, dtype: torch.dtype) -> State:
    """The initial state in the dtype of the recursion; it may come in that of the input, too."""
    if not (isinstance(state, tuple | list) and len(state) == 2 and all(isinstance(s, Tensor) for s in state)):
        raise ValueError("state: give a pair (y, z) of tensors.")
    for name, s in zip("yz", state, strict=True):
        if tuple(s.shape) != shape:
            raise ValueError(f"initial {name} has shape {tuple(s.shape)}: this input needs {shape}.")
        if s.dtype not in (u.dtype, dtype):
            raise ValueError(f"initial {name} is {s.dtype}, the input is {u.dtype}: convert one of them.")
    y, z = state
    return y.to(dtype), z.to(dtype)


def checked_steps(
    dt: Any, shapes: Mapping[str, tuple[int, ...]], u: Tensor, dtype: torch.dtype, cells: list[Any]
) -> float | Tensor:  # fmt: skip
    """dt as a number or a tensor of one of the `shapes`, admissible for every one of the `cells`."""
    if isinstance(dt, numbers.Real):
        for cell in cells:
            cell.scheme.check_dt(float(dt), cell.allow_large_dt)
        return float(dt)
    if not isinstance(dt, Tensor):
        raise TypeError(f"dt is {type(dt).__name__}: give a number, or a tensor, such as torch.as_tensor(dt, dtype={u.dtype}).")
    if dt.dim() and (tuple(dt.shape) not in shapes.values() or dt.dtype not in (u.dtype, dtype)):
        given = " or ".join(f"{shape}, {what}" for what, shape in shapes.items() if what)
        raise ValueError(f"dt of shape {tuple(dt.shape)} and {dt.dtype}: give a number, or {given}, as {u.dtype}.")
    for cell in cells:
        _check_values(dt.detach(), cell.scheme, cell.allow_large_dt)
    return dt.to(dtype)


def checked_reset(reset: Any, shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
    if not isinstance(reset, Tensor) or reset.dtype != torch.bool or tuple(reset.shape) not in shapes.values():
        got = f"{tuple(reset.shape)} and {reset.dtype}" if isinstance(reset, Tensor) else type(reset).__name__
        given = " or ".join(f"{shape}, {what}" for what, shape in shapes.items() if what)
        raise ValueError(f"reset is {got}: give a torch.bool tensor {given}.")
    return reset


def _check_values(dt: Tensor, scheme: Scheme, allow_large_dt: bool) -> None:
    if torch.compiler.is_compiling() or torch._C._is_tracing() or dt.is_meta or type(dt) is not Tensor:
        # values cannot be looked at: the check becomes a part of the graph
        limit = max(scheme.max_dt, 2.0) if allow_large_dt else scheme.max_dt
        torch._assert_async(
            ((dt > 0) & (dt <= min(limit, torch.finfo(dt.dtype).max))).all(),
            f"dt: scheme {scheme.name!r} needs 0 < dt <= {limit:g}.",
        )
        return
    while torch._C._functorch.is_functorch_wrapped_tensor(dt):
        dt = torch._C._functorch.get_unwrapped(dt)
    if dt.numel():
        low, high = dt.aminmax()
        for value in (float(low), float(high)):
            scheme.check_dt(value, allow_large_dt)
