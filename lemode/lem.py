"""LEM as torch layers: a scheme run along a sequence, with the conventions of torch.nn.LSTM."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as apply_dropout
from torch.nn.utils.rnn import PackedSequence

from . import kernels
from .ode import MultiscaleODE
from .schemes import Scheme, get_scheme
from .sequence import (
    Path,
    Recurrent,
    State,
    Stepped,
    check_dtype,
    check_layers,
    check_tensor,
    checked_reset,
    checked_state,
    checked_steps,
    either,
    run_along,
    state_dtype,
    without_autocast,
)

__all__ = ["LEM", "LEMCell"]


class LEMCell(Stepped):
    r"""One LEM step, with the conventions of torch.nn.LSTMCell.

    .. math::

        z_n &= z_{n-1} + \Delta t\, \hat\sigma(W_1 y_{n-1} + V_1 u_n + b_1) \odot (\tanh(W_z y_{n-1} + V_z u_n + b_z) - z_{n-1}) \\
        y_n &= y_{n-1} + \Delta t\, \hat\sigma(W_2 y_{n-1} + V_2 u_n + b_2) \odot (\tanh(W_y z_n + V_y u_n + b_y) - y_{n-1})

    Equation (3) of arXiv:2110.04744. From a state in the unit cube, :math:`|y_n|, |z_n| \le 1` for :math:`0 < \Delta t \le 1`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features m of the input; size d of y and of z.
    bias : bool
        Learn b1, b2, bz, by; otherwise they are zero.
    dt : float
        Step size in (0, 1]; any positive number for the schemes 'semi_implicit', 'exponential' and 'strang'.
    scheme : str
        A name in `lemode.schemes.SCHEMES`. 'imex' is LEM.
    allow_large_dt : bool
        Admit dt up to 2 for 'imex' and 'explicit', where the bound ``|y|, |z| <= 1`` no longer holds.
    device, dtype
        As for every torch module.

    Examples
    --------
    >>> cell = LEMCell(3, 8)
    >>> y, z = cell(torch.randn(5, 3))
    >>> y.shape
    torch.Size([5, 8])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dt: float = 1.0,
        scheme: str = "imex",
        allow_large_dt: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.scheme, self.allow_large_dt = get_scheme(scheme), allow_large_dt
        self.dt = dt
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.ode = MultiscaleODE(input_size, hidden_size, bias, device=device, dtype=dtype)

    def forward(
        self,
        u: Tensor,
        state: State | None = None,
        dt: float | Tensor | None = None,
        *,
        hx: State | None = None,
        along: Any = None,
    ) -> Any:
        """``(y, z)`` after one step: u ``(N, m)`` or ``(m,)``, state ``(y, z)`` each ``(N, d)`` or ``(d,)``, zero by default.

        dt is a number, a tensor ``()`` or, one for each sample, ``(N,)``; the cell's own by default. hx is torch's name of state.
        `along` is for the layer, which calls its cells once a sequence, so that their hooks fire.

        Examples
        --------
        >>> cell = LEMCell(3, 8, dt=0.5)
        >>> y, z = cell(torch.randn(5, 3), dt=torch.rand(5))
        """
        if along is not None:
            assert state is not None
            recursion, path = along
            step = self._dt if dt is None else dt

            def run(ode: MultiscaleODE, y: Tensor, z: Tensor, u: Tensor) -> tuple[Any, ...]:
                return run_along(recursion, ode, self.scheme, u, (y, z), step, path)

            return self.ode(*state, u, run)
        state = either(state, hx)
        dtype = state_dtype(_check_input(u, self.ode, ranks=(1, 2), layout="(N, input_size) or (input_size,)"))
        shape = (*u.shape[:-1], self.ode.hidden_size)
        y, z = (u.new_zeros(shape, dtype=dtype),) * 2 if state is None else checked_state(state, shape, u, dtype)
        h = self._dt if dt is None else checked_steps(dt, {"one for each sample": tuple(u.shape[:-1])}, u, dtype, [self])
        if isinstance(h, Tensor):
            h = h.unsqueeze(-1)
        with without_autocast(u):
            return self.ode(y, z, u.to(dtype), lambda ode, y, z, u: self.scheme.step(ode, (y, z), u, h))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew, as `MultiscaleODE.reset_parameters`."""
        self.ode.reset_parameters(generator)

    def extra_repr(self) -> str:
        return f"dt={self.dt:g}, scheme={self.scheme.name!r}"


class LEM(Recurrent):
    r"""Long Expressive Memory along a sequence; a drop-in for torch.nn.LSTM with state ``(y, z)``.

    .. math:: (y_n, z_n) = \mathrm{LEMCell}(u_n;\ y_{n-1}, z_{n-1}), \qquad n = 1, \dots, L

    in every layer, equation (3) of arXiv:2110.04744; the output is y of the last one.

    Parameters
    ----------
    input_size, hidden_size : int
        Features m of the input; size d of y and of z.
    num_layers : int
        Layers; each reads the y of the one below.
    bias : bool
        Learn b1, b2, bz, by; otherwise they are zero.
    batch_first : bool
        Input and output are ``(N, L, ...)`` instead of ``(L, N, ...)``. The states are not affected.
    dropout : float
        Probability of zeroing an entry of y between layers, in training mode.
    bidirectional : bool
        Add a second cell per layer that reads the sequence backwards; the output has 2 d features.
    dt, scheme, allow_large_dt
        See `LEMCell`.
    backend : {'auto', 'native', 'torch', 'reference', 'parallel', 'triton'}
        How the recursion is run, see `lemode.kernels`. Same results; 'auto' takes the fastest there is.
    memory : {'full', 'low'}
        With 'low' the native backend keeps y and z only for the derivative and computes the gates again: a third of the memory.
    device, dtype
        As for every torch module.
    tol : float, optional
        For the backend 'parallel' only: the largest error of a state; 1e-5 in float32 and 1e-10 in float64 by default.

    Attributes
    ----------
    cells : nn.ModuleList of LEMCell
        One a layer (two if bidirectional: forward, backward). ``cells[k].ode`` is layer k as an ODE.

    Raises
    ------
    ValueError
        For a bad size, dt, scheme, backend, or a tensor whose rank, features, batch or dtype does not fit.

    Examples
    --------
    >>> rnn = LEM(3, 8, num_layers=2)
    >>> output, (y_n, z_n) = rnn(torch.randn(100, 5, 3))
    >>> output.shape, y_n.shape
    (torch.Size([100, 5, 8]), torch.Size([2, 5, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dt: float = 1.0,
        scheme: str = "imex",
        allow_large_dt: bool = False,
        backend: str = "auto",
        memory: str = "full",
        device: Any = None,
        dtype: torch.dtype | None = None,
        tol: float | None = None,
    ) -> None:
        super().__init__()
        check_layers(num_layers, dropout)
        if backend not in kernels.BACKENDS:
            raise ValueError(f"backend={backend!r}: known backends are {', '.join(kernels.BACKENDS)}.")
        if memory not in ("full", "low"):
            raise ValueError(f"memory={memory!r}: give 'full' or 'low'.")
        if tol is not None and backend != "parallel":
            raise ValueError(f"tol={tol!r} is for backend='parallel': backend={backend!r} is exact up to rounding.")
        self.memory, self.tol = memory, tol
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional, self.backend = batch_first, dropout, bidirectional, backend
        self.num_directions = 2 if bidirectional else 1
        self.cells = nn.ModuleList(
            LEMCell(
                input_size if layer == 0 else hidden_size * self.num_directions,
                hidden_size, bias, dt, scheme, allow_large_dt, device, dtype,
            )
            for layer in range(num_layers)
            for _ in range(self.num_directions)
        )  # fmt: skip

    @property
    def dt(self) -> float:
        """The step size of every cell; to set it sets them all. ValueError where the cells' own differ."""
        first, *others = {cell.dt for cell in self.layers()}
        if others:
            steps = ", ".join(f"{cell.dt:g}" for cell in self.layers())
            raise ValueError(f"the cells have the steps {steps}: read cells[k].dt, or set dt to give them one.")
        return first

    @dt.setter
    def dt(self, dt: float) -> None:
        for cell in self.layers():
            cell.scheme.check_dt(dt, cell.allow_large_dt)
        for cell in self.layers():
            cell.dt = dt

    def layers(self) -> list[LEMCell]:
        """The cells as a plain list."""
        return [cell for cell in self.cells if isinstance(cell, LEMCell)]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew, as `MultiscaleODE.reset_parameters`."""
        for cell in self.layers():
            cell.reset_parameters(generator)

    def _cell(self, k: int) -> LEMCell:
        cell = self.cells[k]
        assert isinstance(cell, LEMCell)
        return cell

    def forward(
        self,
        u: Tensor | PackedSequence,
        state: State | None = None,
        dt: float | Tensor | PackedSequence | None = None,
        reset: Tensor | None = None,
        *,
        hx: State | None = None,
    ) -> tuple[Tensor | PackedSequence, State]:
        """Run the sequence.

        Parameters
        ----------
        u : (L, N, m), (N, L, m) if batch_first, (L, m), or a PackedSequence
        state : (y_0, z_0), each (num_layers * num_directions, N, d), without N for unbatched input; zero by default
        dt : number, (L,) or (L, N) tensor ((N, L) if batch_first), packed one by one like u if u is a PackedSequence
            The step sizes, differentiable; each cell's own by default.
        reset : bool tensor, (L,) or (L, N) ((N, L) if batch_first), optional
            Where true, the state is zero before that step reads its input: the first step of an episode.
        hx
            torch's name of `state`.

        Returns
        -------
        output : y of the last layer for every n, shaped as u with d (times num_directions) features
        (y_n, z_n) : the last states of all layers, shaped as the initial ones

        Raises
        ------
        ValueError
            For a rank, number of features, batch, dtype or step that does not fit, a sequence without steps, a reset of a
            bidirectional network or of a packed sequence, a NestedTensor.
        TypeError
            For an input or dt that is not a tensor (a number, for dt).

        Notes
        -----
        In float16 and bfloat16 small steps would be lost to rounding. So a network with such parameters runs in float32 and returns
        its output in the dtype of the parameters, its state in float32; under torch.autocast it runs, and returns both, in
        the dtype of the parameters, whatever that of the input.

        An exported program, torch.jit.trace's too, is loaded after ``import lemode``, which registers its operators.

        Examples
        --------
        At uneven times, the step is the time between two inputs:

        >>> rnn, t = LEM(1, 8), torch.tensor([0.0, 0.3, 0.4, 1.1])
        >>> output, _ = rnn(torch.randn(3, 5, 1), dt=t.diff())
        >>> output.shape
        torch.Size([3, 5, 8])
        """
        state = either(state, hx)
        if isinstance(u, PackedSequence):
            return self._forward_packed(u, state, dt, reset)
        if isinstance(dt, PackedSequence):
            raise ValueError("dt is a PackedSequence and the input is not: pack both, or neither.")
        parameters = _check_input(u, self._cell(0).ode, ranks=(2, 3), layout=self._layout())
        dtype = state_dtype(parameters)
        unbatched = u.dim() == 2
        batch_first = self.batch_first and not unbatched
        seq = u.unsqueeze(1) if unbatched else u.transpose(0, 1) if batch_first else u
        L, N, _ = seq.shape
        if L == 0:
            raise ValueError(f"input of shape {tuple(u.shape)} has no time steps: give at least one.")
        initial = self._initial(state, N, u, dtype, unbatched)
        step = None if dt is None else self._steps(dt, u, L, N, dtype)
        fresh = None if reset is None else self._resets(reset, u, L, N)
        out, y_n, z_n = self._run(seq, initial, step, Path(reset=fresh), parameters)
        if unbatched:
            return out.squeeze(1), (y_n.squeeze(1), z_n.squeeze(1))
        return (out.transpose(0, 1) if batch_first else out), (y_n, z_n)

    def states(
        self,
        u: Tensor,
        state: State | None = None,
        dt: float | Tensor | None = None,
        reset: Tensor | None = None,
        *,
        hx: State | None = None,
    ) -> list[State]:
        """Every layer's ``(y, z)`` for all n, each ``(L, N, d)``, for u ``(L, N, m)`` (time first, without dropout).

        dt and reset are those of `forward`, time first.

        Raises
        ------
        ValueError
            For an input that is not ``(L, N, m)``, or a bidirectional network.

        Examples
        --------
        >>> rnn = LEM(3, 8, num_layers=2)
        >>> layers = rnn.states(torch.randn(100, 5, 3))
        >>> len(layers), layers[1][1].shape  # z of the second layer
        (2, torch.Size([100, 5, 8]))
        """
        dtype = state_dtype(_check_input(u, self._cell(0).ode, ranks=(3,), layout="(L, N, input_size)"))
        if self.bidirectional:
            raise ValueError("states() needs a causal network; this one is bidirectional.")
        L, N, _ = u.shape
        initial = self._initial(either(state, hx), N, u, dtype, unbatched=False)
        step = None if dt is None else self._steps(dt, u, L, N, dtype, time_first=True)
        path = Path(reset=None if reset is None else self._resets(reset, u, L, N, time_first=True))
        layers: list[State] = []
        with without_autocast(u):
            u = u.to(dtype)
            for cell, start in zip(self.cells, initial):
                ys, zs, _, _ = cell(u, start, step, along=(self._recursion, path))
                layers.append((ys, zs))
                u = ys
        return layers

    def refine(self, k: float) -> LEM:
        r"""The same ODE run with the step dt/k, on a grid k times finer; the result shares this network's parameters.

        It reads k inputs for each of this network's: those of the finer grid, or each of the old ones repeated, as LEM holds
        :math:`u_n` on :math:`(t_{n-1}, t_n]`,

        .. code-block:: python

            output, _ = rnn.refine(k)(u.repeat_interleave(k, 0))
            output[k - 1 :: k]    # at the times of rnn(u)[0]

        As k grows this tends to the ODE's solution, `lemode.solve` with ``Samples(t, u)``, with the order of the scheme: the error is
        divided by k, or by :math:`k^2` for 'strang'. With several layers the limit is the chain of ODEs in which each is driven
        by the y of the one below, and the order is one, as a layer reads the y at the end of its step.
        ``theory/local_and_global_error.py``, ``theory/strang_step.py``.

        Parameters
        ----------
        k : float
            Positive; below 1 it coarsens, as long as the scheme admits dt/k.

        Raises
        ------
        ValueError
            If k is not positive, or the scheme does not admit dt/k.

        Examples
        --------
        >>> rnn = LEM(1, 4, dt=0.5)
        >>> fine = rnn.refine(2)
        >>> fine.dt, fine.cells[0].ode is rnn.cells[0].ode
        (0.25, True)
        """
        if not (math.isfinite(k) and k > 0):
            raise ValueError(f"k={k!r}: give a positive number, by which the step is divided.")
        for cell in self.layers():
            cell.scheme.check_dt(cell.dt / k, cell.allow_large_dt)
        fine = copy.deepcopy(self, {id(cell.ode): cell.ode for cell in self.layers()})  # the ODEs stay the same objects
        for cell in fine.layers():
            cell.dt /= k
        return fine

    def _layout(self) -> str:
        return f"{'(N, L, input_size)' if self.batch_first else '(L, N, input_size)'} or (L, input_size)"

    def _initial(self, state: State | None, N: int, u: Tensor, dtype: torch.dtype, unbatched: bool) -> list[State]:
        """One for each cell."""
        k, d = len(self.cells), self.hidden_size
        if state is None:
            zero = u.new_zeros(N, d, dtype=dtype)
            return [(zero, zero)] * k
        y, z = checked_state(state, (k, d) if unbatched else (k, N, d), u, dtype)
        if unbatched:
            y, z = y.unsqueeze(1), z.unsqueeze(1)
        return list(zip(y.unbind(0), z.unbind(0)))

    def _shapes(self, u: Tensor, L: int, N: int, time_first: bool) -> dict[str, tuple[int, ...]]:
        """The shapes of what goes with the steps of u, by what to call them."""
        one = {"one for each step": (L,)}
        if u.dim() == 2:
            return one | {"": (L, 1)}  # admitted, not advertised
        if self.batch_first and not time_first:
            return one | {"one for each sample and step": (N, L), "": (1, L)}
        return one | {"one for each step and sample": (L, N), "": (L, 1)}

    def _time_first(self, x: Tensor, u: Tensor, time_first: bool) -> Tensor:
        """(L, 1) or (L, N)."""
        if x.dim() < 2:
            return x.unsqueeze(-1)
        return x.transpose(0, 1) if self.batch_first and u.dim() == 3 and not time_first else x

    def _steps(
        self, dt: float | Tensor, u: Tensor, L: int, N: int, dtype: torch.dtype, time_first: bool = False
    ) -> float | Tensor:  # fmt: skip
        step = checked_steps(dt, self._shapes(u, L, N, time_first), u, dtype, self.layers())
        if not isinstance(step, Tensor):
            return step
        return self._time_first(step, u, time_first) if step.dim() else step.expand(L, 1)

    def _resets(self, reset: Tensor, u: Tensor, L: int, N: int, time_first: bool = False) -> Tensor:
        if self.bidirectional:
            raise ValueError("reset needs a causal network; this one is bidirectional.")
        return self._time_first(checked_reset(reset, self._shapes(u, L, N, time_first)), u, time_first)

    def _recursion(
        self, ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        return kernels.run(ode, scheme, u, y0, z0, dt, self.backend, self.memory, self.tol)

    def _run(
        self, seq: Tensor, initial: list[State], dt: float | Tensor | None, path: Path, parameters: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        y_n, z_n, outs = [], [], []
        with without_autocast(seq):
            if seq.dtype != (dtype := state_dtype(parameters)):
                seq = seq.to(dtype)
            for k, (cell, start) in enumerate(zip(self.cells, initial)):
                backwards = self.bidirectional and k % 2 == 1
                ys, _, y, z = cell(seq, start, dt, along=(self._recursion, path._replace(reverse=True) if backwards else path))
                y_n.append(y)
                z_n.append(z)
                outs.append(ys)
                if len(outs) < self.num_directions:
                    continue
                seq = torch.cat(outs, -1) if self.bidirectional else ys
                outs = []
                if self.dropout and k < len(self.cells) - 1:
                    seq = apply_dropout(seq, self.dropout, self.training)
            if dtype != parameters:
                seq = seq.to(parameters)
        return seq, torch.stack(y_n), torch.stack(z_n)

    def _forward_packed(
        self, packed: PackedSequence, state: State | None, dt: float | Tensor | PackedSequence | None, reset: Tensor | None
    ) -> tuple[PackedSequence, State]:
        data, sizes, order, back = packed
        parameters = _check_input(data, self._cell(0).ode, ranks=(2,), layout="packed (L, N, input_size)")
        dtype = state_dtype(parameters)
        if reset is not None:
            raise ValueError("reset of a packed input: pack each episode as a sequence of its own.")
        if isinstance(dt, PackedSequence):
            if not _packed_alike(dt, packed):
                raise ValueError(
                    "dt is packed differently from the input: pack one step size for each entry, in the same order."
                )
            dt = dt.data
        elif isinstance(dt, Tensor) and dt.dim():
            raise ValueError(
                f"dt of shape {tuple(dt.shape)}, the input is packed: give a number, or pack the steps as the input."
            )
        if dt is not None:
            dt = checked_steps(dt, {"packed, one for each entry": (len(data),)}, data, dtype, self.layers())
            dt = dt.expand(len(data)) if isinstance(dt, Tensor) else dt
        if state is not None and order is not None:
            self._initial(state, int(sizes[0]), data, dtype, unbatched=False)  # checked before it is indexed
            state = state[0].index_select(1, order), state[1].index_select(1, order)
        initial = self._initial(state, int(sizes[0]), data, dtype, unbatched=False)
        out, y_n, z_n = self._run(data, initial, dt, Path(batch_sizes=sizes), parameters)
        if back is not None:
            y_n, z_n = y_n.index_select(1, back), z_n.index_select(1, back)
        return PackedSequence(out, sizes, order, back), (y_n, z_n)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("num_layers", 1), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False), ("backend", "auto"),
            ("memory", "full"), ("tol", None),
        ):  # fmt: skip
            value = getattr(self, name)
            text += "" if value == default else f", {name}={value!r}"
        return text


def _packed_alike(a: PackedSequence, b: PackedSequence) -> bool:
    if a.data.dim() != 1 or not torch.equal(a.batch_sizes, b.batch_sizes):
        return False
    if a.sorted_indices is None or b.sorted_indices is None:
        return a.sorted_indices is b.sorted_indices
    return torch.equal(a.sorted_indices, b.sorted_indices)


def _check_input(u: Tensor, ode: MultiscaleODE, ranks: tuple[int, ...], layout: str) -> torch.dtype:
    """The dtype of the parameters, which costs something to ask where they are parametrized."""
    check_tensor(u, layout)
    if u.dim() not in ranks:
        raise ValueError(f"input has {u.dim()} dimensions, shape {tuple(u.shape)}: give {layout}.")
    if u.shape[-1] != ode.input_size:
        raise ValueError(f"input has {u.shape[-1]} features, the network reads input_size={ode.input_size}: give {layout}.")
    dtype = ode.weight_ih.dtype
    check_dtype(u, dtype)
    return dtype
