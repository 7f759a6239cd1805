r"""
Containment: a surrogate that no free run can leave (8.4)
=========================================================

A network that was trained on data says nothing about states that it has never seen. A glitch in the last sample of a history is enough to set
it down among them, and from there a free run may go anywhere, and stay there. What is proved here does not ask what the network says.

Let F be one step of a surrogate, :math:`x_{k+1} = F(x_k, v_k, e_k)`, with any state :math:`v_k`, any inputs :math:`e_k` and any weights, and

.. math:: \Pi x = \min(\max(x, l), u), \qquad \hat F(x, v, e) = \Pi\,F(\Pi x, v, e)

entry by entry, with :math:`l \le u` the range of the data, spread a little. :math:`[l, u]` is the box.

| Computed by ``lemode.surrogate.containment`` and ``lemode.analysis.trapping_region``; tested as 8.4 in ``tests/properties`` and
| ``tests/surrogate/test_containment.py``.
"""

import numpy as np
import torch

from lemode import LEM
from lemode.surrogate.network import IncrementNetwork

STATEMENTS = ("8.4",)

# %%
# The statement
# -------------
# **Statement (8.4).** (a) Every prediction lies in the box, whatever x, v, e and the weights are; so after one step of a free run the box is never left, and
# with the cube of S1 for the state of a LEM the whole state of the closed loop lies in a compact set. Its map is continuous, so that it has a
# global attractor, inside. The same holds bit by bit in floating point, for all that is a number, an infinite one too.
#
# (b) Where x and F(x, v, e) are in the box, :math:`\hat F(x, v, e) = F(x, v, e)`, to the last bit.
#
# (c) Let :math:`x^*` be the next value of data in the box. Then :math:`|\hat F(x, v, e) - x^*| \le |F(\Pi x, v, e) - x^*|`, entry by entry: of
# such data containment makes no one-step error larger.
#
# (d) :math:`|\hat F(x, v, e) - \hat F(x', v', e)| \le |F(\Pi x, v, e) - F(\Pi x', v', e)|` and :math:`|\Pi x - \Pi x'| \le |x - x'|`. So a Lipschitz constant
# of F on the box, in any norm that grows with the sizes of the entries, is one of :math:`\hat F` everywhere; where :math:`\hat F` has a derivative, it is
# that of F with some rows and columns set to zero.
#
# **Proof.** (a) :math:`l \le \min(\max(a, l), u) \le u` for every number a, and min and max return one of their arguments, without rounding. A composition of continuous
# maps is continuous; a continuous map of a compact set into itself has a global attractor, the intersection of its images. (b) :math:`\Pi a = a` for a in the box, again without
# rounding. (d) of one entry, the function :math:`a \mapsto \min(\max(a, l), u)` is monotone with slopes between 0 and 1, so
# :math:`|\Pi a - \Pi b| \le |a - b|`. (c) is (d) with :math:`b = x^* = \Pi x^*`. ∎
#
# What is *not* said: that a free run is right inside the box. Where it is held at the edge it is not, and `forecast` says so. A variable that has
# no bounds, as its data drift, is not in the statement; the others are.
#
# A network with a head that wants to leave
# -----------------------------------------

torch.manual_seed(0)
network = IncrementNetwork(LEM(2, 8, dtype=torch.float64), 8, 2, torch.float64)
network.lower.copy_(torch.tensor([-2.0, -1.0]))
network.upper.copy_(torch.tensor([2.0, 1.5]))
with torch.no_grad():
    network.head.weight.mul_(1e6)
    starts = torch.cat([torch.randn(1, 500, 2, dtype=torch.float64) * 10.0**k for k in (0, 3, 300)], 1)
    x, state = network.step(starts)
    runs = [x]
    for _ in range(50):
        x, state = network.step(x, state=state)
        runs.append(x)
    runs = torch.stack(runs)
assert ((runs >= network.lower) & (runs <= network.upper)).all()
print(
    "51 steps from 1,500 starts up to 1e300 away, values from",
    runs.amin((0, 1, 2)).tolist(),
    "to",
    runs.amax((0, 1, 2)).tolist(),
)

# %%
# (b), (c) and (d) on random numbers, many of them at the edges.

rng = np.random.default_rng(0)
low = rng.normal(size=(10_000, 3)) - 1
high = low + rng.exponential(size=low.shape)
a, b = (np.where(rng.random(low.shape) < 0.3, rng.choice([low, high]), 3 * rng.normal(size=low.shape)) for _ in range(2))
held_a, held_b = (np.minimum(np.maximum(v, low), high) for v in (a, b))
inside = (a >= low) & (a <= high)
assert (held_a[inside] == a[inside]).all()
assert (np.abs(held_a - held_b) <= np.abs(a - b)).all()
assert (np.abs(held_a - held_b) <= np.abs(a - held_b)).all()  # (c), with the data's value in the box
print(f"held values of {a.size:,} pairs: none moved inside, none further apart")
