"""Statements 12.1 to 12.3: the Jacobian of a run that is drawn towards data, a ceiling over its products and a floor under them."""

from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import lemode
from lemode.analysis import critical_forcing, step_jacobian
from lemode.surrogate.network import IncrementNetwork

F64 = torch.float64
strengths = st.sampled_from([0.0, 0.05, 0.5, 1.0])


class Forced:
    """A surrogate's network of one LEM, with a run along random data, and the blocks of its Jacobians by the formulas of the step."""

    def __init__(self, seed, strength=0.3, d=3, D=2, scale=0.4, gain=1.3, steps=12):
        self.D, self.strength = D, strength
        generator = torch.Generator().manual_seed(seed)
        self.network = IncrementNetwork(lemode.LEM(D, d, dt=0.8, dtype=F64), d, D, F64)
        with torch.no_grad():
            for p in self.network.parameters():
                p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=F64))
        self.network.base = lambda x: gain * x  # what amplifies
        self.gain, self.data = gain, torch.randn(steps + 1, 1, D, generator=generator, dtype=F64)

    def run(self, x=None, state=None, begin=0):
        """Predictions and states from sample `begin` on."""
        x, found, states = self.data[begin : begin + 1] if x is None else x, [], []
        for k in range(begin, len(self.data) - 1):
            predicted, state = self.network.step(x, state=state)
            found.append(predicted)
            states.append(state)
            x = (1 - self.strength) * predicted + self.strength * self.data[k + 1 : k + 2]
        return found, states

    def blocks(self):
        """M_k of every step but the first, from the Jacobian of the step of statement 3, written out."""
        cell, C = self.network.core.cells[0], self.network.head.weight
        found, states = self.run()
        out = []
        for k in range(1, len(found)):
            (y, z), _ = states[k - 1]
            x = (1 - self.strength) * found[k - 1] + self.strength * self.data[k : k + 1]
            state = (y[0, 0], z[0, 0])
            J = step_jacobian(cell, state, x[0, 0])
            A = J.matrix()  # in the order (z, y)
            uz, uy = lemode.analysis.input_jacobian(cell, state, x[0, 0])[::-1]
            B = torch.cat([uz, uy])
            d = len(y[0, 0])
            c = torch.cat([torch.zeros(self.D, d, dtype=F64), C], 1)
            out.append(
                torch.cat([torch.cat([A, B], 1), torch.cat([c @ A, self.gain * torch.eye(self.D, dtype=F64) + c @ B], 1)])
            )
        return torch.stack(out).detach()


def norm(W):
    return float(W.abs().sum(-1).max())


@given(st.integers(0, 10**6), strengths, st.sampled_from([0.4, 3.0]))
def test_12_1_the_jacobian_of_a_forced_run(seed, strength, scale):
    """Beside torch's own differentiation through all steps."""
    forced = Forced(seed, strength, scale=scale)
    T = torch.diag(torch.cat([torch.ones(6, dtype=F64), torch.full((2,), 1 - strength, dtype=F64)]))
    product = torch.eye(8, dtype=F64)
    for M in forced.blocks():
        product = M @ T @ product
    found, states = forced.run()
    first = found[0].detach()
    ((y, z), past) = states[0]

    def last(w):
        state = ((w[3:6].view(1, 1, 3), w[:3].view(1, 1, 3)), past)
        x = (1 - strength) * w[6:].view(1, 1, 2) + strength * forced.data[1:2]
        values, after = forced.run(x, state, begin=1)
        (y, z), _ = after[-1]
        return torch.cat([z.flatten(), y.flatten(), values[-1].flatten()])

    w = torch.cat([z.flatten(), y.flatten(), first.flatten()]).detach()
    # eleven products of matrices of eight rows, whose entries may be large
    torch.testing.assert_close(
        product, torch.autograd.functional.jacobian(last, w), rtol=1e-9, atol=1e-9 * float(product.abs().max())
    )


