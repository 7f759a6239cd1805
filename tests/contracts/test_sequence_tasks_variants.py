"""benchmarks/sequence_tasks_variants.py: each variant is LEM where it should be, reads no later input, and keeps the unit cube."""

import importlib.util
from pathlib import Path

import pytest
import torch

import lemode

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sequence_tasks_variants.py"
spec = importlib.util.spec_from_file_location("sequence_tasks_variants", SCRIPT)
variants = importlib.util.module_from_spec(spec)
spec.loader.exec_module(variants)

M, D, T, N = 3, 5, 20, 4


@pytest.fixture
def u():
    torch.manual_seed(0)
    return torch.randn(T, N, M, dtype=torch.float64)


def lem_of(weight_ih, weight_hh, weight_zy, bias):
    rnn = lemode.LEM(M, D, dtype=torch.float64)
    with torch.no_grad():
        for p, value in zip((rnn.cells[0].ode.weight_ih, rnn.cells[0].ode.weight_hh, rnn.cells[0].ode.weight_zy, rnn.cells[0].ode.bias), (weight_ih, weight_hh, weight_zy, bias), strict=True):  # fmt: skip
            p.copy_(value)
    return rnn


def test_one_scale_is_lem(u):
    core = variants.ManyScales(M, D, r=1).double()
    gate_z, gate_y, z, y = core.on_u.weight.chunk(4)
    expected = lem_of(torch.cat([gate_z, gate_y, z, y]), core.on_y.weight, core.on_z.weight, core.on_u.bias)
    assert (core(u)[0] - expected(u)[0]).abs().max() < 1e-14  # rounding


def test_two_scales_are_the_recursion_and_stay_in_the_cube(u):
    core = variants.ManyScales(M, D, r=2).double()
    y, zs = torch.zeros(N, D, dtype=torch.float64), [torch.zeros(N, D, dtype=torch.float64)] * 2
    a = core.on_u(u)
    for n in range(T):
        g1, g2, gy, t1, t2, o = a[n].chunk(6, 1)
        h1, h2, hy, s1, s2 = (y @ core.on_y.weight.T).chunk(5, 1)
        zs = [
            z + torch.sigmoid(g + h) * (torch.tanh(t + s) - z)
            for z, g, h, t, s in zip(zs, (g1, g2), (h1, h2), (t1, t2), (s1, s2), strict=True)
        ]
        y = y + torch.sigmoid(gy + hy) * (torch.tanh(core.on_z(torch.cat(zs, 1)) + o) - y)
        assert (core(u[: n + 1])[0][-1] - y).abs().max() < 1e-14  # rounding
    with torch.no_grad():
        for p in core.parameters():
            p.mul_(100)
    assert core(10 * u)[0].abs().max() <= 1


def test_diagonal_weights_are_lem_with_these(u):
    core = variants.Diagonal(M, D, layers=1).double()
    (w1, w2, wz, wy), on_u = core.weights[0], core.on_u[0]
    expected = lem_of(on_u.weight, torch.cat([torch.diag(w) for w in (w1, w2, wz)]), torch.diag(wy), on_u.bias)
    assert lemode.kernels.parallel.diagonal(expected.cells[0].ode)
    assert (core(u)[0] - expected(u)[0]).abs().max() < 1e-14  # rounding


def test_layers_that_add_to_what_they_read(u):
    core = variants.Deep(M, D).double()
    h = core.encoder(u)
    for norm, lem in zip(core.norms, core.layers, strict=True):
        h = h + lem((h - h.mean(-1, keepdim=True)) / (h.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt())[0]
    assert (core(u)[0] - h).abs().max() < 1e-12  # rounding, through two layers


def test_attention_over_the_states_so_far(u):
    core = variants.Attention(M, D).double()
    y = core.lem(u)[0]
    n = 7
    scores = torch.einsum("bi,kbi->kb", core.query(y[n]), core.key(y[: n + 1])) / D**0.5
    read = (scores.softmax(0)[..., None] * core.value(y[: n + 1])).sum(0)
    assert (core(u)[0][n] - y[n] - core.out(read)).abs().max() < 1e-12  # rounding


@pytest.mark.parametrize("name", variants.VARIANTS)
@pytest.mark.parametrize("longest", [None, 50.0])
def test_no_variant_reads_later_inputs(u, name, longest):
    torch.manual_seed(1)
    core = variants.VARIANTS[name](M, D, longest=longest).double()
    later = u.clone()
    later[12:] += 1
    whole, changed = core(u)[0], core(later)[0]
    assert whole.shape == (T, N, D)
    assert torch.equal(whole[:12], changed[:12])
    assert not torch.equal(whole[12], changed[12])


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_time_scales_are_those_that_were_asked_for(name):
    """Of the gates at rest: 1 / sigmoid(b)."""
    torch.manual_seed(0)
    core = variants.VARIANTS[name](M, 50, longest=300.0)
    biases = [m.bias[: (core.r + 1) * 50] for m in [core.on_u]] if name == "LEM, r = 2" else None
    biases = biases or (
        [m.bias[:100] for m in core.on_u]
        if name == "LEM, diagonal"
        else [m.ode.bias[:100] for m in core.modules() if isinstance(m, lemode.LEMCell)]
    )
    for b in biases:
        tau = 1 / torch.sigmoid(b)
        assert 1.99 < tau.min() < 4  # float32; of a hundred log-uniform ones
        assert 150 < tau.max() < 300.1
