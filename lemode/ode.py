"""The multiscale ODE behind Long Expressive Memory: its parameters and its vector field."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["Blocks", "MultiscaleODE"]


class Blocks(NamedTuple):
    """The paper's parameters as views: ``W* (d, d)``, ``V* (d, m)``, ``b* (d,)``, in the order 1, 2, z, y.

    Examples
    --------
    >>> p = MultiscaleODE(input_size=2, hidden_size=3).blocks()
    >>> p.Wy.shape, p.V1.shape, p.b2.shape
    (torch.Size([3, 3]), torch.Size([3, 2]), torch.Size([3]))
    """

    W1: Tensor
    W2: Tensor
    Wz: Tensor
    Wy: Tensor
    V1: Tensor
    V2: Tensor
    Vz: Tensor
    Vy: Tensor
    b1: Tensor
    b2: Tensor
    bz: Tensor
    by: Tensor


Along = Callable[["MultiscaleODE", Tensor, Tensor, Tensor], tuple[Any, ...]]


class MultiscaleODE(nn.Module):
    r"""Two-variable ODE with learned, state-dependent time scales.

    .. math::

        \dot y = \hat\sigma(W_2 y + V_2 u + b_2) \odot (\tanh(W_y z + V_y u + b_y) - y), \qquad
        \dot z = \hat\sigma(W_1 y + V_1 u + b_1) \odot (\tanh(W_z y + V_z u + b_z) - z)

    which is equation (1) of [1]_ with input :math:`u`; :math:`\hat\sigma(x) = 1/(1+e^{-x})`.
    The gates :math:`\hat\sigma \in (0, 1)` are rates, in units of one over the time unit of ``t``.

    Parameters
    ----------
    input_size, hidden_size : int
        m, the number of input features, and d, the size of y and of z.
    bias : bool
        Without it b1, b2, bz, by are zero and not learned.
    device, dtype
        As for every torch module.

    Attributes
    ----------
    weight_ih : (4 d, m)
        V1, V2, Vz, Vy, stacked.
    weight_hh : (3 d, d)
        W1, W2, Wz, stacked: what acts on y.
    weight_zy : (d, d)
        Wy: what acts on z.
    bias : (4 d,) or None
        b1, b2, bz, by, stacked.

    Raises
    ------
    ValueError
        If a size is not a positive integer or the dtype is not a floating point type.

    Examples
    --------
    >>> ode = MultiscaleODE(input_size=1, hidden_size=4)
    >>> dy, dz = ode(torch.zeros(4), torch.zeros(4), torch.ones(1))
    >>> dy.shape
    torch.Size([4])

    References
    ----------
    .. [1] Rusch, Mishra, Erichson, Mahoney, Long Expressive Memory for Sequence Modeling, ICLR 2022, arXiv:2110.04744.
    """

    bias: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError(f"{name}={size!r}: give a positive integer.")
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"dtype={dtype}: parameters need a floating point type, such as torch.float32.")
        m, d = input_size, hidden_size
        self.input_size, self.hidden_size = m, d
        self.weight_ih = nn.Parameter(torch.empty(4 * d, m, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(3 * d, d, device=device, dtype=dtype))
        self.weight_zy = nn.Parameter(torch.empty(d, d, device=device, dtype=dtype))
        self.register_parameter("bias", nn.Parameter(torch.empty(4 * d, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter from U(-1/sqrt(d), 1/sqrt(d)), as torch.nn.LSTM does."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        with torch.no_grad():
            for p in self.parameters():
                p.uniform_(-bound, bound, generator=generator)

    def stacked_bias(self) -> Tensor:
        """The bias ``(4 d,)``; zeros where the module has none."""
        if self.bias is None:
            return self.weight_ih.new_zeros(4 * self.hidden_size)
        return self.bias

    def blocks(self) -> Blocks:
        """The paper's twelve blocks, as views of the stacked parameters."""
        W1, W2, Wz = self.weight_hh.chunk(3)
        return Blocks(W1, W2, Wz, self.weight_zy, *self.weight_ih.chunk(4), *self.stacked_bias().chunk(4))

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """How a block acts: on the last dimension of x, as a matrix."""
        return linear(x, weight, bias)

    def gates(self, y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Rates of z and of y, ``(g1, g2)``, each in (0, 1): y ``(..., d)``, u ``(..., m)``.

        Examples
        --------
        >>> ode = MultiscaleODE(1, 3)
        >>> g1, g2 = ode.gates(torch.zeros(3), torch.zeros(1))
        >>> bool((g1 > 0).all() and (g1 < 1).all())
        True
        """
        p = self.blocks()
        g1 = torch.sigmoid(self.linear(y, p.W1) + self.linear(u, p.V1, p.b1))
        g2 = torch.sigmoid(self.linear(y, p.W2) + self.linear(u, p.V2, p.b2))
        return g1, g2

    def forward(self, y: Tensor, z: Tensor, u: Tensor, along: Along | None = None) -> tuple[Any, ...]:
        """``(dy/dt, dz/dt)`` at state y, z ``(..., d)`` and input u ``(..., m)``.

        `along` is how the layers run this ODE: ``along(ode, y, z, u)`` is returned instead, on the ODE's tensors read once and in
        the dtype of y. So hooks fire once a sequence, and what they make of the weights (spectral norm, pruning) is what is run.
        """
        if along is not None:
            return along(self.plain(y.dtype), y, z, u)
        p = self.blocks()
        g1, g2 = self.gates(y, u)
        dy = g2 * (torch.tanh(self.linear(z, p.Wy) + self.linear(u, p.Vy, p.by)) - y)
        dz = g1 * (torch.tanh(self.linear(y, p.Wz) + self.linear(u, p.Vz, p.bz)) - z)
        return dy, dz

    def jacobian(self, y: Tensor, z: Tensor, u: Tensor) -> Tensor:
        r"""The Jacobian DF of the vector field, ``(..., 2 d, 2 d)``, in the order **(z, y)**.

        .. math::

            DF = \begin{pmatrix}
            -\mathrm{diag}(g_1) & \mathrm{diag}(g_1(1-g_1)(\hat z - z)) W_1 + \mathrm{diag}(g_1(1-\hat z^2)) W_z \\
            \mathrm{diag}(g_2(1-\hat y^2)) W_y & -\mathrm{diag}(g_2) + \mathrm{diag}(g_2(1-g_2)(\hat y - y)) W_2
            \end{pmatrix}

        with :math:`\hat z = \tanh(W_z y + V_z u + b_z)` and :math:`\hat y = \tanh(W_y z + V_y u + b_y)`; ``theory/vector_field.py``.

        Examples
        --------
        >>> ode = MultiscaleODE(1, 3).double()
        >>> y, z, u = (torch.randn(k, dtype=torch.float64) for k in (3, 3, 1))
        >>> by_y, by_z = torch.autograd.functional.jacobian(lambda y, z: ode(y, z, u)[0], (y, z))
        >>> torch.allclose(ode.jacobian(y, z, u)[3:], torch.cat([by_z, by_y], 1))
        True
        """
        p = self.blocks()
        g1, g2 = self.gates(y, u)
        zh = torch.tanh(linear(y, p.Wz) + linear(u, p.Vz, p.bz))
        yh = torch.tanh(linear(z, p.Wy) + linear(u, p.Vy, p.by))
        zy = _rows(g1 * (1 - g1) * (zh - z), p.W1) + _rows(g1 * (1 - zh * zh), p.Wz)
        yz = _rows(g2 * (1 - yh * yh), p.Wy)
        yy = _rows(g2 * (1 - g2) * (yh - y), p.W2) - torch.diag_embed(g2)
        return torch.cat([torch.cat([-torch.diag_embed(g1), zy], -1), torch.cat([yz, yy], -1)], -2)

    @classmethod
    def from_tensors(cls, weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor | None = None) -> MultiscaleODE:
        """The ODE with exactly these tensors, which stay what they are: gradients flow to them, and no parameter is made.

        Examples
        --------
        >>> ode = MultiscaleODE(1, 4)
        >>> double = MultiscaleODE.from_tensors(*(p.detach().double() for p in ode.parameters()))
        >>> double.weight_zy.dtype, len(list(double.parameters()))
        (torch.float64, 0)
        """
        _check_matrices(weight_ih, weight_hh, weight_zy)
        ode = cls.__new__(cls)
        nn.Module.__init__(ode)  # and not ours, which would make parameters and draw them
        ode.input_size, ode.hidden_size = weight_ih.shape[1], weight_zy.shape[0]
        ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.bias = weight_ih, weight_hh, weight_zy, bias  # type: ignore[assignment]
        return ode

    def plain(self, dtype: torch.dtype | None = None) -> MultiscaleODE:
        """The equations on this ODE's tensors, each read once: no module, so no parameters, no parametrizations and no hooks.

        Examples
        --------
        >>> ode = MultiscaleODE(1, 4, dtype=torch.bfloat16)
        >>> ode.plain(torch.float32).blocks().Wy.dtype
        torch.float32
        """
        tensors: Any = (self.weight_ih, self.weight_hh, self.weight_zy, self.bias)
        if dtype is not None and tensors[0].dtype != dtype:
            tensors = tuple(None if t is None else t.to(dtype) for t in tensors)
        weight_ih, weight_hh, weight_zy, bias = tensors
        return plain(weight_ih, weight_hh, weight_zy, bias, self.linear)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias is not None else ", bias=False")


def _check_matrices(weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor) -> None:
    for name, matrix in (("weight_ih", weight_ih), ("weight_hh", weight_hh), ("weight_zy", weight_zy)):
        if matrix.dim() < 2:
            raise ValueError(f"{name} of shape {tuple(matrix.shape)}: give a matrix, or the kernels of a convolution.")


def _rows(scale: Tensor, matrix: Tensor) -> Tensor:
    """diag(scale) @ matrix."""
    return scale.unsqueeze(-1) * matrix


def plain(weight_ih: Any, weight_hh: Any, weight_zy: Any, bias: Any, linear: Callable[..., Tensor] = linear) -> MultiscaleODE:
    """The equations on these tensors, with `linear` for how a block acts; see `MultiscaleODE.plain`.

    Examples
    --------
    >>> ode = MultiscaleODE(1, 4)
    >>> plain(*ode.parameters())(torch.zeros(4), torch.zeros(4), torch.ones(1))[0].shape
    torch.Size([4])
    """
    _check_matrices(weight_ih, weight_hh, weight_zy)
    return cast(MultiscaleODE, _PlainODE(weight_ih, weight_hh, weight_zy, bias, linear))


class _PlainODE:
    # not a module: torch.compile cannot trace the making of one, and a small network would notice the time
    def __init__(self, weight_ih: Any, weight_hh: Any, weight_zy: Any, bias: Any, linear: Callable[..., Tensor]) -> None:
        self.input_size, self.hidden_size, self.linear = weight_ih.shape[1], len(weight_zy), linear
        self.weight_ih, self.weight_hh, self.weight_zy, self.bias = weight_ih, weight_hh, weight_zy, bias

    stacked_bias = MultiscaleODE.stacked_bias
    blocks = MultiscaleODE.blocks
    gates = MultiscaleODE.gates
    __call__ = forward = MultiscaleODE.forward
