r"""Forward and adjoint of the LEM recursion by hand, in torch operations.

With leak :math:`\ell_i = \varphi(\Delta t\, g_i)` a step reads :math:`z_n = z_{n-1} + \ell_1 (\hat z - z_{n-1})`,
:math:`y_n = y_{n-1} + \ell_2 (\hat y - y_{n-1})`. Let :math:`\bar x` be the gradient of the loss by x. Then, from n = L down to 1,

.. math::

    \bar a_y &= \bar y_n\, \ell_2 (1 - \hat y^2), & \bar z_n &\mathrel{+}= W_y^T \bar a_y, \\
    \bar a_z &= \bar z_n\, \ell_1 (1 - \hat z^2), &
    \bar a_1 &= \bar z_n (\hat z - z_{n-1})\, \partial\ell_1/\partial a_1, \quad
    \bar a_2 = \bar y_n (\hat y - y_{n-1})\, \partial\ell_2/\partial a_2, \\
    \bar z_{n-1} &= (1 - \ell_1)\, \bar z_n, & \bar y_{n-1} &= (1 - \ell_2)\, \bar y_n + W_1^T \bar a_1 + W_2^T \bar a_2 + W_z^T \bar a_z .

The gradients of weights and input are then single matrix products over all n.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..ode import MultiscaleODE, plain
from ..schemes import Scheme
from . import backends, derivatives, native, reference

__all__ = ["run"]


def run(ode: MultiscaleODE, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: float | Tensor) -> tuple[Tensor, Tensor]:
    """See `lemode.kernels.run`."""
    steps = dt.unsqueeze(-1) if isinstance(dt, Tensor) else u.new_full((1, 1, 1), dt)
    ys, zs = _Recursion.apply(scheme, u, y0, z0, steps, ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias())
    return ys, zs


class _Recursion(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scheme: Scheme, u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor,
        weight_ih: Tensor, weight_hh: Tensor, weight_zy: Tensor, bias: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        phi = scheme.leak
        assert phi is not None
        L, N, m = u.shape
        d = weight_zy.shape[0]
        # acts holds the pre-activations from the input, overwritten by g1, g2, zhat, yhat
        acts = torch.addmm(bias, u.reshape(L * N, m), weight_ih.t()).view(L, N, 4 * d)
        on_y, on_z = weight_hh.t().contiguous(), weight_zy.t().contiguous()
        ys, zs = acts.new_empty(L + 1, N, d), acts.new_empty(L + 1, N, d)
        ys[0], zs[0] = y0, z0
        per_step = dt.expand(L, -1, -1).unbind(0)
        for n, (a, step) in enumerate(zip(acts.unbind(0), per_step, strict=True)):
            y, z = ys[n], zs[n]
            a[:, : 3 * d].addmm_(y, on_y)
            g, zh, yh = a[:, : 2 * d].sigmoid_(), a[:, 2 * d : 3 * d].tanh_(), a[:, 3 * d :]
            leak = phi(step * g)
            torch.addcmul(z, leak[:, :d], zh - z, out=zs[n + 1])
            yh.addmm_(zs[n + 1], on_z).tanh_()
            torch.addcmul(y, leak[:, d:], yh - y, out=ys[n + 1])
        ctx.scheme = scheme
        ctx.save_for_backward(u, y0, z0, dt, weight_ih, weight_hh, weight_zy, bias, acts, ys, zs)
        ctx.set_materialize_grads(False)
        return ys[1:], zs[1:]

    @staticmethod
    def backward(ctx: Any, grad_ys: Tensor | None, grad_zs: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, acts, ys, zs = ctx.saved_tensors
        u, _, _, dt, weight_ih, weight_hh, weight_zy, _ = inputs
        scheme = ctx.scheme
        if torch.is_grad_enabled() or backends.transformed():  # create_graph=True; vmap over incoming gradients

            def loop(u: Tensor, y0: Tensor, z0: Tensor, dt: Tensor, *weights: Any) -> tuple[Tensor, Tensor]:
                return reference.run(plain(*weights), scheme, u, y0, z0, dt.squeeze(-1))

            return None, *derivatives.gradients(loop, inputs, (grad_ys, grad_zs), ctx.needs_input_grad[1:])
        if backends.batched(grad_ys, grad_zs):
            flat = [*inputs[:3], dt.squeeze(-1), *inputs[4:]]
            each = native.operator_gradients((grad_ys, grad_zs), flat, ys[1:], zs[1:], scheme.name, ctx.needs_input_grad[1:])
            return None, *(g.unsqueeze(-1) if k == 3 and g is not None else g for k, g in enumerate(each))
        phi, dphi = scheme.leak, scheme.leak_slope
        L, N, m = u.shape
        d = weight_zy.shape[0]
        g, zh, yh = acts[..., : 2 * d], acts[..., 2 * d : 3 * d], acts[..., 3 * d :]
        # everything that does not depend on the incoming gradient, for all n at once
        x = dt * g
        leak, slope = phi(x), dphi(x)
        span = torch.cat([zh - zs[:-1], yh - ys[:-1]], -1) * slope * g  # d(state)/d(dt)
        gate = dt * span * (1 - g)  # d(state)/d(a1, a2)
        cand_z, cand_y = leak[..., :d] * (1 - zh * zh), leak[..., d:] * (1 - yh * yh)
        keep = 1 - leak
        grad_a = torch.empty_like(acts)
        grad_dt = u.new_empty(L, N, 1) if ctx.needs_input_grad[4] else None
        dy, dz = u.new_zeros(N, d), u.new_zeros(N, d)
        for n in range(L - 1, -1, -1):
            if grad_ys is not None:
                dy = dy + grad_ys[n]
            if grad_zs is not None:
                dz = dz + grad_zs[n]
            a = grad_a[n]
            torch.mul(dy, cand_y[n], out=a[:, 3 * d :])
            dz = torch.addmm(dz, a[:, 3 * d :], weight_zy)
            torch.mul(dz, gate[n, :, :d], out=a[:, :d])
            torch.mul(dy, gate[n, :, d:], out=a[:, d : 2 * d])
            torch.mul(dz, cand_z[n], out=a[:, 2 * d : 3 * d])
            if grad_dt is not None:
                grad_dt[n] = (dz * span[n, :, :d] + dy * span[n, :, d:]).sum(-1, keepdim=True)
            dz = dz * keep[n, :, :d]
            dy = torch.addmm(dy * keep[n, :, d:], a[:, : 3 * d], weight_hh)
        rows = grad_a.view(L * N, 4 * d)
        need = ctx.needs_input_grad
        return (
            None,
            (rows @ weight_ih).view(L, N, m) if need[1] else None,
            dy if need[2] else None,
            dz if need[3] else None,
            None if grad_dt is None else grad_dt.sum_to_size(dt.shape),
            rows.t() @ u.reshape(L * N, m) if need[5] else None,
            rows[:, : 3 * d].t() @ ys[:-1].reshape(L * N, d) if need[6] else None,
            rows[:, 3 * d :].t() @ zs[1:].reshape(L * N, d) if need[7] else None,
            rows.sum(0) if need[8] else None,
        )