@given(st.integers(0, 10**6), st.floats(0.5, 2.5), st.sampled_from([0.0, 0.01, 0.4]))
def test_12_2_products_and_gradients_are_bounded(seed, gain, more):
    forced = Forced(seed, strength=1.0, scale=0.1, gain=gain, steps=25)
    for _ in range(20):  # the norms are those of a run, which the strength changes
        M = forced.blocks()
        a, b, c, d = (
            max(norm(m[rows, columns]) for m in M) for rows in (slice(6), slice(6, 8)) for columns in (slice(6), slice(6, 8))
        )
        assume(a < 1)
        found = critical_forcing(a, b, c, d)
        tried, forced.strength = forced.strength, min(found.strength + more + 1e-9, 1.0)
        if found.strength <= tried <= found.strength + more + 1e-6:
            forced.strength = tried
            break
    else:
        assume(False)
    assume(forced.strength < 1)
    p = (1 - forced.strength) * b / (1 - a)
    scale = torch.cat([torch.full((6,), p, dtype=F64), torch.ones(2, dtype=F64)])
    product = torch.eye(8, dtype=F64)
    for m in M:
        product = torch.cat([m[:, :6], (1 - forced.strength) * m[:, 6:]], 1) @ product
        assert float((product.abs() @ scale / scale).max()) <= 1 + 1e-12
    values, _ = forced.run()
    values[-1].sum().backward()
    # a change of the head's bias goes into the values alone, by the scale of the increments, and each of the two values counts
    measured = forced.network.head.bias.grad.abs().max()
    assert float(measured) <= 2 * len(values) * float(forced.network.increment.max()) * (1 + 1e-12)


@given(st.floats(0, 0.999), st.floats(0, 5), st.floats(0, 5), st.floats(0, 5))
def test_12_2_is_best_possible_and_rounded_up(a, b, c, d):
    """At the strength nothing of one state and one value grows; below it, it does. In exact arithmetic."""
    strength, weight = critical_forcing(a, b, c, d)
    found = Fraction(strength)
    assert weight == pytest.approx((1 - strength) * b / (1 - a), rel=1e-14)
    a, b, c, d = map(Fraction, (a, b, c, d))
    exact = max(Fraction(0), 1 - 1 / (d + b * c / (1 - a))) if d + b * c > 0 else Fraction(0)
    assert exact <= found <= min(exact + Fraction(1, 10**12), 1)  # some twenty roundings up of numbers below one
    if exact > 0:
        less = exact - exact / 10**6
        assert (1 - a) * (1 - (1 - less) * d) < (1 - less) * b * c  # the characteristic polynomial at 1 is negative


@given(st.integers(0, 10**6), strengths, st.sampled_from([0.2, 1.0]))
def test_12_3_forcing_takes_no_more_than_its_factor(seed, strength, scale):
    forced = Forced(seed, strength, scale=scale)
    M = forced.blocks()
    w = torch.randn(8, generator=torch.Generator().manual_seed(seed), dtype=F64)
    v, floor = w, float(w.abs().sum())
    for m in reversed(M):
        inverse = torch.linalg.inv(m)
        assume(bool(torch.isfinite(inverse).all()) and norm(inverse) < 1e8)
        v = torch.cat([(v @ m)[:6], (1 - strength) * (v @ m)[6:]])
        floor *= (1 - strength) / norm(inverse)
        assert float(v.abs().sum()) >= floor * (1 - 1e-6)  # inverses of condition 1e8, in float64


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((1.0, 1, 1, 1), "does not forget"),
        ((-0.1, 1, 1, 1), "norms"),
        ((0.5, float("nan"), 1, 1), "finite"),
        ((1 - 1e-17, 1, 1, 1), "forget"),
    ],
)
def test_12_2_what_is_no_norm_is_refused(numbers, said):
    with pytest.raises(ValueError, match=said):
        critical_forcing(*numbers)


def test_12_2_without_gain_no_forcing_is_needed():
    assert critical_forcing(0.9, 0.0, 7.0, 1.0) == (0.0, 0.0)
    assert critical_forcing(0.5, 1.0, 0.0, 0.9) == (0.0, 2.0)
    assert critical_forcing(0.0, 0.0, 0.0, 0.0) == (0.0, 0.0)
