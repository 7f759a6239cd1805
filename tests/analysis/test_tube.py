"""Tubes: what is proved near a trajectory is near the truth, holds for the network that runs, and ends in a sentence."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import lemode
from lemode.analysis import jacobian_bound, step_jacobian, tube_along
from lemode.analysis.tube import Spread, check_work


def network(layers=1, dtype=torch.float64, scale=1.0, **kw):
    rnn = lemode.LEM(2, 4, layers, **({"dt": 0.7, "dtype": dtype} | kw))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in rnn.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=generator))
    return rnn


def inputs(n=60, dtype=torch.float64):
    return torch.sin(torch.tensor([0.3, 0.8]) * torch.arange(float(n))[:, None]).to(dtype)


def test_the_product_is_within_a_few_per_cent_of_what_is_met_in_the_tube():
    """A wider box is one about which less is known; the a-priori bound is off by orders of magnitude."""
    rnn, u, rng = network(), inputs(), np.random.default_rng(0)
    cell, found, measured = rnn.cells[0], {}, {}
    for radius in (1e-5, 1e-3):
        found[radius], measured[radius] = tube_along(rnn, u, radius=radius), 0.0
        for _ in range(4):
            y, z = (torch.from_numpy(radius * rng.choice([-1.0, 1.0], 4)) for _ in range(2))
            product = np.eye(8)
            with torch.no_grad():
                for u_n in u:
                    product = step_jacobian(cell, (y, z), u_n).matrix().numpy() @ product
                    y, z = cell.scheme.step(cell.ode, (y, z), u_n, cell.dt)
            measured[radius] = max(measured[radius], np.abs(product).sum(1).max())
        assert measured[radius] <= found[radius].product[-1]
    assert found[1e-5].product[-1] <= 1.1 * measured[1e-5]
    assert found[1e-5].product[-1] < found[1e-3].product[-1] < 1e-6 * jacobian_bound(cell) ** 60


@pytest.mark.parametrize("layers", [1, 2])
def test_a_tube_of_no_width_is_about_rounding_alone(layers):
    """A float32 network stays within it, and not within one that forgets what it rounds."""
    rnn, u = network(layers, torch.float32), inputs(20, torch.float32)
    found = tube_along(rnn, u, radius=0.0)
    with torch.no_grad():
        states = rnn.states(u[:, None])
    gap = 0.0
    for k, (ys, zs) in enumerate(states):
        for seen, middle, radius in ((ys, found.y, found.radius_y), (zs, found.z, found.radius_z)):
            error = np.abs(seen[:, 0].double().numpy() - middle[1:, k])
            assert (error <= radius[1:, k]).all()
            gap = max(gap, error.max())
    assert found.steps == 20
    assert 1e-9 < gap < found.radius_y[-1].max() < 1e-2


def test_all_layers_stay_in_the_tube_and_read_the_one_below():
    rnn, u, rng = network(2, scale=0.7), inputs(15), np.random.default_rng(1)
    radius = rng.uniform(0, 1e-3, (2, 2, 4))  # of y and z, of each layer
    found = tube_along(rnn, u, radius=radius)
    for _ in range(5):
        y, z = (torch.from_numpy(r * rng.choice([-1.0, 1.0], r.shape))[:, None] for r in radius)
        with torch.no_grad():
            states = rnn.states(u[:, None], (y, z))
        for k, (ys, zs) in enumerate(states):
            assert (np.abs(ys[:, 0].numpy() - found.y[1:, k]) <= found.radius_y[1:, k]).all()
            assert (np.abs(zs[:, 0].numpy() - found.z[1:, k]) <= found.radius_z[1:, k]).all()


def test_it_says_where_it_ends():
    found = tube_along(network(scale=1.0), inputs(), radius=1e-2)
    assert 0 < found.steps < 60
    last = found.steps
    assert np.isfinite(found.radius_y[: last + 1]).all()
    assert np.isfinite(found.product[: last + 1]).all()
    assert np.isinf(found.radius_y[last + 1 :]).all()
    assert np.isinf(found.product[last + 1 :]).all()
    assert np.isfinite(found.y).all()  # the middle is known all the same
    assert str(found).startswith(f"Proved for {last} of 60 steps: trajectories stay within ")


def test_a_cell_with_a_start_of_its_own():
    cell, u = network().cells[0], inputs(5)
    y, z = torch.full((4,), 0.5, dtype=torch.float64), torch.full((4,), -0.5, dtype=torch.float64)
    found = tube_along(cell, u, (y, z), radius=1e-6)
    assert found.y[0, 0].tolist() == y.tolist()
    assert found.z[0, 0].tolist() == z.tolist()
    assert np.array_equal(found.y, tube_along(network(), u, (y[None], z[None]), radius=1e-6).y)


def test_spread_is_the_sum_of_products_formed_anew():
    rng = np.random.default_rng(2)
    As, qs = rng.standard_normal((5, 3, 3)), rng.uniform(0, 1, (6, 3, 2))
    spread = Spread(3, 5, columns=2)
    spread.add(qs[0])
    for A, q in zip(As, qs[1:]):
        spread.advance(A, q)
    expected = sum(np.abs(np.linalg.multi_dot([np.eye(3), *As[k:][::-1], np.eye(3)])) @ qs[k] for k in range(6))
    assert np.allclose(spread.total(), expected, rtol=1e-12)


def test_reach_is_not_below_the_exact_one_where_all_cancels():
    """What a product of matrices loses to rounding is then larger than the product."""
    rng, size, below = np.random.default_rng(3), 20, 0
    for _ in range(20):
        A, q = rng.standard_normal((size, 8)) @ rng.standard_normal((8, size)), rng.uniform(0, 1, (size, 1))
        M = np.linalg.svd(A)[0][:, 8:].T  # M @ A would be zero
        spread = Spread(size, 2)
        spread.add(q)
        spread.advance(A, np.zeros((size, 1)))
        exact = [
            float(
                sum(abs(sum(Fraction(m) * Fraction(a) for m, a in zip(row, A[:, j]))) * Fraction(q[j, 0]) for j in range(size))
            )
            for row in M
        ]
        assert (spread.reach(M) >= exact).all()
        below += (np.abs(M @ A) @ q[:, 0] < exact).sum()
    assert below > 10  # so that the test can fail


def test_the_number_of_steps_that_is_offered_is_taken():
    with pytest.raises(ValueError, match=r"501 steps in 200 dim.*give at most 500 steps"):
        check_work(200, 501, "a tube")
    check_work(200, 500, "a tube")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rnn": torch.nn.LSTM(2, 4)}, TypeError, "rnn is LSTM: give a lemode.LEM"),
        ({"rnn": lemode.LEM(2, 4, bidirectional=True)}, ValueError, "bidirectional=True"),
        ({"rnn": lemode.LEMCell(2, 4, scheme="strang")}, ValueError, "scheme='strang'"),
        ({"u": inputs()[:, :1]}, ValueError, r"u has shape \(60, 1\).*\(N, 2\)"),
        ({"u": inputs()[:0]}, ValueError, "u has shape"),
        ({"u": inputs() * math.nan}, ValueError, "finite numbers"),
        ({"radius": -1e-3}, ValueError, "radius=-0.001.*not negative"),
        ({"radius": math.inf}, ValueError, "radius=inf"),
        ({"radius": np.ones(5)}, ValueError, r"radius has shape \(5,\): give one number, or \(2, 1, 4\)"),
        ({"input_radius": np.ones(3)}, ValueError, "input_radius has shape"),
        ({"state": (torch.zeros(3), torch.zeros(3))}, ValueError, r"state has shapes \(3,\)"),
        ({"u": inputs(100_000)}, ValueError, "100000 steps in 8 dimensions.*give at most"),
    ],
)
def test_refused_in_a_sentence(arguments, error, message):
    given = {"rnn": network(), "u": inputs(), "state": None} | arguments
    with pytest.raises(error, match=message):
        tube_along(given.pop("rnn"), given.pop("u"), given.pop("state"), **given)
