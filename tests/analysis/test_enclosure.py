"""One step over a box: the range of its derivative, what rounding adds, and arithmetic that is rounded outward."""

import mpmath
import numpy as np
import pytest
import torch

import lemode
from lemode.analysis import enclosure, input_jacobian, step_jacobian
from lemode.analysis.enclosure import Ball, LayerStep, Line, enclose_layers
from lemode.analysis.rounding import unit_roundoff
from lemode.kernels import BACKENDS, run
from lemode.kernels.backends import LEAKY


def cell(scheme="imex", scale=2.0, dtype=torch.float64, dt=0.8, d=3, seed=0):
    made = lemode.LEMCell(2, d, dt=dt, scheme=scheme, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=generator))
    return made


@pytest.mark.parametrize("scheme", LEAKY)
@pytest.mark.parametrize("scale", [0.5, 2.0, 30.0])  # the last saturates gates and targets
def test_derivatives_in_the_box_are_within_the_radius_of_the_one_in_the_middle(scheme, scale):
    made, rng = cell(scheme, scale), np.random.default_rng(1)
    step, d = LayerStep(made), 3
    reached = 0.0
    for radius in (1e-6, 1e-2, 0.3):
        x, u = rng.uniform(-1, 1, 2 * d), rng.uniform(-1, 1, 2)
        ex, eu = rng.uniform(0, radius, 2 * d), rng.uniform(0, radius, 2)
        found = step.enclose(x, ex, u, eu, unit_roundoff(torch.float64))
        n = 400
        corners = rng.choice([-1, 1], (n, 2 * d + 2)) * np.where(rng.random((n, 1)) < 0.7, 1, rng.random((n, 2 * d + 2)))
        xs = torch.from_numpy(x + corners[:, : 2 * d] * ex)
        state, us = (xs[:, d:], xs[:, :d]), torch.from_numpy(u + corners[:, 2 * d :] * eu)
        with torch.no_grad():
            J = step_jacobian(made, state, us).matrix().numpy()
            U = torch.cat(input_jacobian(made, state, us)[::-1], -2).numpy()
        for seen, ball in ((J, found.state), (U, found.input)):
            gap = np.abs(seen - ball.mid)
            # what lemode.analysis computes has its own rounding
            assert (gap <= ball.rad + 1e-15 * (1 + np.abs(ball.mid))).all()
            reached = max(reached, (gap / (ball.rad + 1e-15)).max())
    assert reached > 0.5  # a radius of no use would pass, too


@pytest.mark.parametrize("scheme", LEAKY)
def test_the_image_of_the_middle_is_that_of_50_digits_but_for_what_is_said(scheme):
    made, step = cell(scheme), LayerStep(cell(scheme))
    mpmath.mp.dps = 50
    leak = {"imex": lambda x: x, "semi_implicit": lambda x: x / (1 + x), "exponential": lambda x: 1 - mpmath.exp(-x)}[scheme]
    rng, w = np.random.default_rng(2), {k: mpmath.matrix(v.tolist()) for k, v in step.w.items()}
    for _ in range(5):
        x, u = rng.uniform(-1, 1, 6), rng.uniform(-3, 3, 2)
        z, y, e = (mpmath.matrix(part.tolist()) for part in (x[:3], x[3:], u))

        def half(old, k, candidate, through, y=y, e=e):
            a, b = w["W" + k] * y + w["V" + k] * e + w["b" + k], w["W" + candidate] * through + w["V" + candidate] * e
            b += w["b" + candidate]
            part = [leak(made.dt / (1 + mpmath.exp(-a[i]))) for i in range(3)]
            return mpmath.matrix([(1 - part[i]) * old[i] + part[i] * mpmath.tanh(b[i]) for i in range(3)])

        z_new = half(z, "1", "z", y)
        y_new = half(y, "2", "y", z_new)
        found = step.enclose(x, np.zeros(6), u, np.zeros(2), unit_roundoff(torch.float64))
        error = [abs(mpmath.mpf(float(a)) - b) for a, b in zip(found.image, [*z_new, *y_new])]
        assert all(e <= r for e, r in zip(error, found.own))
        assert found.own.max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_that_runs_rounds_by_no_more_than_is_said(backend, dtype):
    made, rng, unit = cell(dtype=dtype, d=20, scale=1.0), np.random.default_rng(3), unit_roundoff(dtype)
    try:
        run(
            made.ode,
            made.scheme,
            torch.zeros(1, 1, 2, dtype=dtype),
            *torch.zeros(2, 1, 20, dtype=dtype),
            made.dt,
            backend=backend,
        )
    except (ValueError, RuntimeError) as error:
        pytest.skip(str(error))
    step, closest = LayerStep(made), 0.0
    for _ in range(20):
        x, u = (torch.from_numpy(rng.uniform(-1, 1, n)).to(dtype) for n in (40, 2))
        with torch.no_grad():
            ys, zs = run(made.ode, made.scheme, u[None, None], x[None, 20:], x[None, :20], made.dt, backend=backend)
        found = step.enclose(x.double().numpy(), np.zeros(40), u.double().numpy(), np.zeros(2), unit)
        error = np.abs(torch.cat([zs[0, 0], ys[0, 0]]).double().numpy() - found.image)
        assert (error <= found.running + found.own).all()
        closest = max(closest, (error / found.running).max())
    if dtype == torch.float32:
        assert closest > 1e-3  # the bound is one on the worst case, of every order of a sum


