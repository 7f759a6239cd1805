r"""
Generalised teacher forcing (12.1 to 12.3)
==========================================

A surrogate that is trained on free runs along a chaotic series has gradients that grow exponentially with their length; trained one step ahead it never
sees what its own errors do. In between, it reads its prediction drawn towards the data,

.. math:: \tilde x_k = (1 - \alpha)\,\hat x_k + \alpha\,x_k, \qquad (s_{k+1}, \hat x_{k+1}) = F(s_k, \tilde x_k),

with a state s, such as (z, y) of a LEM. How large has :math:`\alpha` to be?

The idea is that of Hess, Monfared, Brenner and Durstewitz (ICML 2023, arXiv 2306.04406), whose networks have their whole state forced. Of a LEM only the
values are, not the state: what follows is for that case, and was derived for lemode.

| Computed by ``lemode.analysis.critical_forcing``, measured by ``lemode.surrogate.forcing``, used in training by ``stages=("one-step", "forced")``; tested
| as 12.1 to 12.3 in ``tests/properties``.
"""

import numpy as np
import sympy as sp
import torch

from lemode import LEM
from lemode.analysis import critical_forcing
from lemode.surrogate.forcing import forced_growth, forcing_strength
from lemode.surrogate.network import IncrementNetwork
from lemode.surrogate.series import Series

STATEMENTS = ("12.1", "12.2", "12.3")

# %%
# The Jacobian
# ------------
# Let :math:`M_k = \begin{pmatrix} A_k & B_k \\ C_k & D_k \end{pmatrix}` be the derivative of :math:`F` at :math:`(s_k, \tilde x_k)`: A and B those of the next
# state by the state and by the values, C and D those of the predicted values.
#
# **Statement (12.1).** The derivative of :math:`(s_{k+1}, \hat x_{k+1})` by :math:`(s_k, \hat x_k)` along the forced run is :math:`M_k\,T_\alpha`,
# :math:`T_\alpha = \mathrm{diag}(I, (1 - \alpha) I)`. With :math:`\alpha = 1` products of these are those of the :math:`A_k` alone, in their first block.
#
# **Proof.** The chain rule: :math:`\partial \tilde x_k / \partial \hat x_k = (1 - \alpha) I`, and the data do not depend on the run. With :math:`\alpha = 1` the second
# column of :math:`M_k T_1` is zero, so that the first block of a product is the product of the first blocks. ∎

# %%
# A ceiling
# ---------
# **Statement (12.2).** Along a run let :math:`\|A_k\| \le a < 1,\ \|B_k\| \le b,\ \|C_k\| \le c,\ \|D_k\| \le d`, in any norms of states and of values, and
#
# .. math:: \alpha^* = \max\Big(0,\ 1 - \frac{1}{d + bc / (1 - a)}\Big), \qquad p = (1 - \alpha)\,\frac{b}{1 - a}.
#
# (a) For every :math:`\alpha \ge \alpha^*` and all :math:`k < n`, with p > 0: the product of the :math:`M_j T_\alpha`, :math:`k \le j < n`, is at most one in the norm
# :math:`\|(s, x)\|_p = \max(\|s\| / p, \|x\|)`. So :math:`\|\partial \hat x_n / \partial \hat x_k\| \le 1`, and with the sources :math:`(q^s_k, q^x_k) = \partial F / \partial \theta`
# of a parameter
#
# .. math:: \Big\|\frac{\partial \hat x_n}{\partial \theta}\Big\| \le \sum_{k < n} \max\Big(\frac{\|q^s_k\|}{p}, \|q^x_k\|\Big),
#
# which grows with the number of steps, and not exponentially. If p = 0, as the state does not depend on the values or they are those of the data, then
# :math:`\|\partial \hat x_n / \partial \hat x_k\| \le 1` and :math:`\|\partial \hat x_n / \partial s_k\| \le c / (1 - a)`.
#
# (b) It is best possible: for :math:`\alpha < \alpha^*` and any numbers :math:`a < 1, b, c, d` there is a network whose products grow exponentially, with these norms.
#
# **Proof.** (a) Let :math:`\|s\| \le p,\ \|x\| \le 1` and :math:`\beta = 1 - \alpha`. The next state is at most :math:`ap + \beta b = ap + (1 - a)p = p`. The next
# values are at most :math:`cp + \beta d = \beta(bc / (1 - a) + d) \le 1`, as :math:`\alpha \ge \alpha^*`. So the unit ball is mapped into itself, by one factor and so by
# all. A derivative by a parameter is the sum of its sources, each carried on by a product. If :math:`p = 0`, b or :math:`\beta` is zero, and all :math:`M_j T_\alpha` are block
# triangular: a change of the values stays one of the values, and is multiplied by at most :math:`\beta d \le 1` each time; one of the state, of size one, has the size :math:`a^j` after j steps,
# puts at most :math:`c\,a^j` into the values, and these add up to at most :math:`c / (1 - a)`.
#
# (b) One state and one value, :math:`M = \begin{pmatrix} a & b \\ c & d \end{pmatrix}` at every step. The characteristic polynomial of :math:`M T_\alpha` at 1 is
# :math:`(1 - a)(1 - \beta d) - \beta bc = (1 - a)\,\big(1 - \beta(d + bc / (1 - a))\big) < 0`, while it goes to infinity: there is an eigenvalue beyond 1. ∎

