"""train="both": random units beside the trained ones, and a head that is solved for over all of them."""

import numpy as np
import pytest
import torch

import lemode
from lemode import LEM
from lemode.surrogate.network import IncrementNetwork, draw_weights
from lemode.surrogate.random_units import READS, with_random_units
from lemode.surrogate.series import Series

F64 = torch.float64


def trained(delays=0, inputs=0, scheme="imex", bias=True):
    core = LEM(2 * (1 + delays) + 2 * inputs, 6, dt=0.7, scheme=scheme, dtype=F64, bias=bias)
    network = IncrementNetwork(core, 6, 2, F64, delays, inputs)
    draw_weights(network, torch.Generator().manual_seed(1))
    return network


def some(inputs=0, uneven=False, n=4):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(60, n, 2, dtype=F64, generator=generator).cumsum(0) / 4
    e = torch.randn(60, n, 2 * inputs, dtype=F64, generator=generator) if inputs else None
    return Series(x, e, 0.5 + torch.rand(60, n, 2, dtype=F64, generator=generator) if uneven else None)


@pytest.mark.parametrize("scheme", ["imex", "exponential"])
@pytest.mark.parametrize(
    ("delays", "inputs", "uneven", "bias"), [(0, 0, False, True), (3, 1, False, True), (0, 1, True, False)]
)
def test_the_trained_units_compute_as_before(scheme, delays, inputs, uneven, bias):
    network, series = trained(delays, inputs, scheme, bias), some(inputs, uneven)
    wide = with_random_units(network, series, 20, seed=0)
    with torch.no_grad():
        y = network.features(*series.known())[0]
        f = wide.features(*series.known())[0]
    own = f[..., wide.linear : wide.linear + 6]
    torch.testing.assert_close(own, y, rtol=1e-12, atol=1e-12)  # the same sums, over more zeros
    assert wide.core.hidden_size == 26
    assert torch.equal(wide.increment, network.increment)


def test_random_units_read_the_trained_states_each_in_its_own_spread():
    """From the definition: what they read of states has mean zero and variance READS**2, of which unit by unit chance leaves some."""
    network, series = trained(), some(n=16)
    wide = with_random_units(network, series, 2000, seed=0)
    p = type(wide.core.cells[0].ode.blocks())(*(t.detach() for t in wide.core.cells[0].ode.blocks()))
    with torch.no_grad():
        ((y, z),) = network.core.states(series.x)
    for W, b, states in ((p.Wz, p.bz, y), (p.Wy, p.by, z)):
        assert not W[:, 6:].any()
        read = states.flatten(0, 1) @ W[6:, :6].T
        # states of a walk are correlated, so the variance over units is wide, and its mean over 2,000 of them is not
        assert float(read.var(0).mean()) == pytest.approx(READS**2, rel=0.1)
        shift = b[6:] + states.flatten(0, 1).mean(0) @ W[6:, :6].T
        assert float(shift.abs().max()) <= 1.0  # the uniform bias that was drawn
    for gate in (p.W1, p.W2):
        assert not gate[6:].any()
        assert not gate[:, 6:].any()
    assert (p.b1[6:] >= 1).all()


def test_a_unit_that_does_not_move_is_not_read():
    network, series = trained(), some()
    with torch.no_grad():
        p = network.core.cells[0].ode.blocks()
        p.Vy[2], p.Wy[2] = 0.0, 0.0
        p.by[2] = 0.0  # so that y of this unit is zero for ever
    p = with_random_units(network, series, 20, seed=0).core.cells[0].ode.blocks()
    assert not p.Wz[6:, 2].any()
    assert p.Wz[6:, :2].all()
    assert p.Wy[6:, 2].all()  # its z moves


def test_another_seed_draws_others():
    network, series = trained(), some()
    a, b, again = (with_random_units(network, series, 5, seed).core.cells[0].ode.weight_zy for seed in (0, 1, 0))
    assert torch.equal(a, again)
    assert not torch.equal(a, b)


T = np.linspace(0, 60, 401)
SERIES = np.stack([np.sin(T + k) + 0.4 * np.sin(3 * (T + k) + 1) for k in range(8)])[..., None]
SETTINGS = {"hidden_size": 4, "steps": 200, "window": 50, "washout": 10, "verbose": 0, "seed": 0}


@pytest.fixture(scope="module")
def both():
    return lemode.Surrogate(train="both", width=60, **SETTINGS).fit(SERIES[:6], validation=SERIES[6:])


def test_an_exact_head_is_more_accurate_than_the_trained_one(both):
    alone = lemode.Surrogate(train="all", **SETTINGS).fit(SERIES[:6], validation=SERIES[6:])
    # 200 steps leave a few percent; of what 4 units have found of a wave of two periods, 120 features say nearly all
    assert both.rmse(SERIES[6:], 50) < 0.1 * alone.rmse(SERIES[6:], 50)
    assert both.history_.kept.startswith("exact head")
    assert both.network_.core.hidden_size == 64
    assert both.history_.loss == alone.history_.loss
    own = [getattr(both.network_.core.cells[0].ode.blocks(), name)[:4] for name in ("Wy", "Vy", "by")]
    was = [getattr(alone.network_.core.cells[0].ode.blocks(), name) for name in ("Wy", "Vy", "by")]
    torch.testing.assert_close([own[0][:, :4], *own[1:]], [t.double() for t in was], rtol=0, atol=0)


def test_it_is_saved_and_forecasts_and_goes_on(both, tmp_path):
    both.save(tmp_path / "model.lem")
    again = lemode.Surrogate.load(tmp_path / "model.lem")
    np.testing.assert_array_equal(again.forecast(SERIES[6, :100], 50), both.forecast(SERIES[6, :100], 50))
    assert np.abs(both.forecast(SERIES[6, :100], 50) - SERIES[6, 100:150]).max() < 0.1
    again.warm_start, core = True, again.network_.core.cells[0].ode.weight_hh.clone()
    again.fit(SERIES[:6], validation=SERIES[6:])
    assert torch.equal(again.network_.core.cells[0].ode.weight_hh, core)  # the head is solved again


def test_what_it_cannot_do_it_refuses_before_it_trains():
    with pytest.raises(ValueError, match=r"the core is a LEM of 2: use num_layers=1"):
        lemode.Surrogate(train="both", num_layers=2, **SETTINGS).fit(SERIES)
    with pytest.raises(ValueError, match=r"train='both' is for continuous=False"):
        lemode.Surrogate(train="both", continuous=True, **SETTINGS).fit(SERIES)
    with pytest.raises(ValueError, match=r"the core is GRU: use train='auto'"):
        lemode.baselines.GRU(train="both", **SETTINGS).fit(SERIES)
    field = np.sin(np.arange(16) * np.pi / 8 - T[:100, None])[None].repeat(4, 0)
    with pytest.raises(ValueError, match=r"the core is ConvLEM"):
        lemode.FieldSurrogate(train="both", hidden_size=4, kernel_size=5, steps=5, window=20, washout=5, verbose=0).fit(field)


def test_the_trained_network_stays_where_the_head_is_no_better(monkeypatch):
    from lemode.surrogate import fitters

    monkeypatch.setattr(fitters, "luck", lambda *_: -1e9)  # nothing is better by so much
    model = lemode.Surrogate(train="both", width=20, **SETTINGS).fit(SERIES)
    assert model.history_.kept.startswith("trained network")
    assert model.network_.core.hidden_size == 4
    assert model.history_.chosen == {}
    assert "held-out part" not in model.history_.phases
