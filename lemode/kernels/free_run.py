r"""A free run: a stacked network whose readout is fed back as its next input.

.. math::

    u_k = (x_k, x_{k-1}, \dots, x_{k-p}, e_k), \qquad (y, z)^{(1..l)} \leftarrow \text{one step of every layer, driven by } u_k, \qquad
    x_{k+1} = \mathrm{clip}\big([x_k +]\; C\, g_k + c,\ \text{lower}, \text{upper}\big)

where :math:`g_k` is :math:`y^{(l)}` or, of a head that reads everything,

.. math:: g_k = (x_k,\; x_k - x_{k-1},\; \dots,\; x_{k-p+1} - x_{k-p},\; e_k,\; y^{(1)}, z^{(1)}, \dots, y^{(l)}, z^{(l)})

with optional exogenous inputs :math:`e_k` and p previous values; the bracketed term is the residual head, and without bounds nothing is
clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import linear

from ..ode import plain
from ..schemes import get_scheme
from . import bridge
from .backends import decide, handed_on, noted
from .layer import Layer

__all__ = ["rollout"]


def rollout(
    layers: Sequence[Layer],
    readout: Tensor,
    readout_bias: Tensor,
    x0: Tensor,
    state: Sequence[tuple[Tensor, Tensor]],
    steps: int,
    residual: bool = True,
    exogenous: Tensor | None = None,
    lower: Tensor | None = None,
    upper: Tensor | None = None,
    past: Tensor | None = None,
    whole: bool = False,
    backend: str = "auto",
) -> Tensor:
    r"""The free run :math:`x_1, \ldots, x_{steps}`, shape ``(steps, N, D)``.

    Parameters
    ----------
    layers : sequence of Layer
        The first reads ``D (1 + p) + m_ex`` features, every other one the y of the layer below.
    readout, readout_bias : (D, d) or (D, width of g), (D,)
        C and c, acting on the y of the last layer or, with `whole`, on all of g.
    x0 : (N, D)
        The first input.
    state : sequence of (y, z), each (N, d)
        Per layer, the state before the first step. Not modified.
    steps : int
        Number of steps; 0 gives an empty tensor.
    residual : bool
        Whether the head predicts the increment ``x_{k+1} - x_k`` or ``x_{k+1}`` itself.
    exogenous : (steps, N, m_ex), optional
        Known inputs, appended to x.
    lower, upper : (D,), optional
        Bounds between which every x is held; what is no number stays so.
    past : (p, N, D), optional
        The values before x0, the latest one last, which are read beside it; none by default.
    whole : bool
        Whether the head reads everything, see above, or the y of the last layer.
    backend : {'auto', 'native', 'torch', 'reference', 'parallel', 'triton'}
        As in `lemode.kernels.run`. Where a gradient is needed 'auto' takes the torch loop, which autograd differentiates.

    Raises
    ------
    ValueError
        For shapes or dtypes that do not fit, an unknown backend, or 'native' where it cannot run or a gradient is needed.

    Examples
    --------
    >>> ode = lemode.MultiscaleODE(2, 4)
    >>> layer = Layer(*(p.detach() for p in (ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.bias)), dt=0.5)
    >>> zero = torch.zeros(3, 4)
    >>> rollout([layer], torch.zeros(2, 4), torch.ones(2), torch.zeros(3, 2), [(zero, zero)], steps=5)[-1, 0]  # increments of 1
    tensor([5., 5.])
    """
    _check(layers, readout, readout_bias, x0, state, steps, exogenous, lower, upper, past, whole)
    args = (layers, readout, readout_bias, x0, state, steps, residual, exogenous, lower, upper, past, whole)
    tensors = [x0, readout, readout_bias, *(t for pair in state for t in pair), *(t for layer in layers for t in layer[:4])]
    tensors += [t for t in (exogenous, lower, upper, past) if t is not None]
    gradient = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    if backend == "native" and gradient:
        raise ValueError("backend='native' does not differentiate a rollout: use torch.no_grad(), or backend='torch'.")
    schemes = [get_scheme(layer.scheme) for layer in layers]
    scheme = next((s for s in schemes if s.leak is None), schemes[0])  # what one layer needs all get
    if backend == "torch":
        backend = "reference"  # the same loop: here torch has one way only
    handed = backend in ("parallel", "triton")
    why_not = "a derivative is wanted, which the core's free run does not have"
    asked, d = "auto" if handed else backend, layers[-1].weight_zy.shape[0]
    choice = decide(asked, scheme, tensors, d, native=not gradient, why_not=why_not)
    noted(handed_on(backend, "a step reads what the one before it predicted", choice) if handed else choice)
    return bridge.rollout(*args) if choice.backend == "native" else _torch_rollout(*args)


def _check(
    layers: Sequence[Layer],
    readout: Tensor,
    readout_bias: Tensor,
    x0: Tensor,
    state: Sequence[tuple[Tensor, Tensor]],
    steps: int,
    exogenous: Tensor | None,
    lower: Tensor | None,
    upper: Tensor | None,
    past: Tensor | None,
    whole: bool,
) -> None:
    if not layers or len(state) != len(layers):
        raise ValueError(f"{len(layers)} layers and {len(state)} states: give one (y, z) for each of at least one layer.")
    if steps < 0:
        raise ValueError(f"steps={steps}: give a number of steps >= 0.")
    if x0.dim() != 2:
        raise ValueError(f"x0 of shape {tuple(x0.shape)}: give (N, features).")
    N, D = x0.shape
    if past is not None and (past.dim() != 3 or tuple(past.shape[1:]) != (N, D)):
        raise ValueError(f"past of shape {tuple(past.shape)}: give (previous values, {N}, {D}).")
    m = D * (1 if past is None else 1 + len(past))
    if exogenous is not None:
        if tuple(exogenous.shape[:2]) != (steps, N) or exogenous.dim() != 3:
            raise ValueError(f"exogenous of shape {tuple(exogenous.shape)}: give ({steps}, {N}, features).")
        m += exogenous.shape[2]
    width = m + 2 * sum(layer.weight_zy.shape[0] for layer in layers)
    for k, (layer, (y, z)) in enumerate(zip(layers, state, strict=True)):
        for name in ("weight_ih", "weight_hh", "weight_zy"):
            if getattr(layer, name).dim() != 2:
                raise ValueError(f"{name} of layer {k} has shape {tuple(getattr(layer, name).shape)}: give a matrix.")
        d = layer.weight_zy.shape[0]
        if layer.weight_ih.shape[1] != m:
            raise ValueError(f"layer {k} reads {layer.weight_ih.shape[1]} features but is given {m}.")
        if tuple(y.shape) != (N, d) or tuple(z.shape) != (N, d):
            raise ValueError(f"state of layer {k} has shapes {tuple(y.shape)}, {tuple(z.shape)}: give ({N}, {d}) twice.")
        m = d
    if tuple(readout.shape) != (D, width if whole else m):
        why = "what it reads is so wide" if whole else f"the last layer has {m} units"
        raise ValueError(
            f"readout of shape {tuple(readout.shape)}: give ({D}, {width if whole else m}), as x0 has {D} features and {why}."
        )
    for name, vector in (("readout_bias", readout_bias), ("lower", lower), ("upper", upper)):
        if vector is not None and tuple(vector.shape) != (D,):
            raise ValueError(f"{name} of shape {tuple(vector.shape)}: give ({D},), one for each feature of x0.")


def _torch_rollout(
    layers: Sequence[Layer], readout: Tensor, readout_bias: Tensor, x0: Tensor, state: Sequence[tuple[Tensor, Tensor]],
    steps: int, residual: bool, exogenous: Tensor | None, lower: Tensor | None, upper: Tensor | None, past: Tensor | None, whole: bool,
) -> Tensor:  # fmt: skip
    x, xs, states, step = x0, [], list(state), [_stepper(layer) for layer in layers]
    before = [] if past is None else list(past.flip(0).unbind(0))
    for k in range(steps):
        e = [] if exogenous is None else [exogenous[k]]
        u = torch.cat([x, *before, *e], -1)
        for i in range(len(layers)):
            states[i] = step[i](states[i], u)
            u = states[i][0]
        if whole:
            differences = [later - earlier for later, earlier in pairwise([x, *before])]
            u = torch.cat([x, *differences, *e, *(s for pair in states for s in pair)], -1)
        before = [x, *before][: len(before)]
        head = linear(u, readout, readout_bias)
        x = x + head if residual else head
        if lower is not None or upper is not None:
            x = x.clamp(lower, upper)
        xs.append(x)
    return torch.stack(xs) if xs else x0.new_empty(0, *x0.shape)


State = tuple[Tensor, Tensor]


def _stepper(layer: Layer) -> Callable[[State, Tensor], State]:
    """One step of the layer as a function of state and input: any scheme, on the layer's own tensors."""
    scheme, ode = get_scheme(layer.scheme), plain(*layer[:4])
    return lambda state, u: scheme.step(ode, state, u, layer.dt)