@pytest.mark.parametrize("gate", ["1", "2"])
def test_a_gate_whose_sum_cancels_rounds_by_no_more_than_is_said_and_by_more_than_all_else(gate):
    made, rng, reached = cell(dtype=torch.float32, d=20, scale=0.0), np.random.default_rng(6), 0.0
    x = torch.from_numpy(rng.uniform(-1, 1, 40)).float()
    for _ in range(10):
        W = 1e3 * torch.from_numpy(rng.standard_normal((20, 20))).float()
        with torch.no_grad():
            made.ode.blocks()._asdict()["W" + gate].copy_(W)
            made.ode.blocks()._asdict()["b" + gate].copy_(-(W.double() @ x[20:].double()))
            ys, zs = run(made.ode, made.scheme, torch.zeros(1, 1, 2), x[None, 20:], x[None, :20], made.dt)
        found = LayerStep(made).enclose(
            x.double().numpy(), np.zeros(40), np.zeros(2), np.zeros(2), unit_roundoff(torch.float32)
        )
        error = np.abs(torch.cat([zs[0, 0], ys[0, 0]]).double().numpy() - found.image)
        assert (error <= found.running + found.own).all()
        reached = max(reached, error.max())
    assert reached > 1e-5  # what all else rounds by is a few units of 6e-8


def test_layers_read_what_the_layer_below_has_just_made():
    rnn, generator = lemode.LEM(2, 3, num_layers=2, dt=0.6, dtype=torch.float64), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in rnn.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
        for name, p in rnn.cells[1].named_parameters():  # the second layer is all about what it reads
            p.mul_(2.0 if "ih" in name else 0.3)
    steps, rng = [LayerStep(c) for c in rnn.layers()], np.random.default_rng(4)
    x, u = rng.uniform(-1, 1, 12), rng.uniform(-1, 1, 2)

    def move(v):
        z1, y1, z2, y2 = v[:12].reshape(4, 1, 3)
        layers = rnn.states(v[None, None, 12:], (torch.stack([y1, y2]), torch.stack([z1, z2])))
        return torch.cat([part[0, 0] for y, z in layers for part in (z, y)])

    v = torch.from_numpy(np.concatenate([x, u]))
    J = torch.autograd.functional.jacobian(move, v).numpy()
    found = enclose_layers(steps, x, np.zeros(12), u, np.zeros(2), unit_roundoff(torch.float64))
    assert np.allclose(found.image, move(v).detach().numpy(), atol=1e-15)
    assert np.allclose(np.hstack([found.by_state.mid, found.by_input.mid]), J, atol=1e-14)
    # over a box of inputs alone, which reach the second layer through the first
    found = enclose_layers(steps, x, np.zeros(12), u, np.full(2, 0.2), unit_roundoff(torch.float64))
    reached = 0.0
    for corner in ([-1, -1], [-1, 1], [1, -1], [1, 1]):
        there = torch.from_numpy(np.concatenate([x, u + 0.2 * np.array(corner)]))
        gap = np.abs(torch.autograd.functional.jacobian(move, there).numpy()[:, :12] - found.by_state.mid)
        assert (gap <= found.by_state.rad + 1e-14).all()
        reached = max(reached, (gap / (found.by_state.rad + 1e-14))[6:].max())
    assert reached > 0.2


def test_products_of_balls_contain_the_products_and_are_as_small_as_can_be():
    rng = np.random.default_rng(5)
    A, B = (Ball(rng.standard_normal((4, 4)), rng.uniform(0, 0.1, (4, 4))) for _ in range(2))
    found = A @ B
    assert np.allclose(found.rad, np.abs(A.mid) @ B.rad + A.rad @ (np.abs(B.mid) + B.rad), rtol=1e-12)
    # attained where nothing has a sign
    A, B = (Ball(np.abs(M.mid), M.rad) for M in (A, B))
    assert np.allclose((A.mid + A.rad) @ (B.mid + B.rad) - (A @ B).mid, (A @ B).rad, rtol=1e-12)


