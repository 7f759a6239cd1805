"""A free run in the compiled core is the plain loop over `step`, whatever the head reads."""

import pytest
import torch

from lemode import LEM
from lemode.surrogate.forecast import closed_loop, free_run, runs_in_kernel
from lemode.surrogate.network import IncrementNetwork, draw_weights
from lemode.surrogate.readout_network import ReadoutNetwork

D, N, STEPS = 2, 3, 12


def network(kind, delays, inputs, layers=1, scheme="imex"):
    """With scales that are not one, and bounds that a free run meets."""
    features = D * (1 + delays) + 2 * inputs
    core = LEM(features, 5, layers, dt=0.4, scheme=scheme, dtype=torch.float64)
    if kind == "trained":
        out = IncrementNetwork(core, 5, D, torch.float64, delays, inputs)
    else:
        out = ReadoutNetwork(core, D, delays, inputs)
    draw_weights(out, torch.Generator().manual_seed(3))
    out.increment.copy_(torch.tensor([0.3, 1.7]))
    out.lower.copy_(torch.tensor([-0.5, -2.0]))
    out.upper.copy_(torch.tensor([2.0, 0.7]))
    return out


@pytest.mark.parametrize("kind", ["trained", "readout"])
@pytest.mark.parametrize(("delays", "inputs", "layers"), [(0, 0, 1), (1, 0, 2), (4, 2, 1), (0, 1, 3)])
@pytest.mark.parametrize("begun", [False, True])
def test_free_run_is_the_loop(kind, delays, inputs, layers, begun):
    net = network(kind, delays, inputs, layers)
    assert runs_in_kernel(net)
    generator = torch.Generator().manual_seed(5)
    history = torch.randn(9, N, D, dtype=torch.float64, generator=generator)
    e = torch.randn(9 + STEPS, N, 2 * inputs, dtype=torch.float64, generator=generator) if inputs else None
    past, now, coming = (None, None, None) if e is None else (e[:4], e[4:9], e[9 : 9 + STEPS - 1])
    with torch.no_grad():
        state = net.step(history[:4], past)[1] if begun else None
        predicted, after = net.step(history[4:], now, state)
        rest = closed_loop(net, predicted[-1], after, STEPS - 1, coming)
        run = free_run(net, history[4:], STEPS, now, coming, state)
    expected = torch.cat([predicted[-1:], rest])
    # of twelve steps in float64; a delay that is off by one, or a difference that is not in increments, shows in the first digit
    torch.testing.assert_close(run, expected, rtol=1e-12, atol=1e-12)
    assert ((run == net.upper) | (run == net.lower)).any()
    assert not (run == run[-1]).all()


def test_uneven_steps_are_not_for_the_core():
    assert not runs_in_kernel(network("readout", 0, 0), torch.ones(3, N, 2))
