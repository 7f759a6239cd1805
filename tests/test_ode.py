"""The step and the vector field are the paper's: compared with an independent float64 transcription."""

import math

import numpy as np
import pytest
import torch
from transcription import lem_step, load_into, random_parameters, vector_field

from lemode import LEM, LEMCell, MultiscaleODE

LEAKS = {
    "imex": lambda x: x,
    "semi_implicit": lambda x: x / (1 + x),
    "exponential": lambda x: 1 - math.exp(-x),
    "explicit": lambda x: x,
}
# sums of at most ten products in another order
TOLERANCE = {"rtol": 1e-13, "atol": 1e-13}


@pytest.mark.parametrize(("batch", "d", "m"), [(4, 4, 2), (3, 5, 2), (1, 1, 1), (5, 3, 3)])
@pytest.mark.parametrize("scheme", LEAKS)
def test_one_step_equals_the_transcription(scheme, batch, d, m):
    rng = np.random.default_rng(0)
    p = random_parameters(rng, d, m)
    cell = LEMCell(m, d, dt=0.7, scheme=scheme, dtype=torch.float64)
    load_into(cell.ode, p)
    u, y, z = rng.standard_normal((batch, m)), rng.uniform(-1, 1, (batch, d)), rng.uniform(-1, 1, (batch, d))
    expected = [lem_step(p, y[k], z[k], u[k], 0.7, scheme == "explicit", LEAKS[scheme]) for k in range(batch)]
    got_y, got_z = cell(torch.from_numpy(u), (torch.from_numpy(y), torch.from_numpy(z)))
    np.testing.assert_allclose(got_y.detach(), [e[0] for e in expected], **TOLERANCE)
    np.testing.assert_allclose(got_z.detach(), [e[1] for e in expected], **TOLERANCE)


@pytest.mark.parametrize(("batch", "d"), [(4, 4), (3, 5)])
@pytest.mark.parametrize("backend", ["auto", "reference", "torch"])
def test_a_sequence_equals_the_transcription(backend, batch, d):
    rng, m, L = np.random.default_rng(1), 2, 6
    p = random_parameters(rng, d, m)
    rnn = LEM(m, d, dt=0.9, backend=backend, dtype=torch.float64)
    load_into(rnn.cells[0].ode, p)
    u, y, z = rng.standard_normal((L, batch, m)), rng.uniform(-1, 1, (batch, d)), rng.uniform(-1, 1, (batch, d))
    out, (y_n, z_n) = rnn(torch.from_numpy(u), (torch.from_numpy(y)[None], torch.from_numpy(z)[None]))
    for k in range(batch):
        yk, zk = y[k], z[k]
        for n in range(L):
            yk, zk = lem_step(p, yk, zk, u[n, k], 0.9)
            np.testing.assert_allclose(out[n, k].detach(), yk, **TOLERANCE)
        np.testing.assert_allclose(y_n[0, k].detach(), yk, **TOLERANCE)
        np.testing.assert_allclose(z_n[0, k].detach(), zk, **TOLERANCE)


def test_vector_field_equals_the_transcription():
    rng = np.random.default_rng(2)
    p = random_parameters(rng, 4, 3)
    ode = MultiscaleODE(3, 4, dtype=torch.float64)
    load_into(ode, p)
    y, z, u = rng.standard_normal((5, 4)), rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    dy, dz = ode(*map(torch.from_numpy, (y, z, u)))
    for k in range(5):
        ey, ez = vector_field(p, y[k], z[k], u[k])
        np.testing.assert_allclose(dy[k].detach(), ey, **TOLERANCE)
        np.testing.assert_allclose(dz[k].detach(), ez, **TOLERANCE)


def test_blocks_are_views_named_by_the_paper():
    rng = np.random.default_rng(3)
    p = random_parameters(rng, 3, 2)
    ode = MultiscaleODE(2, 3, dtype=torch.float64)
    load_into(ode, p)
    blocks = ode.blocks()
    for name, value in p.items():
        np.testing.assert_array_equal(getattr(blocks, name).detach(), value)
    with torch.no_grad():
        blocks.Wz[0, 0] = 42.0
        blocks.by[1] = 43.0
    assert ode.weight_hh[6, 0] == 42.0
    assert ode.bias[10] == 43.0


@pytest.mark.parametrize("scheme", ["imex", "semi_implicit", "exponential", "explicit"])
def test_the_step_is_consistent_with_the_vector_field(scheme):
    """(step - state) / dt tends to the vector field, with an error of order dt."""
    ode = MultiscaleODE(1, 3, dtype=torch.float64)
    from lemode.schemes import get_scheme

    y, z, u = torch.rand(3, dtype=torch.float64), torch.rand(3, dtype=torch.float64), torch.rand(1, dtype=torch.float64)
    field = torch.cat(ode(y, z, u))
    errors = []
    for dt in (1e-3, 5e-4):
        rate = (torch.cat(get_scheme(scheme).step(ode, (y, z), u, dt)) - torch.cat([y, z])) / dt
        errors.append((rate - field).abs().max().item())
    if scheme == "explicit":  # exact by definition, up to the cancellation eps / dt
        assert max(errors) < 1e-12
    else:
        assert errors[0] / errors[1] == pytest.approx(2, rel=0.01)  # first order; the next term is 1e-3 smaller


def test_states_stay_in_the_unit_cube_exactly():
    """|y|, |z| <= 1 for dt <= 1, with no tolerance (theory S1, S4)."""
    for dtype in (torch.float32, torch.float64):
        for backend in ("auto", "reference", "torch"):
            rnn = LEM(2, 7, backend=backend, dtype=dtype)
            with torch.no_grad():
                for q in rnn.parameters():
                    q.normal_(0, 30)
            for y, z in rnn.states(torch.randn(200, 9, 2, dtype=dtype) * 10):
                assert y.abs().max() <= 1
                assert z.abs().max() <= 1
