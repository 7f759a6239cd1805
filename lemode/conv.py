"""LEM on a grid: the recursion with convolutions for its weight blocks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as apply_dropout

from . import kernels
from .kernels import fields
from .lem import LEM
from .ode import Blocks, MultiscaleODE
from .schemes import Scheme, get_scheme
from .sequence import (
    Path,
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

__all__ = ["ConvLEM", "ConvODE"]

PADDINGS = ("circular", "zeros")
Width = int | tuple[int, ...]


class ConvODE(MultiscaleODE):
    r"""The multiscale ODE of a field: `MultiscaleODE` with a convolution for each weight block.

    .. math::

        \dot y = \hat\sigma(W_2 * y + V_2 * u + b_2) \odot (\tanh(W_y * z + V_y * u + b_y) - y), \qquad
        \dot z = \hat\sigma(W_1 * y + V_1 * u + b_1) \odot (\tanh(W_z * y + V_z * u + b_z) - z)

    with y and z ``(n, d, *grid)`` and u ``(n, channels, *grid)``; as everywhere in torch the kernel is not reflected,
    :math:`(W * y)_i(x) = \sum_{j, s} W_{ij}(s)\, y_j(x + s)`, s from -h to h for a kernel of width 2 h + 1.

    Parameters
    ----------
    channels, hidden_size : int
        Components m of the input field; components d of y and of z.
    kernel_size, recurrent_kernel_size, z_kernel_size
        Odd widths, a number or one for each direction of the grid: of V1, V2, Vz, Vy; of W1, W2, Wz; of Wy.
    dim : {1, 2}
        Directions of the grid.
    padding : {'circular', 'zeros'}
        What the kernels see beyond the edge of the grid: a periodic field, or zero.
    device, dtype
        As for every torch module.

    Attributes
    ----------
    weight_ih : (4 d, channels, *kernel)
        V1, V2, Vz, Vy, stacked.
    weight_hh : (3 d, d, *kernel)
        W1, W2, Wz, stacked: what acts on y.
    weight_zy : (d, d, *kernel)
        Wy: what acts on z.
    bias : (4 d,)
        b1, b2, bz, by, stacked.

    Examples
    --------
    >>> ode = ConvODE(channels=1, hidden_size=4, kernel_size=5)
    >>> y = torch.zeros(2, 4, 32)
    >>> dy, dz = ode(y, y, torch.ones(2, 1, 32))
    >>> dy.shape, ode.blocks().Vz.shape
    (torch.Size([2, 4, 32]), torch.Size([4, 1, 5]))
    """

    bias: Tensor

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        kernel_size: Width,
        dim: int = 1,
        padding: str = "circular",
        recurrent_kernel_size: Width = 1,
        z_kernel_size: Width | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if dim not in (1, 2):
            raise ValueError(f"dim={dim!r}: give 1 or 2, the directions of the grid.")
        if padding not in PADDINGS:
            raise ValueError(f"padding={padding!r}: give 'circular' or 'zeros'.")
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise ValueError(f"channels={channels!r}: give a positive integer.")
        super().__init__(channels, hidden_size, device="meta", dtype=dtype)
        self.dim, self.padding = dim, padding
        of_u = _kernel("kernel_size", kernel_size, dim)
        of_y = _kernel("recurrent_kernel_size", recurrent_kernel_size, dim)
        of_z = of_y if z_kernel_size is None else _kernel("z_kernel_size", z_kernel_size, dim)
        m, d = channels, hidden_size
        self.weight_ih = nn.Parameter(torch.empty(4 * d, m, *of_u, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(3 * d, d, *of_y, device=device, dtype=dtype))
        self.weight_zy = nn.Parameter(torch.empty(d, d, *of_z, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(4 * d, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every weight from U(-1/sqrt(k), 1/sqrt(k)), k the numbers that one output sums over, and the bias with k = d."""
        with torch.no_grad():
            for p in self.parameters():
                bound = 1.0 / math.sqrt(p[0].numel() if p.dim() > 1 else self.hidden_size)
                p.uniform_(-bound, bound, generator=generator)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """How a block acts: on x ``(n, features, *grid)``, as a convolution whose result lies on the same grid."""
        return fields.convolve(x, weight, bias, self.padding == "circular")

    def jacobian(self, y: Tensor, z: Tensor, u: Tensor) -> Tensor:
        """Not available: a matrix of (2 d points) squared. torch.func.jvp and torch.func.vjp give its products."""
        raise NotImplementedError(
            "the Jacobian of a field is not formed: use torch.func.jvp or torch.func.vjp for its products."
        )

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}, kernel_size={_shown(self.weight_ih)}, padding={self.padding!r}"
        return text + f", recurrent_kernel_size={_shown(self.weight_hh)}, z_kernel_size={_shown(self.weight_zy)}"


