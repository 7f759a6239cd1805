"""LEM as torch layers: a scheme run along a sequence, with the conventions of torch.nn.LSTM."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as apply_dropout
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from . import kernels
from .ode import MultiscaleODE
from .schemes import get_scheme

__all__ = ["LEM", "LEMCell"]

State = tuple[Tensor, Tensor]


class LEMCell(nn.Module):
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
        self.scheme = get_scheme(scheme)
        self.scheme.check_dt(dt, allow_large_dt)
        self.dt, self.allow_large_dt = float(dt), allow_large_dt
        self.ode = MultiscaleODE(input_size, hidden_size, bias, device=device, dtype=dtype)

    def forward(self, u: Tensor, state: State | None = None) -> State:
        """``(y, z)`` after one step: u ``(N, m)`` or ``(m,)``, state ``(y, z)`` each ``(N, d)`` or ``(d,)``, zero by default."""
        _check_input(u, self.ode, ranks=(1, 2), layout="(N, input_size) or (input_size,)")
        if state is None:
            y = z = u.new_zeros(*u.shape[:-1], self.ode.hidden_size)
        else:
            y, z = state
            _check_state((y, z), (*u.shape[:-1], self.ode.hidden_size), u)
        return self.scheme.step(self.ode, (y, z), u, self.dt)

    def extra_repr(self) -> str:
        return f"dt={self.dt:g}, scheme={self.scheme.name!r}"


class LEM(nn.Module):
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
    backend : {'auto', 'native', 'torch', 'reference'}
        How the recursion is run, see `lemode.kernels`. Same results; 'auto' takes the fastest there is.
    memory : {'full', 'low'}
        With 'low' the native backend keeps y and z only for the derivative and computes the gates again: a third of the memory.
    device, dtype
        As for every torch module.

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
    ) -> None:
        super().__init__()
        if not isinstance(num_layers, int) or num_layers < 1:
            raise ValueError(f"num_layers={num_layers!r}: give a positive integer.")
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"dropout={dropout!r}: give a probability between 0 and 1.")
        if backend not in kernels.BACKENDS:
            raise ValueError(f"backend={backend!r}: known backends are {', '.join(kernels.BACKENDS)}.")
        if memory not in ("full", "low"):
            raise ValueError(f"memory={memory!r}: give 'full' or 'low'.")
        self.memory = memory
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
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
        """The step size given at construction."""
        return self._cell(0).dt

    def layers(self) -> list[LEMCell]:
        """The cells as a plain list."""
        return [cell for cell in self.cells if isinstance(cell, LEMCell)]

    def _cell(self, k: int) -> LEMCell:
        return self.layers()[k]

    def forward(
        self, u: Tensor | PackedSequence, state: State | None = None, dt: float | Tensor | PackedSequence | None = None
    ) -> tuple[Tensor | PackedSequence, State]:
        """Run the sequence.

        Parameters
        ----------
        u : (L, N, m), (N, L, m) if batch_first, (L, m), or a PackedSequence
        state : (y_0, z_0), each (num_layers * num_directions, N, d), without N for unbatched input; zero by default
        dt : number, (L,) or (L, N) tensor ((N, L) if batch_first), packed one by one like u if u is a PackedSequence
            The step sizes, differentiable; the one given at construction by default.

        Returns
        -------
        output : y of the last layer for every n, shaped as u with d (times num_directions) features
        (y_n, z_n) : the last states of all layers, shaped as the initial ones

        Raises
        ------
        ValueError
            For a rank, number of features, batch, dtype or step that does not fit, or a sequence without steps.

        Examples
        --------
        At uneven times, the step is the time between two inputs:

        >>> rnn, t = LEM(1, 8), torch.tensor([0.0, 0.3, 0.4, 1.1])
        >>> output, _ = rnn(torch.randn(3, 5, 1), dt=t.diff())
        >>> output.shape
        torch.Size([3, 5, 8])
        """
        if isinstance(u, PackedSequence):
            return self._forward_packed(u, state, dt)
        if isinstance(dt, PackedSequence):
            raise ValueError("dt is a PackedSequence and the input is not: pack both, or neither.")
        _check_input(u, self._cell(0).ode, ranks=(2, 3), layout=self._layout())
        unbatched = u.dim() == 2
        seq = u.unsqueeze(1) if unbatched else u.transpose(0, 1) if self.batch_first else u
        if state is not None and unbatched:
            _check_state(state, (len(self.cells), self.hidden_size), u)
            state = (state[0].unsqueeze(1), state[1].unsqueeze(1))
        if len(seq) == 0:
            raise ValueError(f"input of shape {tuple(u.shape)} has no time steps: give at least one.")
        out, (y_n, z_n) = self._run(seq, state, self._steps(dt, seq, self.batch_first and not unbatched), None)
        if unbatched:
            return out.squeeze(1), (y_n.squeeze(1), z_n.squeeze(1))
        return (out.transpose(0, 1) if self.batch_first else out), (y_n, z_n)

    def states(self, u: Tensor, state: State | None = None) -> list[State]:
        """Every layer's ``(y, z)`` for all n, each ``(L, N, d)``, for u ``(L, N, m)`` (time first, without dropout).

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
        _check_input(u, self._cell(0).ode, ranks=(3,), layout="(L, N, input_size)")
        if self.bidirectional:
            raise ValueError("states() needs a causal network; this one is bidirectional.")
        initial = self._initial(u, state)
        layers: list[State] = []
        for k, (y0, z0) in enumerate(initial):
            cell = self._cell(k)
            layers.append(kernels.run(cell.ode, cell.scheme, u, y0, z0, cell.dt, self.backend))
            u = layers[-1][0]
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
        by the y of the one below, and the order is one, as a layer reads the y at the end of its step. ``theory/local_and_global_error.py``,
        ``theory/strang_step.py``.

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

    def _initial(self, seq: Tensor, state: State | None) -> list[State]:
        N, k = seq.shape[1], len(self.cells)
        if state is None:
            zero = seq.new_zeros(N, self.hidden_size)
            return [(zero, zero)] * k
        _check_state(state, (k, N, self.hidden_size), seq)
        return list(zip(state[0].unbind(0), state[1].unbind(0), strict=True))

    def _steps(self, dt: float | Tensor | None, seq: Tensor, batch_first: bool) -> float | Tensor:
        """The step sizes as a number, (L, 1) or (L, N), checked against the scheme's range."""
        if dt is None:
            return self.dt
        scheme, allow = self._cell(0).scheme, self._cell(0).allow_large_dt
        if not isinstance(dt, Tensor) or dt.dim() == 0:
            scheme.check_dt(float(dt.detach() if isinstance(dt, Tensor) else dt), allow)
            return dt.to(seq.dtype).expand(len(seq), 1) if isinstance(dt, Tensor) else float(dt)
        if dt.dim() == 1:
            dt = dt.unsqueeze(1)
        elif batch_first:
            dt = dt.transpose(0, 1)
        L, N, _ = seq.shape
        if dt.dtype != seq.dtype or tuple(dt.shape) not in {(L, 1), (L, N)}:
            raise ValueError(
                f"dt of shape {tuple(dt.shape)} and {dt.dtype}: give a number, ({L},) or one step per sample ({L}, {N}), as {seq.dtype}."
            )
        if dt.numel():
            low, high = float(dt.detach().min()), float(dt.detach().max())
            scheme.check_dt(low, allow)
            scheme.check_dt(high, allow)
        return dt

    def _run(self, seq: Tensor, state: State | None, dt: float | Tensor, lengths: Tensor | None) -> tuple[Tensor, State]:
        y_n, z_n = [], []
        initial = self._initial(seq, state)
        for layer in range(self.num_layers):
            outs = []
            for direction in range(self.num_directions):
                k = layer * self.num_directions + direction
                cell, (y0, z0) = self._cell(k), initial[k]
                # a backward cell reads the reversed sequence (each sample reversed within its own length)
                u = _reverse(seq, lengths) if direction else seq
                step = _reverse(dt.unsqueeze(-1), lengths).squeeze(-1) if direction and isinstance(dt, Tensor) else dt
                ys, zs = kernels.run(cell.ode, cell.scheme, u, y0, z0, step, self.backend, self.memory)
                y_n.append(_last(ys, lengths))
                z_n.append(_last(zs, lengths))
                outs.append(_reverse(ys, lengths) if direction else ys)
            seq = torch.cat(outs, -1) if self.bidirectional else outs[0]
            if self.dropout and layer < self.num_layers - 1:
                seq = apply_dropout(seq, self.dropout, self.training)
        return seq, (torch.stack(y_n), torch.stack(z_n))

    def _forward_packed(
        self, packed: PackedSequence, state: State | None, dt: float | Tensor | PackedSequence | None
    ) -> tuple[PackedSequence, State]:
        # the recursion is causal, so what follows a sample's end cannot reach what is kept: padding needs no mask
        seq, lengths = pad_packed_sequence(packed)
        _check_input(seq, self._cell(0).ode, ranks=(3,), layout="packed (L, N, input_size)")
        if isinstance(dt, PackedSequence):
            if not _packed_alike(dt, packed):
                raise ValueError(
                    "dt is packed differently from the input: pack one step size for each entry, in the same order."
                )
            dt, _ = pad_packed_sequence(dt, padding_value=self.dt)  # any admissible step: nothing is read of what it makes
        elif isinstance(dt, Tensor) and dt.dim():
            raise ValueError(
                f"dt of shape {tuple(dt.shape)}, the input is packed: give a number, or pack the steps as the input."
            )
        out, last = self._run(seq, state, self._steps(dt, seq, False), lengths.to(seq.device))
        return pack_padded_sequence(out, lengths, enforce_sorted=packed.sorted_indices is None), last

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("num_layers", 1), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False), ("backend", "auto"),
            ("memory", "full"),
        ):  # fmt: skip
            value = getattr(self, name)
            text += "" if value == default else f", {name}={value!r}"
        return text


