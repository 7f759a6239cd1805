r"""
The cube in floating point (S4)
===============================

S1 says :math:`|z| \le 1` in exact arithmetic. Does it survive rounding? It does, with no tolerance at all, for each of the three ways
in which one may write the step. lemode uses the second.

| Tested as S4 in ``tests/properties``, in float32 and float64.

**Setting.** Binary floating point with precision p (24 for float32, 53 for float64), every operation rounded to nearest, ties to even;
:math:`\mathrm{fl}(x)` is the rounded x. The numbers g, z, t are floating point numbers with :math:`0 \le g \le 1`,
:math:`|z| \le 1`, :math:`|t| \le 1`: the leak, the state, the candidate. Gradual underflow is allowed.

**Statement S4.** Each of

.. math::

    \text{(a)}\quad & \mathrm{fl}\big(\mathrm{fl}(\mathrm{fl}(1 - g)\, z) + \mathrm{fl}(g\,t)\big), \\
    \text{(b)}\quad & \mathrm{fl}\big(z + \mathrm{fl}(g\,\mathrm{fl}(t - z))\big), \\
    \text{(c)}\quad & \mathrm{fl}\big(\mathrm{fl}(z - \mathrm{fl}(g z)) + \mathrm{fl}(g\,t)\big)

has absolute value at most 1, exactly. This stays true if a compiler contracts a product and a sum into one fused multiply-add.
"""

from itertools import product

import numpy as np

STATEMENTS = ("S4",)

# %%
# Proof
# -----
# Two facts about rounding to nearest are used.
#
# 1. fl is nondecreasing, odd, and leaves floating point numbers alone. So if :math:`x \le c` and c is a floating point number, then
#    :math:`\mathrm{fl}(x) \le c`.
# 2. For :math:`0 \le x \le 1`, :math:`|\mathrm{fl}(x) - x| \le 2^{-(p+1)}`, half the spacing just below 1; for :math:`1 \le x \le 2`,
#    :math:`|\mathrm{fl}(x) - x| \le 2^{-p}`, half the spacing just above 1. (Underflow has a far smaller absolute error.)
#
# Fact 2 implies the *key*: **if** :math:`x \le 1 + 2^{-p}` **then** :math:`\mathrm{fl}(x) \le 1`. Indeed the neighbour of 1 above is
# :math:`1 + 2^{1-p}`, and :math:`1 + 2^{-p}` is the point half way, a tie, which goes to the even one of the two: 1.
#
# Changing the signs of z and t changes the sign of each of the three expressions, as fl is odd; so it is enough to show that they are
# at most 1.
#
# **(a)** By monotonicity :math:`\mathrm{fl}(\mathrm{fl}(1-g) z) \le \mathrm{fl}(1 - g)` and :math:`\mathrm{fl}(g t) \le g`. By fact 2,
# :math:`\mathrm{fl}(1 - g) + g \le 1 + 2^{-(p+1)}`, and the key applies.
#
# **(b)** The expression does not decrease in t, as :math:`g \ge 0`: put t = 1. Now :math:`\mathrm{fl}(1 - z) \ge 0`, so that it does
# not decrease in g either: put g = 1. There remains :math:`\mathrm{fl}(z + \mathrm{fl}(1 - z))`. As :math:`0 \le 1 - z \le 2`, fact 2
# gives :math:`z + \mathrm{fl}(1 - z) \le 1 + 2^{-p}`, and the key applies. (For z < 0 the tie is possible.)
#
# **(c)** Let :math:`a = \mathrm{fl}(z - \mathrm{fl}(g z))`; as :math:`\mathrm{fl}(g t) \le g` it is enough that
# :math:`a + g \le 1 + 2^{-p}`. If :math:`z \le 0` then :math:`g z \ge z`, hence :math:`\mathrm{fl}(g z) \ge z`,
# hence :math:`a \le 0` and :math:`a + g \le 1`. If z > 0 then :math:`g z` and :math:`z - \mathrm{fl}(g z)` lie in [0, 1], so that
# each of the two roundings in a errs by at most :math:`2^{-(p+1)}`, and
# :math:`a + g \le z - g z + g + 2 \cdot 2^{-(p+1)} = 1 - (1 - g)(1 - z) + 2^{-p} \le 1 + 2^{-p}`.
#
# **Contraction.** A fused multiply-add omits one inner rounding. (a): the omitted one is that of a product, whose bound,
# :math:`\mathrm{fl}(1-g)` or g, it obeys anyway. (b): the reduction to g = 1 makes the product exact. (c): if the inner pair is fused,
# :math:`a = \mathrm{fl}((1 - g) z)` has one error fewer, and :math:`a \le 0` for :math:`z \le 0`; if the outer one is,
# :math:`g t \le g` still. ∎
#
# The leaks themselves are at most 1 in floating point: :math:`\mathrm{fl}(\Delta t\, g) \le 1` if both factors are;
# :math:`\mathrm{fl}(x / \mathrm{fl}(1 + x)) \le 1` as :math:`x \le \mathrm{fl}(1 + x)`; and :math:`-\mathrm{expm1}(-x)` lies in [0, 1] for
# an ``expm1`` that never leaves [-1, 0] for negative arguments. What the proof asks of the elementary functions is just that: that
# ``sigmoid`` stays in [0, 1] and ``tanh`` in [-1, 1].