class ConvLEM(Stepped):
    r"""Long Expressive Memory of a field on a grid: the LEM step with convolutions for its weight blocks.

    .. math::

        z_n &= z_{n-1} + \Delta t\, \hat\sigma(W_1 * y_{n-1} + V_1 * u_n + b_1) \odot (\tanh(W_z * y_{n-1} + V_z * u_n + b_z) - z_{n-1}) \\
        y_n &= y_{n-1} + \Delta t\, \hat\sigma(W_2 * y_{n-1} + V_2 * u_n + b_2) \odot (\tanh(W_y * z_n + V_y * u_n + b_y) - y_{n-1})

    Equation (3) of arXiv:2110.04744 with :math:`*` in the place of the products. At each point of the grid a step is still a convex
    combination of the old state and a hyperbolic tangent, so that the bounds on the state hold point by point, in floating point
    too: from a state in the unit cube :math:`|y_n|, |z_n| \le 1` for :math:`0 < \Delta t \le 1`; ``theory/state_bounds.py``,
    ``theory/floating_point.py``. With circular padding the step commutes with translations of the grid.

    Parameters
    ----------
    channels, hidden_size : int
        Components of the input field; components d of y and of z.
    kernel_size : int or tuple
        Odd width of V1, V2, Vz, Vy; one for each direction, or one for all.
    dim : {1, 2}
        Directions of the grid.
    padding : {'circular', 'zeros'}
        What the kernels see beyond the edge: a periodic field, or zero.
    recurrent_kernel_size : int or tuple
        Odd width of W1, W2, Wz, which act on y. If it and that of Wy are 1, the points of the grid are the samples of a dense LEM that
        reads the input around each, and are run as such.
    dt, scheme, allow_large_dt
        See `LEMCell`.
    z_kernel_size : int or tuple, optional
        Odd width of Wy, which acts on z; `recurrent_kernel_size` by default.
    num_layers, batch_first, dropout, bidirectional
        As for `LEM`: layers and the reading of fields ``(n, T, ...)``; every layer has kernels of the same widths.
    backend : {'auto', 'native', 'torch', 'reference', 'parallel', 'triton'}
        How the recursion is run: same results. 'native' is for recurrent widths of 1; 'torch' has its derivative by hand, once
        differentiable; 'reference' is the plain loop over torch's convolution. 'auto' takes the fastest there is.
    device, dtype
        As for every torch module.

    Attributes
    ----------
    ode : ConvODE
        The parameters ``weight_ih``, ``weight_hh``, ``weight_zy``, ``bias``, and the ODE that the layer discretizes.
    more : nn.ModuleList of ConvODE
        The ODEs after the first, if there are several layers or two directions; `odes` lists all.

    Raises
    ------
    ValueError
        For a bad size, an even width, a kernel wider than a periodic grid, a bad dt, scheme or backend, or a tensor that does not fit.

    Examples
    --------
    >>> rnn = ConvLEM(channels=1, hidden_size=8, kernel_size=9)
    >>> output, (y_n, z_n) = rnn(torch.randn(24, 5, 1, 64))
    >>> output.shape, y_n.shape
    (torch.Size([24, 5, 8, 64]), torch.Size([5, 8, 64]))
    """

    def __init__(
        self,
        channels: int,
        hidden_size: int,
        kernel_size: Width,
        dim: int = 1,
        padding: str = "circular",
        recurrent_kernel_size: Width = 1,
        dt: float = 1.0,
        scheme: str = "imex",
        dtype: torch.dtype | None = None,
        device: Any = None,
        backend: str = "auto",
        z_kernel_size: Width | None = None,
        allow_large_dt: bool = False,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        if backend not in kernels.BACKENDS:
            raise ValueError(f"backend={backend!r}: known backends are {', '.join(kernels.BACKENDS)}.")
        check_layers(num_layers, dropout)
        self.scheme, self.allow_large_dt = get_scheme(scheme), allow_large_dt
        self.dt, self.backend = dt, backend
        self.num_layers, self.batch_first, self.dropout, self.bidirectional = num_layers, batch_first, dropout, bidirectional
        self.num_directions = 2 if bidirectional else 1
        self.ode, *more = (
            ConvODE(
                channels if layer == 0 else hidden_size * self.num_directions, hidden_size, kernel_size, dim, padding,
                recurrent_kernel_size, z_kernel_size, device=device, dtype=dtype,
            )
            for layer in range(num_layers)
            for _ in range(self.num_directions)
        )  # fmt: skip
        self.more = nn.ModuleList(more)

    def odes(self) -> list[ConvODE]:
        """The ODE of each layer (two if bidirectional: forward, backward)."""
        return [self.ode, *(ode for ode in self.more if isinstance(ode, ConvODE))]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter anew, as `ConvODE.reset_parameters`."""
        for ode in self.odes():
            ode.reset_parameters(generator)

    def blocks(self) -> Blocks:
        """The paper's twelve blocks, as views of the stacked parameters.

        Their shapes are ``W* (d, d, *kernel)``, ``V* (d, channels, *kernel)``, ``b* (d,)``.
        """
        return self.ode.blocks()

    def forward(
        self,
        u: Tensor,
        state: State | None = None,
        dt: float | Tensor | None = None,
        reset: Tensor | None = None,
        *,
        hx: State | None = None,
    ) -> tuple[Tensor, State]:
        """Run the sequence.

        Parameters
        ----------
        u : (T, n, channels, *grid), (n, T, channels, *grid) if batch_first
        state : (y_0, z_0), each (n, hidden_size, *grid); zero by default
            With several layers or two directions (num_layers * num_directions, n, hidden_size, *grid).
        dt : number, (T,) or (T, n) tensor ((n, T) if batch_first)
            The step sizes, differentiable; the network's own by default.
        reset : bool tensor, (T,) or (T, n) ((n, T) if batch_first), optional
            Where true, the state is zero before that step reads its input.
        hx
            torch's name of `state`.

        Returns
        -------
        output : (T, n, hidden_size, *grid), y of the last layer for every step; (n, T, ...) if batch_first
            Twice as many components if bidirectional.
        (y_n, z_n) : the last states, shaped as the initial ones

        Notes
        -----
        Parameters of 16 bits, torch.autocast and exported programs: as for `LEM.forward`.
        """
        state = either(state, hx)
        dtype = state_dtype(self._check(u))
        x = u.transpose(0, 1) if self.batch_first else u
        (T, n), odes = x.shape[:2], self.odes()  # not len(x), which would fix the time axis of an exported program
        shape = (n, self.ode.hidden_size, *x.shape[3:])
        if len(odes) > 1:
            shape = (len(odes), *shape)
        y, z = (u.new_zeros(shape, dtype=dtype),) * 2 if state is None else checked_state(state, shape, u, dtype)
        initial = [(y, z)] if len(odes) == 1 else list(zip(y, z))
        one = {"one for each step": (T,)}
        shapes = one | (
            {"one for each sample and step": (n, T)} if self.batch_first else {"one for each step and sample": (T, n)}
        )
        step = self.dt if dt is None else checked_steps(dt, shapes, u, dtype, [self])
        if isinstance(step, Tensor):
            step = self._time_first(step) if step.dim() else step.expand(T, 1)
        if reset is not None:
            if self.bidirectional:
                raise ValueError("reset needs a causal network; this one is bidirectional.")
            reset = self._time_first(checked_reset(reset, shapes))
        wanted = self.ode.weight_ih.dtype
        last: list[State] = []
        with without_autocast(u):
            x = x.to(dtype)
            for layer in range(self.num_layers):
                outs = []
                for direction in range(self.num_directions):
                    path = Path(reverse=direction == 1, reset=reset)
                    ys, y, z = self._run(odes[len(last)], x, initial[len(last)], step, path)
                    outs.append(ys)
                    last.append((y, z))
                x = torch.cat(outs, 2) if self.bidirectional else outs[0]
                if self.dropout and layer < self.num_layers - 1:
                    x = apply_dropout(x, self.dropout, self.training)
        y_n, z_n = last[0]
        # stacked or cloned: the state is no view of the output
        end = (y_n.clone(), z_n) if len(odes) == 1 else (torch.stack([y for y, _ in last]), torch.stack([z for _, z in last]))
        return (x.transpose(0, 1) if self.batch_first else x).to(wanted), end

    def _time_first(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1) if x.dim() < 2 else x.transpose(0, 1) if self.batch_first else x

    def _run(self, ode: ConvODE, x: Tensor, state: State, dt: float | Tensor, path: Path) -> tuple[Tensor, Tensor, Tensor]:
        """Through the module's call, so that its hooks fire."""

        def along(plain: MultiscaleODE, y: Tensor, z: Tensor, x: Tensor) -> tuple[Tensor, ...]:
            ys, _, y, z = run_along(self._recursion, plain, self.scheme, x, (y, z), dt, path)
            return ys, y, z

        ys, y_n, z_n = ode(*state, x, along)
        return ys, y_n, z_n

    def _recursion(
        self, ode: MultiscaleODE, scheme: Scheme, u: Tensor, y: Tensor, z: Tensor, dt: float | Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The states; of z the last only."""
        ys, z_n = fields.run(ode, scheme, u, y, z, dt, self.ode.padding == "circular", self.backend)
        return ys, z_n.unsqueeze(0)

    def pointwise(self) -> LEM:
        """A copy as the dense LEM that every point of the grid runs on what `windows` shows it: all that holds for LEM holds for it.

        Raises
        ------
        ValueError
            For recurrent kernels wider than 1: no point is a LEM by itself.

        Examples
        --------
        >>> rnn = ConvLEM(channels=1, hidden_size=8, kernel_size=5)
        >>> u = torch.randn(24, 2, 1, 10)
        >>> dense, _ = rnn.pointwise()(rnn.windows(u))
        >>> torch.allclose(dense, rnn(u)[0].movedim(2, -1).flatten(1, 2), atol=1e-6)
        True
        """
        if self.more:
            raise ValueError(
                "pointwise() needs one layer of one direction: the input kernels of the next see what the points share."
            )
        if fields.is_wide(self.ode):
            raise ValueError("recurrent kernels wider than 1 join the points of the grid: there is no LEM for each.")
        p = self.ode
        dense = LEM(
            p.weight_ih[0].numel(), p.hidden_size, dt=self.dt, scheme=self.scheme.name, device=p.bias.device, dtype=p.bias.dtype,
            allow_large_dt=True,
        )  # fmt: skip
        (cell,) = dense.layers()
        with torch.no_grad():
            for name, value in p.named_parameters():
                getattr(cell.ode, name).copy_(value.flatten(1) if value.dim() > 1 else value)
        return dense

    def windows(self, u: Tensor) -> Tensor:
        """What the input kernels see at each point of u ``(T, n, channels, *grid)``: ``(T, n points, channels * kernel)``."""
        self._check(u)
        return fields.windows(u, self.ode.weight_ih.shape[2:], self.ode.padding == "circular")

    def _check(self, u: Tensor) -> torch.dtype:
        """The dtype of the parameters, for an input that fits them."""
        first = "n, T" if self.batch_first else "T, n"
        layout = f"({first}, channels, {'length' if self.ode.dim == 1 else 'height, width'})"
        check_tensor(u, layout)
        if u.dim() != self.ode.dim + 3:
            raise ValueError(f"input has {u.dim()} dimensions, shape {tuple(u.shape)}: give {layout}.")
        if u.shape[2] != self.ode.input_size:
            raise ValueError(
                f"input has {u.shape[2]} channels, the network reads channels={self.ode.input_size}: give {layout}."
            )
        dtype = self.ode.weight_ih.dtype
        check_dtype(u, dtype)
        if not u.shape[1 if self.batch_first else 0] or not u.shape[3:].numel():
            raise ValueError(f"input of shape {tuple(u.shape)}: give at least one time step and one point of the grid.")
        if self.ode.padding == "circular":
            for w in (self.ode.weight_ih, self.ode.weight_hh, self.ode.weight_zy):
                if any(k > g for k, g in zip(w.shape[2:], u.shape[3:])):
                    raise ValueError(
                        f"a kernel of width {_shown(w)} is wider than the periodic grid {tuple(u.shape[3:])}: "
                        "use a narrower one, or padding='zeros'."
                    )
        return dtype

    def extra_repr(self) -> str:
        return f"dt={self.dt:g}, scheme={self.scheme.name!r}" + (
            "" if self.backend == "auto" else f", backend={self.backend!r}"
        )


def _kernel(name: str, width: Width, dim: int) -> tuple[int, ...]:
    widths = tuple(width) if isinstance(width, tuple | list) else (width,) * dim
    if len(widths) != dim:
        raise ValueError(f"{name}={width!r}: give a number, or one for each of the {dim} directions of the grid.")
    if any(not isinstance(k, int) or isinstance(k, bool) or k < 1 or k % 2 == 0 for k in widths):
        raise ValueError(f"{name}={width!r}: give an odd positive integer, so that the kernel has a middle.")
    return widths


def _shown(weight: Tensor) -> str:
    widths = tuple(weight.shape[2:])
    return str(widths[0] if len(set(widths)) == 1 else widths)
