"""Adam in the eigenbasis of the full gradient second moment."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["EigenAdam", "trust_bound"]


class EigenAdam(torch.optim.Optimizer):
    r"""Adam run in the eigenbasis of the second moment of the whole gradient.

    .. math::

        C \leftarrow \rho\, C + (1 - \rho)\, g g^T, \quad C = Q \Lambda Q^T, \qquad
        \theta \leftarrow \theta - \eta\, Q\, \frac{Q^T m}{\sqrt{v} + \epsilon}

    with Adam's first moment m of g and second moment v of :math:`Q^T g`. What a diagonal preconditioner cannot see, the
    correlation of all P parameters with each other, is most of what slows the training of a small recurrent network.
    Memory is O(P^2), and every `refresh` steps an eigendecomposition costs O(P^3). So larger networks keep the diagonal blocks of C only,
    of at most `block_size` consecutive parameters, which are the weights of a few units: memory O(P b), cost O(P b^2). A block of
    one is Adam. Shampoo (arXiv:1802.09568) and SOAP (arXiv:2409.11321) are the Kronecker-factored relatives.

    From step :math:`1 / (1 - \beta_1)` on no coordinate of :math:`Q^T (\theta_{t+1} - \theta_t)` is longer than :math:`\eta K`. The trust
    bound K is from

    .. math:: |m_i| \le K \sqrt{v_i}, \qquad K = \frac{1 - \beta_1}{\sqrt{(1 - \beta_2)(1 - \beta_1^2 / \beta_2)}}

    which is Cauchy and Schwarz's inequality for Adam's two averages of the same gradients; it is 1.7 by default. A new basis has
    a new m and v, and keeps it.

    Parameters
    ----------
    params : iterable of floating point parameters
    lr, betas, eps : as in Adam; lr is meant to be scheduled (warm-up, then cosine to 0)
    decay : rho, per step
    refresh : steps between eigendecompositions; the first comes after `first` steps of plain Adam
    block_size : b, the most parameters that share a block

    Raises
    ------
    ValueError
        For a hyper-parameter out of range, and for betas without a trust bound.

    Examples
    --------
    >>> w = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = EigenAdam([w], refresh=20, first=5)
    >>> for k in range(400):
    ...     optimizer.param_groups[0]["lr"] = 0.1 * (1 - k / 400)
    ...     loss = (w[0] - 10 * w[1]) ** 2 + w.square().sum()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     _ = optimizer.step()
    >>> bool(loss < 1e-3)
    True
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.95, 0.99),
        eps: float = 1e-12,
        decay: float = 0.98,
        refresh: int = 200,
        first: int = 20,
        block_size: int = 3000,
    ) -> None:
        if not lr > 0 or not all(0 <= b < 1 for b in (*betas, decay)) or refresh < 1 or first < 1 or block_size < 1:
            raise ValueError(
                f"lr={lr}, betas={betas}, decay={decay}, refresh={refresh}, first={first}, block_size={block_size}: out of range."
            )
        if betas[0] ** 2 >= betas[1]:
            raise ValueError(
                f"betas={betas}: no step is bounded unless the first one squared is below the second, as in (0.95, 0.99)."
            )
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "decay": decay, "refresh": refresh, "first": first, "block_size": block_size,
        }  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("EigenAdam treats all parameters as one vector: give a single parameter group.")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As for every optimizer; C and Q keep their types, which torch would cast to that of the parameters."""
        super().load_state_dict(state_dict)
        for key, saved in state_dict["state"].items():
            state = self.state[self.param_groups[0]["params"][key]]
            state.update({name: value.clone() for name, value in saved.items() if name[0] in "CQ"})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; a step whose gradient is not finite is skipped."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group = self.param_groups[0]
        params: list[Tensor] = group["params"]
        g = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in params])
        if not torch.isfinite(g).all():
            return loss
        s = self.state[params[0]]
        if not s:
            s["step"], s["m"], s["v"] = 0, torch.zeros_like(g), torch.zeros_like(g)
            s["recent"] = g.new_zeros(group["refresh"], g.numel())
            s["count"] = 0
        beta1, beta2 = group["betas"]
        s["recent"][s["count"]] = g
        s["count"] += 1
        s["step"] += 1
        unbias = 1 - beta2 ** s["step"]
        sizes = _even_blocks(g.numel(), group["block_size"])
        h = _rotate(s, g, sizes, transpose=True)
        s["m"].lerp_(h, 1 - beta1)
        s["v"].lerp_(h * h, 1 - beta2)
        scale = (s["v"] / unbias).sqrt_().add_(group["eps"])
        update, offset = _rotate(s, s["m"] / (1 - beta1 ** s["step"]) / scale, sizes), 0
        for p in params:
            p.add_(update[offset : offset + p.numel()].view_as(p), alpha=-group["lr"])
            offset += p.numel()
        if s["count"] == group["refresh"] or s["step"] == group["first"]:
            self._refresh(s, group["decay"], unbias, sizes)
            # In exact arithmetic they are within the bound, as both are averages of the same gradients. Along a direction that no
            # gradient has had, v is 0 and m what rounding has left of it: their quotient was a step of thousands.
            bound = trust_bound(group["betas"]) * s["v"].sqrt()
            s["m"].clamp_(-bound, bound)
        return loss

    @staticmethod
    def _refresh(s: dict[str, Any], decay: float, unbias: float, sizes: list[int]) -> None:
        """Take the recent gradients into C, and its eigenvectors as the new basis."""
        k = s["count"]
        weights = (1 - decay) * decay ** torch.arange(k - 1, -1, -1, dtype=torch.float64, device=s["recent"].device)
        m = _rotate(s, s["m"], sizes)
        for i, (recent, v) in enumerate(zip(s["recent"][:k].split(sizes, 1), s["v"].split(sizes), strict=True)):
            recent = recent.double()
            update = recent.T @ (weights[:, None] * recent)
            C = s[f"C{i}"] = update if f"C{i}" not in s else s[f"C{i}"].mul_(decay**k).add_(update)
            eigenvalues, Q = torch.linalg.eigh(C)
            # In its own eigenbasis C is diagonal, and its eigenvalues are the second moment there. Not v carried over from the
            # old basis, as SOAP does: what is then left along flat directions is far too big, and training stalls at many times
            # the error.
            v.copy_(eigenvalues.clamp_min_(0) / (1 - decay ** s["step"]) * unbias)
            # float32 is plenty for a basis, and the products with it are most of a step's cost; contiguous, since eigh's layout
            # would not survive a file and rounding depends on it
            s[f"Q{i}"] = Q.float().contiguous()
        s["m"] = _rotate(s, m, sizes, transpose=True)
        s["count"] = 0


def trust_bound(betas: tuple[float, float]) -> float:
    """The longest step of Adam in units of its learning rate, K of `EigenAdam`, when its bias corrections are through.

    Examples
    --------
    >>> round(trust_bound((0.95, 0.99)), 2), round(trust_bound((0.9, 0.999)), 2)
    (1.68, 7.27)
    """
    beta1, beta2 = betas
    return (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))


def _rotate(s: dict[str, Any], x: Tensor, sizes: list[int], transpose: bool = False) -> Tensor:
    """Q x, or Q^T x, block by block; x before the first basis."""
    if "Q0" not in s:
        return x
    bases = (s[f"Q{i}"] for i in range(len(sizes)))
    return torch.cat([(Q.T if transpose else Q) @ part.to(Q.dtype) for Q, part in zip(bases, x.split(sizes), strict=True)]).to(
        x.dtype
    )


def _even_blocks(P: int, most: int) -> list[int]:
    """P parted into the fewest blocks of nearly equal size, none above `most`."""
    blocks = -(-P // most)
    return [P // blocks + (i < P % blocks) for i in range(blocks)]
