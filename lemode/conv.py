"""LEM on a grid: the recursion with convolutions for its weight blocks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, pad

from . import kernels
from .kernels import conv_adjoint, reference
from .kernels.adjoint import LEAKS
from .lem import LEM, State, _check_state
from .ode import Blocks, MultiscaleODE
from .schemes import get_scheme

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
        return (conv1d if self.dim == 1 else conv2d)(_padded(x, weight.shape[2:], self.padding), weight, bias)

    def jacobian(self, y: Tensor, z: Tensor, u: Tensor) -> Tensor:
        """Not available: a matrix of (2 d points) squared. torch.func.jvp and torch.func.vjp give its products."""
        raise NotImplementedError(
            "the Jacobian of a field is not formed: use torch.func.jvp or torch.func.vjp for its products."
        )

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}, kernel_size={_shown(self.weight_ih)}, padding={self.padding!r}"
        return text + f", recurrent_kernel_size={_shown(self.weight_hh)}, z_kernel_size={_shown(self.weight_zy)}"


class ConvLEM(nn.Module):
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
    backend : {'auto', 'native', 'torch', 'reference'}
        How the recursion is run: same results. 'native' is for recurrent widths of 1; 'torch' has its derivative by hand, once
        differentiable; 'reference' is the plain loop over torch's convolution. 'auto' takes the fastest there is.
    device, dtype
        As for every torch module.

    Attributes
    ----------
    ode : ConvODE
        The parameters ``weight_ih``, ``weight_hh``, ``weight_zy``, ``bias``, and the ODE that the layer discretizes.

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
    ) -> None:
        super().__init__()
        if backend not in kernels.BACKENDS:
            raise ValueError(f"backend={backend!r}: known backends are {', '.join(kernels.BACKENDS)}.")
        self.scheme = get_scheme(scheme)
        self.scheme.check_dt(dt, allow_large_dt)
        self.dt, self.backend = float(dt), backend
        self.ode = ConvODE(
            channels, hidden_size, kernel_size, dim, padding, recurrent_kernel_size, z_kernel_size, device=device, dtype=dtype
        )

    def blocks(self) -> Blocks:
        """The paper's twelve blocks, as views of the stacked parameters: ``W* (d, d, *kernel)``, ``V* (d, channels, *kernel)``, ``b* (d,)``."""
        return self.ode.blocks()

    def forward(self, u: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run the sequence.

        Parameters
        ----------
        u : (T, n, channels, *grid)
        state : (y_0, z_0), each (n, hidden_size, *grid); zero by default

        Returns
        -------
        output : (T, n, hidden_size, *grid), y for every step
        (y_n, z_n) : the last state, shaped as the initial one
        """
        self._check(u)
        shape = (u.shape[1], self.ode.hidden_size, *u.shape[3:])
        if state is None:
            y = z = u.new_zeros(shape)
        else:
            _check_state(state, shape, u)
            y, z = state
        backend = self._choose()
        if backend == "reference":
            ys, zs = reference.run(self.ode, self.scheme, u, y, z, self.dt)
            z_n = zs[-1]
        elif backend == "torch on the grid":
            ys, z_n = conv_adjoint.run(self.ode, self.scheme, u, y, z, self.dt, self.ode.padding == "circular")
        else:
            ys, z_n = self._pointwise(u, y, z, backend)
        return ys, (ys[-1], z_n)

    def _choose(self) -> str:
        # what looks into the operations needs operations that it can look into
        looked_into = torch._C._are_functorch_transforms_active() or torch.compiler.is_compiling()
        if self.backend == "reference" or (self.backend == "auto" and looked_into):
            return "reference"
        if not self._wide():
            return self.backend
        if self.backend == "native":
            raise ValueError("backend='native' runs recurrent kernels of width 1; use backend='auto' for wider ones.")
        if self.scheme.name in LEAKS:
            return "torch on the grid"
        if self.backend == "auto":
            return "reference"
        raise ValueError(f"backend={self.backend!r} runs {', '.join(LEAKS)}; use backend='reference' for {self.scheme.name!r}.")

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
        if self._wide():
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
        p = self.ode
        around = _windows(u.flatten(0, 1), p.weight_ih.shape[2:], p.padding)
        return around.view(len(u), u.shape[1] * u.shape[3:].numel(), p.weight_ih[0].numel())

    def _pointwise(self, u: Tensor, y: Tensor, z: Tensor, backend: str) -> State:
        """Every point of every sample as a sample of a dense LEM, whose input is the field around the point."""
        T, n, grid, d = len(u), u.shape[1], u.shape[3:], self.ode.hidden_size
        p = self.ode
        dense = MultiscaleODE.from_tensors(p.weight_ih.flatten(1), p.weight_hh.flatten(1), p.weight_zy.flatten(1), p.bias)
        y0, z0 = (s.movedim(1, -1).reshape(-1, d) for s in (y, z))
        ys, zs = kernels.run(dense, self.scheme, self.windows(u), y0, z0, self.dt, backend)
        return ys.view(T, n, *grid, d).movedim(-1, 2), zs[-1].view(n, *grid, d).movedim(-1, 1)

    def _wide(self) -> bool:
        return max(*self.ode.weight_hh.shape[2:], *self.ode.weight_zy.shape[2:]) > 1

    def _check(self, u: Tensor) -> None:
        layout = "(T, n, channels, length)" if self.ode.dim == 1 else "(T, n, channels, height, width)"
        if not isinstance(u, Tensor):
            raise TypeError(f"input is {type(u).__name__}: give a torch tensor {layout}.")
        if u.dim() != self.ode.dim + 3:
            raise ValueError(f"input has {u.dim()} dimensions, shape {tuple(u.shape)}: give {layout}.")
        if u.shape[2] != self.ode.input_size:
            raise ValueError(
                f"input has {u.shape[2]} channels, the network reads channels={self.ode.input_size}: give {layout}."
            )
        if u.dtype != self.ode.weight_ih.dtype:
            raise ValueError(
                f"input is {u.dtype}, the parameters are {self.ode.weight_ih.dtype}: convert one, e.g. "
                f"input.to({self.ode.weight_ih.dtype})."
            )
        if not len(u) or not u.shape[3:].numel():
            raise ValueError(f"input of shape {tuple(u.shape)}: give at least one time step and one point of the grid.")
        if self.ode.padding == "circular":
            for w in (self.ode.weight_ih, self.ode.weight_hh, self.ode.weight_zy):
                if any(k > g for k, g in zip(w.shape[2:], u.shape[3:])):
                    raise ValueError(
                        f"a kernel of width {_shown(w)} is wider than the periodic grid {tuple(u.shape[3:])}: "
                        "use a narrower one, or padding='zeros'."
                    )

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


def _padded(x: Tensor, kernel: torch.Size, padding: str) -> Tensor:
    if kernel.numel() == 1:
        return x
    edges = [k // 2 for k in reversed(kernel) for _ in range(2)]  # torch counts from the last dimension
    return pad(x, edges, mode="circular" if padding == "circular" else "constant")


def _windows(x: Tensor, kernel: torch.Size, padding: str) -> Tensor:
    """What a kernel sees at each point of x ``(n, m, *grid)``: ``(n, *grid, m, *kernel)``, contiguous."""
    x = _padded(x, kernel, padding)
    for axis, k in enumerate(kernel, start=2):
        x = x.unfold(axis, k, 1)
    return x.movedim(1, 1 + len(kernel)).contiguous()
