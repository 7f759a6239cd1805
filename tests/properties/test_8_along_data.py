"""Statements 8.1 to 8.4: what is proved along data, tried on networks drawn by hypothesis. 8.3 alone has a tolerance: others are rounded outward, or exact."""

import copy

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lem_cases import cases

import lemode
from lemode.analysis import contraction_over_windows, step_jacobian, tube_along
from lemode.analysis.enclosure import LayerStep
from lemode.analysis.horizon import ClosedLoop, _radii
from lemode.kernels.backends import LEAKY
from lemode.surrogate.forecast import free_run
from lemode.surrogate.network import BOUNDS, IncrementNetwork
from lemode.surrogate.readout_network import ReadoutNetwork

RADII = st.sampled_from([0.0, 1e-6, 1e-3, 3e-2])


def neighbours(c, y0, z0, radius, input_radius, n=6):
    """(y, z) and inputs, of which most are in the corners of their boxes."""
    for _ in range(n):
        way = [c.rng.choice([-1.0, 1.0], k.shape) * c.rng.choice([1.0, c.rng.random()]) for k in (y0, z0, c.u)]
        y, z, u = (torch.from_numpy(r * w) for r, w in zip((radius, radius, input_radius), way))
        yield y0 + y, z0 + z, c.u + u


@given(cases(max_d=4, max_N=15, schemes=LEAKY), RADII, RADII)
def test_8_1_no_trajectory_and_no_product_leaves_the_tube(c, radius, input_radius):
    (y0,), (z0,) = c.cube_states(1)
    found = tube_along(c.cell, c.u, (y0, z0), radius=radius, input_radius=input_radius)
    # a start is rounded where it is added up, by less than this
    for y, z, u in neighbours(c, y0, z0, radius * (1 - 1e-6), input_radius * (1 - 1e-6)):
        ys, zs = (s.numpy() for s in c.run(y, z, u))
        for seen, middle, allowed in ((ys, found.y[:, 0], found.radius_y[:, 0]), (zs, found.z[:, 0], found.radius_z[:, 0])):
            assert (np.abs(seen - middle)[1:] <= allowed[1:]).all()
        product = np.eye(2 * c.d)
        for n in range(found.steps):
            J = step_jacobian(c.cell, (torch.from_numpy(ys[n]), torch.from_numpy(zs[n])), u[n]).matrix().detach().numpy()
            product = J @ product
            # the measured product is rounded: relative to the bound, n times some terms
            assert np.abs(product).sum(1).max() <= found.product[n + 1] * (1 + 1e-14 * (n + 1) * c.d)


@given(cases(max_d=3, max_N=8, dts=st.just(0.5), max_scale=3.0, max_bias=2.0))
def test_8_1_is_the_sum_that_the_theory_writes(c):
    """Every product of Jacobians formed anew, and every sum term by term."""
    (y0,), (z0,) = c.cube_states(1)
    found, delta, step = tube_along(c.cell, c.u, (y0, z0), radius=1e-3), 1e-3, LayerStep(c.cell)
    e, Js, Rs, M = [np.full(2 * c.d, delta)], [], [], [np.eye(2 * c.d)]
    for n in range(found.steps):
        x = np.concatenate([found.z[n, 0], found.y[n, 0]])
        Rs.append(step.enclose(x, e[n], c.u[n].numpy(), np.zeros(c.m), 2.0**-53).state.rad)
        state = tuple(torch.from_numpy(s[n, 0]) for s in (found.y, found.z))
        Js.append(step_jacobian(c.cell, state, c.u[n]).matrix().detach().numpy())

        def phi(k, last=n):  # J_last ... J_k
            out = np.eye(2 * c.d)
            for J in Js[k : last + 1]:
                out = J @ out
            return np.abs(out)

        e.append(phi(0) @ e[0] + sum(phi(k + 1) @ Rs[k] @ e[k] for k in range(n + 1)))
        M.append(phi(0) + sum(phi(k + 1) @ Rs[k] @ M[k] for k in range(n + 1)))
        # rounding is a defect of its own in the library, far below 1e-9 of what is in the sums
        assert np.allclose(np.concatenate([found.radius_z[n + 1, 0], found.radius_y[n + 1, 0]]), e[-1], rtol=1e-9, atol=1e-11)
        assert np.isclose(found.product[n + 1], M[-1].sum(1).max(), rtol=1e-9)