a, b, c, d, beta = sp.symbols("a b c d beta", nonnegative=True)
M = sp.Matrix([[a, b], [c, d]]) * sp.diag(1, beta)
at_one = (sp.eye(2) - M).det()
assert sp.simplify(at_one - (1 - a) * (1 - beta * (d + b * c / (1 - a)))) == 0

# %%
# A floor
# -------
# **Statement (12.3).** If the :math:`M_j` are invertible, then for every row vector w
#
# .. math:: \|w\,M_{n-1} T_\alpha \cdots M_k T_\alpha\|_1 \ge (1 - \alpha)^{n-k}\,\|w\|_1 \prod_{j=k}^{n-1} \frac{1}{\|M_j^{-1}\|_\infty}.
#
# So forcing takes at most a factor of :math:`1 - \alpha` of a gradient at every step: of all strengths that are enough by 12.2, the smallest one takes least.
#
# **Proof.** :math:`\|v\,T_\alpha\|_1 \ge (1 - \alpha) \|v\|_1`, entry by entry, and :math:`\|v\|_1 = \|v M M^{-1}\|_1 \le \|v M\|_1 \|M^{-1}\|_\infty`, as the row sums of
# :math:`M^{-1}` bound it on row vectors in the 1-norm. Factor by factor. ∎

# %%
# Check on random blocks
# ----------------------
rng = np.random.default_rng(0)


def block(rows: int, columns: int, norm: float) -> np.ndarray:
    """A random matrix with the largest row sum of absolute values that is given."""
    W = rng.normal(size=(rows, columns))
    return norm * W / np.abs(W).sum(1).max()


for _ in range(300):
    norms = rng.uniform(0, [0.99, 3, 3, 3])
    found = critical_forcing(*norms)
    alpha = found.strength + (1 - found.strength) * rng.choice([0, 0, 0.3, 1])
    p = (1 - alpha) * norms[1] / (1 - norms[0])
    product = np.eye(5)
    for _ in range(40):
        (A, B), (C, D) = (block(3, 3, norms[0]), block(3, 2, norms[1])), (block(2, 3, norms[2]), block(2, 2, norms[3]))
        step = np.block([[A, (1 - alpha) * B], [C, (1 - alpha) * D]])
        floor = (1 - alpha) / np.abs(np.linalg.inv(np.block([[A, B], [C, D]]))).sum(1).max()
        w = rng.normal(size=5)
        assert np.abs(w @ step).sum() >= floor * np.abs(w).sum() * (1 - 1e-9)
        product = step @ product
    scale = np.array([p] * 3 + [1.0] * 2)
    if p > 0:
        assert (np.abs(product) @ scale / scale).max() <= 1 + 1e-12
    below = np.array([[norms[0], norms[1]], [norms[2], norms[3]]]) * [1, 1 - 0.999 * found.strength]
    if found.strength > 0:
        assert np.abs(np.linalg.eigvals(below)).max() > 1

# %%
# A network that amplifies what it reads, beside data that it was not trained on: the strength that is measured is below the one that is enough for every network
# with these norms.

torch.manual_seed(0)
network = IncrementNetwork(LEM(1, 4, dtype=torch.float64), 4, 1, torch.float64)
with torch.no_grad():
    for weight in network.core.parameters():
        weight.mul_(0.3)
    network.head.weight.mul_(0.5)
network.base = lambda x: 1.2 * x
series = Series(torch.randn(300, 1, 1, dtype=torch.float64))


def jacobian(v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """By (y, z, x)."""

    def step(w: torch.Tensor) -> torch.Tensor:
        state = ((w[:4].view(1, 1, 4), w[4:8].view(1, 1, 4)), torch.zeros(0, 1, 1, dtype=torch.float64))
        predicted, ((y, z), _) = network.step(w[8:].view(1, 1, 1), state=state)
        return torch.cat([y.flatten(), z.flatten(), predicted.flatten()])

    return torch.autograd.functional.jacobian(step, torch.cat([v, x]))


norms = np.zeros(4)
for _ in range(100):  # states of the cube, values of the data
    J = jacobian(2 * torch.rand(8, dtype=torch.float64) - 1, 3 * torch.randn(1, dtype=torch.float64)).abs()
    rows = J[:8, :8].sum(1).max(), J[:8, 8:].sum(1).max(), J[8:, :8].sum(1).max(), J[8:, 8:].sum(1).max()
    norms = np.maximum(norms, [float(n) for n in rows])
enough, measured = critical_forcing(*norms).strength, forcing_strength(network, series)
assert measured <= enough
assert forced_growth(network, series, enough) <= 1e-9
print(f"norms {norms.round(3)}: a strength of {enough:.3f} is enough, {measured:.3f} is measured")