@pytest.mark.parametrize("scheme", LEAKY)
def test_images_of_what_is_in_a_set_are_within_the_rest_of_the_line(scheme):
    """Of a set that is long in one direction and thin in all others, where a box says much less."""
    made, rng, d = cell(scheme, d=4), np.random.default_rng(7), 4
    step, reached, sharper = LayerStep(made), {1: 0.0, 4: 0.0}, []
    G, eye = np.hstack([rng.standard_normal((2 * d + 2, 1)), np.eye(2 * d + 2)]), np.eye(2 * d + 2)
    for length in (1e-3, 1e-2, 0.1):
        q = np.append(length, np.full(2 * d + 2, 1e-3 * length))
        v, e = rng.uniform(-0.5, 0.5, 2 * d + 2), np.abs(G) @ q
        z, y, u = (Line(v[p], eye[p], np.zeros(len(e[p])), e[p]) for p in (slice(0, d), slice(d, 2 * d), slice(2 * d, None)))

        def image(w):
            state = torch.from_numpy(w[d : 2 * d]), torch.from_numpy(w[:d])
            with torch.no_grad():
                y_new, z_new = made.scheme.step(made.ode, state, torch.from_numpy(w[2 * d :]), made.dt)
            return torch.cat([z_new, y_new]).numpy()

        box = step.enclose(v[: 2 * d], e[: 2 * d], v[2 * d :], e[2 * d :], 2.0**-53)
        wide = box.state.rad @ e[: 2 * d] + box.input.rad @ e[2 * d :]
        for parts in (1, 4):
            lines, own, running = step.follow([z, y], u, lambda M, q=q: np.abs(M @ G) @ q, 2.0**-53, parts)
            by, rest = (np.concatenate([getattr(line, name) for line in lines]) for name in ("by", "rest"))
            assert np.allclose(by, np.hstack([box.state.mid, box.input.mid]), atol=1e-13)
            sharper.append(np.median(rest / wide))
            for _ in range(300):
                # two points whose difference is in the set, as each is; or one and the middle
                half = rng.choice([-1, 1], len(q)) * rng.choice([1.0, rng.random()])
                ends = (0.5 * G @ (q * half), -0.5 * G @ (q * half)) if parts == 1 else (G @ (q * half), 0 * v)
                shift = rng.uniform(-0.5, 0.5) * G[:, 0] * length if parts == 1 else 0.0
                a, b = (v + shift + end for end in ends)
                gap = np.abs(image(a) - image(b) - by @ (a - b))
                # both images are rounded, and the difference of their origins
                assert (gap <= rest + 2 * (own + running) + 1e-15).all()
                reached[parts] = max(reached[parts], (gap / (rest + 1e-14)).max())
    assert min(reached.values()) > 0.2
    assert np.median(sharper) < 0.7


def test_the_coefficients_of_a_segment_are_nearly_half_of_those_at_its_end():
    step, eye, e = LayerStep(cell(d=3)), np.eye(8), np.full(8, 1e-4)
    lines = [
        Line(np.full(n, 0.1), eye[p], np.zeros(n), e[p]) for n, p in ((3, slice(0, 3)), (3, slice(3, 6)), (2, slice(6, 8)))
    ]
    one, many = (
        np.concatenate([line.rest for line in step.follow(lines[:2], lines[2], lambda M: np.abs(M) @ e, 2.0**-53, parts)[0]])
        for parts in (1, 10)
    )
    assert np.allclose(many / one, 0.55, atol=0.03)  # (1 + 2 + ... + 10) / 100, where the derivative bends little


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0, -1e-200, 1e200])
def test_an_interval_that_is_widened_reaches_farther_at_both_ends(value):
    found = enclosure._Interval(np.array(value), np.array(value)).widened()
    assert found.lo < value < found.hi


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_ends_of_a_bell_are_on_the_safe_side_where_it_falls_by_its_argument_times_what_that_is_rounded_by(scale):
    """sech^2 at 300 changes by 600 times as much, relatively."""
    mpmath.mp.dps, rng = 50, np.random.default_rng(8)
    a, r = scale * rng.uniform(20, 300, 200), rng.uniform(0, 1, 200)
    f = enclosure._sech2 if scale == 1 else enclosure._slope
    found, wrong = enclosure._bell(f, a, r), 0
    for k in range(200):
        lo, hi = ((mpmath.sech((mpmath.mpf(a[k]) + way * mpmath.mpf(r[k])) / scale) ** 2) / scale**2 for way in (1, -1))
        assert found.lo[k] <= lo < hi <= found.hi[k]
        wrong += f(a[k] + r[k]) > lo * (1 + 32 * enclosure.U)
    assert wrong > 10  # so that the test can fail


def test_a_float32_step_whose_gates_are_closed_rounds_as_little_as_it_moves():
    """It moves by 2e-9 a step: an error of the sigmoid of 4 u = 2e-7, taken absolutely, would be a hundred times that."""
    c = cell(scale=0.0)
    with torch.no_grad():
        c.ode.blocks().b1.fill_(-20.0)
        c.ode.blocks().b2.fill_(-20.0)
        for name in ("bz", "by"):
            getattr(c.ode.blocks(), name).fill_(1.0)
    found = LayerStep(c).enclose(np.zeros(6), np.zeros(6), np.zeros(2), np.zeros(2), 2.0**-24)
    assert found.running.max() < 1e-13
