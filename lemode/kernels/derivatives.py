"""Gradients of a recursion as differentiable operations, whatever computed the recursion: those of the plain loop, run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["gradients", "products"]

Loop = Callable[..., tuple[Tensor, Tensor]]


def gradients(
    loop: Loop, inputs: Sequence[Tensor], grads: Sequence[Tensor | None], need: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients by the inputs that `need` marks of what `loop(*inputs)` returns, with `grads` from above; None for the others.

    For the backward of an autograd function, where its own formulas do not do: under ``create_graph=True`` the result can be
    differentiated again, by inputs and `grads`, and under vmap the operations can be looked into.

    Examples
    --------
    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> (g,) = gradients(lambda x: (x**3, x), [x], [torch.ones(1), None], [True])
    >>> g.item(), torch.autograd.grad(g, x)[0].item()  # 3 x^2, and 6 x
    (12.0, 12.0)
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # views: a tensor that stands in two places has a gradient in each
        views = [x.view_as(x) if wanted else x for x, wanted in zip(inputs, need, strict=True)]
        outputs = [(out, g) for out, g in zip(loop(*views), grads, strict=True) if g is not None and out.requires_grad]
        if not outputs:
            return tuple(torch.zeros_like(v) if wanted else None for v, wanted in zip(views, need, strict=True))
        ends, above = [out for out, _ in outputs], [g for _, g in outputs]
        asked = [v for v, wanted in zip(views, need, strict=True) if wanted]
        found = iter(torch.autograd.grad(ends, asked, above, create_graph=again, materialize_grads=True))
    return tuple(next(found) if wanted else None for wanted in need)


def products(loop: Loop, inputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """Gradients by all inputs, where autograd itself is out of reach: inside an operator.

    Examples
    --------
    >>> products(lambda x: (x**3, x), [torch.tensor([2.0])], [torch.ones(1), None])
    (tensor([12.]),)
    """
    found: Any = torch.func.vjp(loop, *(x.detach() for x in inputs))
    outputs, vjp = found
    return tuple(vjp(tuple(torch.zeros_like(out) if g is None else g for out, g in zip(outputs, grads, strict=True))))
