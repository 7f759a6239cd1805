r"""A scheme run along a sequence of fields: the recursion with convolutions for its weight blocks.

If no recurrent kernel is wider than 1 the points of the grid are the samples of a dense LEM that reads the input around each, and are
run as such. Otherwise `lemode.kernels.conv_adjoint` runs the schemes with a leak, and the plain loop the others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, pad

from ..ode import MultiscaleODE, plain
from ..schemes import Scheme, get_scheme
from . import conv_adjoint, derivatives, native, reference, sequences
from .backends import LEAKY, Choice, decide, handed_on, noted
from .bridge import check_sequence

__all__ = ["convolve", "is_wide", "run", "windows"]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, circular: bool) -> Tensor:
    """The convolution of x ``(n, features, *grid)``, on the same grid; beyond its edge x is periodic, or zero.

    Examples
    --------
    >>> convolve(torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), torch.ones(1, 1, 3), None, circular=True)
    tensor([[[1., 1., 0., 1.]]])
    """
    return (conv1d if x.dim() == 3 else conv2d)(_padded(x, weight.shape[2:], circular), weight, bias)


def windows(u: Tensor, kernel: torch.Size, circular: bool) -> Tensor:
    """What a kernel sees at each point of u ``(T, n, m, *grid)``: ``(T, n points, m kernel)``, contiguous.

    Examples
    --------
    >>> windows(torch.arange(4.0).view(1, 1, 1, 4), torch.Size([3]), circular=True)[0, 0]
    tensor([3., 0., 1.])
    """
    x = _padded(u.flatten(0, 1), kernel, circular)
    for axis, k in enumerate(kernel, start=2):
        x = x.unfold(axis, k, 1)
    around = x.movedim(1, 1 + len(kernel)).contiguous()
    return around.view(u.shape[0], u.shape[1] * u.shape[3:].numel(), u.shape[2] * kernel.numel())


def is_wide(ode: MultiscaleODE) -> bool:
    """Whether a recurrent kernel joins the points of the grid.

    Examples
    --------
    >>> [is_wide(lemode.ConvLEM(1, 2, 5, recurrent_kernel_size=k).ode) for k in (1, 3)]
    [False, True]
    """
    return max(*ode.weight_hh.shape[2:], *ode.weight_zy.shape[2:]) > 1


def run(
    ode: MultiscaleODE,
    scheme: Scheme,
    u: Tensor,
    y0: Tensor,
    z0: Tensor,
    dt: float | Tensor,
    circular: bool,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """The states ``ys (T, n, d, *grid)`` and the last z, for u ``(T, n, m, *grid)``, y0 and z0 ``(n, d, *grid)``.

    ``dt`` is a number, or a tensor ``(T, 1)`` or ``(T, n)``.

    Raises
    ------
    ValueError
        As `lemode.kernels.run`.

    Examples
    --------
    >>> rnn, zero = lemode.ConvLEM(1, 2, kernel_size=5), torch.zeros(3, 2, 16)
    >>> ys, z = run(rnn.ode, rnn.scheme, torch.randn(10, 3, 1, 16), zero, zero, 1.0, circular=True)
    >>> ys.shape, z.shape
    (torch.Size([10, 3, 2, 16]), torch.Size([3, 2, 16]))
    """
    weights = [ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias()]
    tensors = [u, y0, z0, *weights, *([dt] if isinstance(dt, Tensor) else [])]
    _check(u, y0, z0, dt, weights)
    wide, d = is_wide(ode), ode.hidden_size
    handed = wide and backend in ("parallel", "triton")
    # the width decides how fast the hand-derived adjoint is, not the hidden size: 0 units are always few
    joined = "recurrent kernels wider than 1 join the points of the grid"
    choice = decide("auto" if handed else backend, scheme, tensors, 0, native=not wide, why_not=joined)
    T, n, points = u.shape[0], u.shape[1], u.shape[3:].numel()
    if not wide and choice.backend != "reference":
        ih, hh, zy = (w.flatten(1) for w in weights[:3])
        dense = plain(ih, hh, zy, weights[3])
        samples = windows(u, ode.weight_ih.shape[2:], circular)
        y, z = (s.movedim(1, -1).reshape(-1, d) for s in (y0, z0))
        steps = dt.expand(T, n).repeat_interleave(points, 1) if isinstance(dt, Tensor) and dt.shape[1] > 1 else dt
        ys, zs = sequences.run(dense, scheme, samples, y, z, steps, backend)
        return ys.view(T, n, *u.shape[3:], d).movedim(-1, 2), zs[-1].view(n, *u.shape[3:], d).movedim(-1, 1)
    if choice.backend == "torch" and isinstance(dt, Tensor):
        choice = Choice("reference", "step sizes in a tensor: by hand in torch takes a number")
    if noted(handed_on(backend, joined, choice) if handed else choice).backend == "operator":
        step = dt if isinstance(dt, Tensor) else u.new_full((1, 1), dt)
        ys, zn = _field(u, y0, z0, step, *weights, scheme.name, circular)
        return ys, zn
    if choice.backend == "torch":
        assert not isinstance(dt, Tensor)
        return conv_adjoint.run(scheme, u, y0, z0, dt, weights, circular, _plain(scheme, dt, circular))
    return loop(scheme, dt, circular)(u, y0, z0, *weights)


def loop(scheme: Scheme, dt: float | Tensor, circular: bool) -> derivatives.Loop:
    """The plain loop as a function of u, y0, z0 and the four weights.

    Examples
    --------
    >>> rnn, zero = lemode.ConvLEM(1, 2, kernel_size=5), torch.zeros(3, 2, 16)
    >>> ys, z = loop(rnn.scheme, 1.0, True)(torch.zeros(4, 3, 1, 16), zero, zero, *rnn.ode.parameters())
    >>> ys.shape
    torch.Size([4, 3, 2, 16])
    """

    def run(u: Tensor, y0: Tensor, z0: Tensor, ih: Tensor, hh: Tensor, zy: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        ode = plain(ih, hh, zy, bias, lambda x, weight, b=None: convolve(x, weight, b, circular))
        # over channels and grid alike; reference.run appends one dimension
        steps = dt.view(*dt.shape, *[1] * (u.dim() - 3)) if isinstance(dt, Tensor) else dt
        ys, zs = reference.run(ode, scheme, u, y0, z0, steps)
        return ys, zs[-1]

    return run


def _check(u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor, weights: list[Tensor]) -> None:
    """As for a sequence of the values at one point; and the grids and kernels."""
    for name, x in (("y0", y0), ("z0", z0), ("weight_ih", weights[0]), ("weight_hh", weights[1]), ("weight_zy", weights[2])):
        if x.dim() != u.dim() - 1:
            raise ValueError(f"{name} has shape {tuple(x.shape)}, the input {tuple(u.shape)}: give one grid to both.")
        if name.startswith("weight") and any(k % 2 == 0 for k in x.shape[2:]):
            raise ValueError(f"{name} has shape {tuple(x.shape)}: give kernels of odd width, so that they have a middle.")
    y, z, *matrices = (x.flatten(2)[..., 0] for x in (y0, z0, *weights[:3]))
    check_sequence(u.flatten(3)[..., 0], y, z, dt, *matrices, weights[3])
    for name, state in (("y0", y0), ("z0", z0)):
        if state.shape[2:] != u.shape[3:]:
            raise ValueError(
                f"{name} lies on the grid {tuple(state.shape[2:])}, the input on {tuple(u.shape[3:])}: give one grid."
            )


def _padded(x: Tensor, kernel: torch.Size, circular: bool) -> Tensor:
    if kernel.numel() == 1:
        return x
    edges = [k // 2 for k in reversed(kernel) for _ in range(2)]  # torch counts from the last dimension
    return pad(x, edges, mode="circular" if circular else "constant")


# the operator: where operations are recorded, see `lemode.kernels.native` ---------------------------------------------------

_INPUTS = "Tensor u, Tensor y0, Tensor z0, Tensor dt, Tensor weight_ih, Tensor weight_hh, Tensor weight_zy, Tensor bias"


def _plain(scheme: Scheme, dt: float, circular: bool) -> conv_adjoint.Plain:
    def batched(grad_ys: Tensor | None, grad_zn: Tensor | None, inputs: Any, need: Any) -> tuple[Tensor | None, ...]:
        u, y0, z0, *weights = inputs
        found = _field_backward(grad_ys, grad_zn, u, y0, z0, u.new_full((1, 1), dt), *weights, scheme.name, circular)
        return tuple(g if wanted else None for g, wanted in zip(found[:3] + found[4:], need, strict=True))

    return conv_adjoint.Plain(loop(scheme, dt, circular), batched)


def _of_dt(scheme: str, circular: bool) -> derivatives.Loop:
    def run(u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return loop(get_scheme(scheme), dt, circular)(u, y0, z0, *weights)

    return run


def _operator_forward(*args: Any) -> tuple[Tensor, Tensor]:
    u, y0, z0, dt, *weights, scheme, circular = args
    if scheme in LEAKY and dt.numel() == 1:
        found, step = get_scheme(scheme), float(dt)
        return conv_adjoint.run(found, u, y0, z0, step, weights, circular, _plain(found, step, circular))
    ys, zn = _of_dt(scheme, circular)(*args[:8])
    return ys, zn.clone()


def _operator_backward(grad_ys: Tensor | None, grad_zn: Tensor | None, *args: Any) -> tuple[Tensor, ...]:
    return derivatives.products(_of_dt(*args[8:]), args[:8], (grad_ys, grad_zn))


_field = torch.library.custom_op(
    "lemode::field", _operator_forward, mutates_args=(), schema=f"({_INPUTS}, str scheme, bool circular) -> (Tensor, Tensor)"
)
_field_backward = torch.library.custom_op(
    "lemode::field_backward",
    _operator_backward,
    mutates_args=(),
    schema=f"(Tensor? grad_ys, Tensor? grad_zn, {_INPUTS}, str scheme, bool circular)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@_field.register_fake
def _(u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias, scheme, circular):  # type: ignore[no-untyped-def]
    return u.new_empty(u.shape[0], *y0.shape), z0.new_empty(z0.shape)


@_field_backward.register_fake
def _(grad_ys, grad_zn, u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias, scheme, circular):  # type: ignore[no-untyped-def]
    return tuple(t.new_empty(t.shape) for t in (u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:8])
    ctx.set_materialize_grads(False)
    ctx.options = inputs[8:]


def _backward(ctx: Any, grad_ys: Tensor | None, grad_zn: Tensor | None) -> tuple[Tensor | None, ...]:
    need = ctx.needs_input_grad[:8]
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return *derivatives.gradients(_of_dt(*ctx.options), ctx.saved_tensors, (grad_ys, grad_zn), need), None, None
    grads = _field_backward(grad_ys, grad_zn, *ctx.saved_tensors, *ctx.options)
    return *(g if wanted else None for g, wanted in zip(grads, need, strict=True)), None, None


_field.register_autograd(_backward, setup_context=_setup)
_field_backward.register_autograd(native.no_second_derivative)