# %%
# Exhaustive check in small formats
# ---------------------------------
# The proof holds for every p, so that small formats can be checked completely: every g, z, t of a format with 3, 4 and 5 bits, all forms
# and all their contractions. Arithmetic of so few bits is exact in float64, which makes rounding it a matter of scaling.


def rounder(p, ties="even", smallest=-9):
    """fl for p bits with subnormals below 2**smallest."""

    def fl(x):
        _, e = np.frexp(x)
        ulp = np.exp2(np.maximum(e, smallest) - p)
        q = x / ulp
        return ulp * (np.rint(q) if ties == "even" else np.sign(q) * np.floor(np.abs(q) + 0.5))

    return fl


def forms(fl, g, z, t):
    """The three forms, then their contractions."""
    yield fl(fl(fl(1 - g) * z) + fl(g * t))
    yield fl(z + fl(g * fl(t - z)))
    yield fl(fl(z - fl(g * z)) + fl(g * t))
    yield fl(fl(1 - g) * z + fl(g * t))
    yield fl(fl(fl(1 - g) * z) + g * t)
    yield fl(z + g * fl(t - z))
    yield fl(fl(z - g * z) + fl(g * t))
    yield fl(fl(z - fl(g * z)) + g * t)
    yield fl(fl(z - g * z) + g * t)


def every(p, smallest=-9):
    """Every nonnegative number up to 1 of the format."""
    numbers = {m * 2.0 ** (e - p) for m, e in product(range(2**p), range(smallest, 1))} | {1.0}
    return np.array(sorted(x for x in numbers if x <= 1))


for p in (3, 4, 5):
    unit = every(p)
    fl = rounder(p)
    assert np.array_equal(fl(unit), unit)  # they are numbers of the format
    both = np.concatenate([-unit[::-1], unit])
    for g in unit:
        for value in forms(fl, g, both[:, None], both[None, :]):
            assert np.abs(value).max() <= 1

# %%
# Ties to even is needed: with ties away from zero form (b), with a negative z close to 0, leaves the cube.

fl = rounder(4, ties="away")
unit = every(4)
assert max(np.max(value) for g in unit for value in [fl(-unit + fl(g * fl(1 + unit)))]) > 1

# %%
# Samples in float32 and float64, with many values next to the critical ones.

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    eps = np.finfo(dtype).eps
    for _ in range(4):
        n = 200_000
        g, z, t = rng.uniform(0, 1, n), rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)
        near = eps * rng.integers(0, 8, n)
        g[::3], z[::2], t[::5] = 1 - near[::3] / 2, np.sign(z[::2]) * near[::2], np.sign(t[::5])
        g, z, t = (x.astype(dtype) for x in (g, z, t))
        one = dtype(1)
        for value in ((one - g) * z + g * t, z + g * (t - z), (z - g * z) + g * t):
            assert value.dtype == dtype
            assert np.abs(value).max() <= 1