@st.composite
def surrogates(draw):
    """A network with random weights, trained on nothing, and a series of 12 + 8 samples that it knows a little of."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    D, d, layers, delays = (draw(st.integers(*ends)) for ends in ((1, 2), (1, 3), (1, 2), (0, 2)))
    dtype, scheme, readout = (draw(st.sampled_from(of)) for of in ((torch.float32, torch.float64), LEAKY, (False, True)))
    dtype = torch.float64 if readout else dtype
    core = lemode.LEM(D * (1 + delays), d, layers, dt=draw(st.sampled_from([0.1, 0.7, 1.0])), scheme=scheme, dtype=dtype)
    network = ReadoutNetwork(core, D, delays) if readout else IncrementNetwork(core, d, D, dtype, delays)
    scale = draw(st.sampled_from([0.3, 1.0, 3.0]))
    data = 5.0 + draw(st.sampled_from([1.0, 100.0])) * np.cumsum(rng.uniform(-1, 1, (20, D)), 0)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(scale * torch.from_numpy(rng.standard_normal(tuple(p.shape))))
        network.head.weight.mul_(0.3 / network.head.in_features)
        network.set_scales(torch.from_numpy(data)[:, None])
        if draw(st.booleans()):  # bounds, which data and predictions meet
            x = network.normalise(torch.from_numpy(data[:12]))
            for end, found in ((network.lower, x.amin(0)), (network.upper, x.amax(0))):
                end.copy_(found * draw(st.sampled_from([1.0, 1.2])))
        # data that are the network's own but for errors
        for k in range(12, 20):
            past = network.normalise(torch.tensor(data[:k], dtype=dtype))[:, None]
            data[k] = network.denormalise(network.step(past)[0][-1, 0]).double().numpy()
            data[k] += draw(st.sampled_from([0.0, 1e-7, 1e-3, 0.1])) * data.std() * rng.uniform(-1, 1, D)
    return network, data


KNOWN = 12
# of a series' standard deviation; a sample is within it to the last bit but one
NOISE = st.sampled_from([0.0, 1e-8, 1e-3, 0.1])


@given(surrogates(), NOISE)
def test_8_2_no_free_run_from_any_history_leaves_the_radius(drawn, noise):
    network, data = drawn
    noise = np.full(data.shape[1], noise * data.std())
    true = data + (1 - 1e-15) * noise * np.random.default_rng(0).choice([-1, 1], data.shape)
    radius = _radii(ClosedLoop(network), data, KNOWN, 8, None, noise)
    for history in (data[:KNOWN], true[:KNOWN]):
        forecast = forecast_of(network, history)
        for truth in (data, true):
            assert (np.abs(forecast - truth[KNOWN:]) <= radius).all()


@given(surrogates(), NOISE)
def test_8_2_nor_where_the_errors_to_come_are_as_small_as_was_said(drawn, noise):
    network, true = drawn
    noise = np.full(true.shape[1], noise * true.std())
    history = true[:KNOWN] + (1 - 1e-15) * noise * np.random.default_rng(0).choice([-1, 1], true[:KNOWN].shape)
    with torch.no_grad():
        series = network.normalise(torch.tensor(true, dtype=network.mean.dtype))[:, None]
        predicted = network.denormalise(network.step(series)[0])[:, 0].double().numpy()
    largest = np.abs(predicted[KNOWN - 1 : -1] - true[KNOWN:]).max(0) + 1e-300
    series = np.concatenate([history, np.full((8, true.shape[1]), np.nan)])
    radius = _radii(ClosedLoop(network), series, KNOWN, 8, largest, noise)
    assert (np.abs(forecast_of(network, history) - true[KNOWN:]) <= radius).all()


def forecast_of(network, history):
    with torch.no_grad():
        series = network.normalise(torch.tensor(history, dtype=network.mean.dtype))[:, None]
        return network.denormalise(free_run(network, series, 8))[:, 0].double().numpy()


@settings(max_examples=5)  # each finds a norm by some hundred steps of descent
@given(cases(max_d=3, dts=st.sampled_from([0.2, 0.9]), schemes=LEAKY, max_scale=2.0))
def test_8_3_perturbations_shrink_by_the_factor_of_a_window(c):
    u, m, h = c.inputs(30), 5, 1e-7
    found = contraction_over_windows(c.cell, u, window=m)
    assert len(found.found) == 4
    assert len(found.held_out) == 2
    ys, zs = c.run(u=u)
    for k in range(6):
        factor = [*found.found, *found.held_out][k]
        for _ in range(3):
            dx = c.rng.standard_normal(2 * c.d)
            starts = [
                (ys[k * m] + way * h * torch.from_numpy(dx[c.d :]), zs[k * m] + way * h * torch.from_numpy(dx[: c.d]))
                for way in (-1, 1)
            ]
            (y0, z0), (y1, z1) = ((s[-1] for s in c.run(*start, u=u[k * m : k * m + m])) for start in starts)
            after = torch.cat([z1 - z0, y1 - y0]).numpy() / (2 * h)
            # a central difference: curvature h^2, and rounding 1e-16 / h, both times what the weights and the norm make of it
            rounding = 1e-8 * np.linalg.norm(found.L, 2) * (1 + c.scale * c.d) ** 3
            assert np.linalg.norm(found.L @ after) <= factor * np.linalg.norm(found.L @ dx) + rounding


@given(surrogates(), st.sampled_from([1.0, 1e3, 1e30]))
def test_8_4_no_prediction_leaves_the_box_and_inside_nothing_changes(drawn, size):
    network, data = drawn
    x = network.normalise(torch.tensor(data, dtype=network.mean.dtype))[:, None]
    free = copy.deepcopy(network)
    for name, end in BOUNDS.items():
        free.get_buffer(name).fill_(end)
    network.lower.copy_(x[:12].amin((0, 1)))
    network.upper.copy_(x[:12].amax((0, 1)))
    with torch.no_grad():
        for net in (network, free):
            net.head.weight.mul_(size)
        far = network.step(size * x)[0]
        assert ((far >= network.lower) & (far <= network.upper)).all()
        u = network.held(x)
        a, b = (net.step(u)[0] for net in (network, free))
        inside = ((b >= network.lower) & (b <= network.upper)).all(-1)
        assert (a[inside] == b[inside]).all()
        assert ((a[:-1] - u[1:]).abs() <= (b[:-1] - u[1:]).abs()).all()  # of data in the box no error becomes larger
