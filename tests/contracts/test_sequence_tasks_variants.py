"""benchmarks/sequence_tasks_variants.py: each variant is what it says, and reads no later input."""

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
    biases = [m.ode.bias[:100] for m in core.modules() if isinstance(m, lemode.LEMCell)]
    for b in biases:
        tau = 1 / torch.sigmoid(b)
        assert 1.99 < tau.min() < 4  # float32; of a hundred log-uniform ones
        assert 150 < tau.max() < 300.1