def _reverse(seq: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return seq.flip(0)
    n = torch.arange(len(seq), device=seq.device).unsqueeze(1)
    index = torch.where(n < lengths, lengths - 1 - n, n)
    return seq.gather(0, index.unsqueeze(-1).expand(-1, -1, seq.shape[-1]))


def _packed_alike(a: PackedSequence, b: PackedSequence) -> bool:
    if a.data.dim() != 1 or not torch.equal(a.batch_sizes, b.batch_sizes):
        return False
    if a.sorted_indices is None or b.sorted_indices is None:
        return a.sorted_indices is b.sorted_indices
    return torch.equal(a.sorted_indices, b.sorted_indices)


def _last(states: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return states[-1]
    return states[lengths - 1, torch.arange(states.shape[1], device=states.device)]


def _check_input(u: Tensor, ode: MultiscaleODE, ranks: tuple[int, ...], layout: str) -> None:
    if not isinstance(u, Tensor):
        raise TypeError(f"input is {type(u).__name__}: give a torch tensor {layout}.")
    if u.dim() not in ranks:
        raise ValueError(f"input has {u.dim()} dimensions, shape {tuple(u.shape)}: give {layout}.")
    if u.shape[-1] != ode.input_size:
        raise ValueError(f"input has {u.shape[-1]} features, the network reads input_size={ode.input_size}: give {layout}.")
    if u.dtype != ode.weight_ih.dtype:
        raise ValueError(
            f"input is {u.dtype}, the parameters are {ode.weight_ih.dtype}: convert one, e.g. input.to({ode.weight_ih.dtype}) or "
            f"network.to({u.dtype if u.dtype.is_floating_point else torch.float32})."
        )


def _check_state(state: State, shape: tuple[int, ...], u: Tensor) -> None:
    if not (isinstance(state, tuple | list) and len(state) == 2):
        raise ValueError("state: give a pair (y, z) of tensors.")
    for name, s in zip("yz", state, strict=True):
        if tuple(s.shape) != shape:
            raise ValueError(f"initial {name} has shape {tuple(s.shape)}: this input needs {shape}.")
        if s.dtype != u.dtype:
            raise ValueError(f"initial {name} is {s.dtype}, the input is {u.dtype}: convert one of them.")
