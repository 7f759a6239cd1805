"""train='readout' of a field: its network's symmetries, and free runs that stay, `lemode.surrogate.field_readout`."""

import numpy as np
import pytest
import torch

import lemode
from lemode import ConvLEM, FieldSurrogate
from lemode.metrics import valid_prediction_time
from lemode.report.model import _hand_over, audit_surrogate
from lemode.surrogate import field_readout
from lemode.surrogate.draws import Draw, draw
from lemode.surrogate.field_network import FieldNetwork
from lemode.surrogate.field_readout_network import FieldReadoutNetwork
from lemode.surrogate.head_errors import free_errors
from lemode.surrogate.readout import Choice, Judge
from lemode.surrogate.readout_network import Heads
from lemode.surrogate.series import Series
from lemode.surrogate.side_by_side import MEMBER, SideBySide

F64 = torch.float64
CASES = [
    (grid, conserve, parity, channels)
    for grid in ((10,), (6, 8))
    for conserve in (None, "mean")
    for parity in (None, -1, 1)
    for channels in (1, 2)
]


def drawn(grid, conserve, parity, channels, units=7, shifts=(0, 1, 2)):
    """A network with random weights, head and filter."""
    g = torch.Generator().manual_seed(0)
    core = SideBySide(channels * 3 ** len(grid), units, dtype=F64)
    network = FieldReadoutNetwork(core, (3,) * len(grid), grid, conserve, channels, parity, shifts)
    draw(core, Draw(input=1.0), g)
    torch.nn.init.normal_(network.head.weight, generator=g)
    torch.nn.init.constant_(network.head.bias, 0.0 if parity == -1 or conserve else 0.3)
    # a filter that does not know left from right: of the sizes of wavenumbers alone
    along = [torch.fft.fftfreq(n, dtype=F64) for n in grid[:-1]] + [torch.fft.rfftfreq(grid[-1], dtype=F64)]
    size = sum(f.square() for f in torch.meshgrid(*along, indexing="ij"))
    network.set_filter((-20 * size).exp().expand(channels, *size.shape), 0.1)
    return network, torch.randn(9, 4, channels * int(np.prod(grid)), generator=g, dtype=F64)


def seen(x, grid, channels):
    return x.reshape(*x.shape[:-1], channels, *grid)


@pytest.mark.parametrize(("grid", "conserve", "parity", "channels"), CASES)
def test_symmetries_of_a_step(grid, conserve, parity, channels):
    network, x = drawn(grid, conserve, parity, channels)
    axes = tuple(range(-len(grid), 0))
    with torch.no_grad():
        y = seen(network.step(x)[0], grid, channels)
        shift = tuple(range(2, 2 + len(grid)))
        moved = network.step(seen(x, grid, channels).roll(shift, axes).reshape(x.shape))[0]
        torch.testing.assert_close(seen(moved, grid, channels), y.roll(shift, axes), rtol=0, atol=1e-12)  # rounding
        mirrored = network.step(seen(x, grid, channels).flip(axes).reshape(x.shape) * (parity or 1))[0]
        same = torch.allclose(seen(mirrored, grid, channels), y.flip(axes) * (parity or 1), rtol=0, atol=1e-12)
        assert same == (parity is not None)
        kept = torch.allclose(y.mean(axes), seen(x, grid, channels).mean(axes), rtol=0, atol=1e-13)
        assert kept == (conserve is not None)


@pytest.mark.parametrize(("grid", "conserve", "parity", "channels"), CASES)
def test_the_head_may_come_first(grid, conserve, parity, channels):
    """A step takes differences of what the head says, the regression of what it reads; and of series in parts."""
    network, x = drawn(grid, conserve, parity, channels)
    with torch.no_grad():
        f, _ = network.features(x)
        constant = network.constant * network.head.bias
        expected = (f @ network.head.weight.T + constant).movedim(-1, 2).reshape(x.shape)
        torch.testing.assert_close(network(x)[0], expected, rtol=0, atol=1e-12)
        first, state = network(x[:5])
        torch.testing.assert_close(torch.cat([first, network(x[5:], state=state)[0]]), expected, rtol=0, atol=1e-12)
        # of many heads, each its own share of the series
        coefficients = torch.cat([network.head.bias[None], network.head.weight.T])
        network.head = Heads(torch.stack([coefficients, 2 * coefficients]))
        torch.testing.assert_close(network(torch.cat([x, x], 1))[0], torch.cat([expected, 2 * expected], 1), rtol=0, atol=1e-11)


@pytest.mark.parametrize("grid", [(10,), (6, 8)])
def test_the_head_reads_the_units_of_neighbours(grid):
    """Of each distance the sum over both sides, in every direction; the state is that of the point."""
    (near, x), (wide, _) = drawn(grid, None, None, 1, shifts=(0,)), drawn(grid, None, None, 1, shifts=(0, 2))
    wide.core.load_state_dict(near.core.state_dict())
    with torch.no_grad():
        (f, state), (g, again) = near.features(x), wide.features(x)
        window, units = f.split([3 ** len(grid), 14], -1)
        expected = torch.zeros_like(units)
        for axis in range(2, 2 + len(grid)):
            for index in range(x.shape[0]):  # a series has no neighbours in time
                i = torch.arange(grid[axis - 2])
                for there in ((i + 2) % len(i), (i - 2) % len(i)):
                    expected[index] += units[index].index_select(axis - 1, there)
        torch.testing.assert_close(g, torch.cat([window, units, expected], -1), rtol=0, atol=1e-14)
        assert all(torch.equal(a, b) for a, b in zip(state, again))
    assert (wide.widest(), near.widest()) == (7, 3)


@pytest.mark.parametrize(("grid", "conserve", "parity", "channels"), CASES)
def test_a_larger_domain_follows_the_same_rule(grid, conserve, parity, channels):
    network, x = drawn(grid, conserve, parity, channels)
    times = (2,) * len(grid)
    wide = network.on_grid(tuple(2 * n for n in grid))
    if len(grid) == 2:  # wavenumbers between those of the smaller grid know no left and right either
        torch.testing.assert_close(wide.filter[:, 1:], wide.filter[:, 1:].flip(1), rtol=0, atol=1e-15)
    u = seen(x, grid, channels)
    with torch.no_grad():
        free, state = network.step(x)
        tiled, wide_state = wide.step(u.tile(times).flatten(2))
        torch.testing.assert_close(tiled, seen(free, grid, channels).tile(times).flatten(2), rtol=0, atol=1e-12)
        again = wide.step(tiled[-1:], state=wide_state)[0], network.step(free[-1:], state=state)[0]
        torch.testing.assert_close(again[0], seen(again[1], grid, channels).tile(times).flatten(2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("grid", "conserve", "parity", "channels"), CASES)
def test_what_was_seen_before_a_free_run_is_read_once_for_all_heads(grid, conserve, parity, channels):
    """Against the path of series with gaps, in which every head reads it for itself: states have mirror images beside them."""
    network, x = drawn(grid, conserve, parity, channels)
    c = 0.01 * torch.cat([network.head.bias[None], network.head.weight.T]).detach()
    heads, series = torch.stack([c, 2 * c, -c]), Series(0.1 * x)  # errors are clipped at one: small ones can be told apart
    everything = series._replace(mask=torch.ones_like(x, dtype=torch.bool))
    found, expected = (free_errors(network, heads, s, warmup=5, horizon=3, starts=3) for s in (series, everything))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)  # products of other sizes are rounded differently
    assert found.diff().abs().min() > 1e-9


def test_members_are_blocks_of_one_layer():
    core = SideBySide(3, 2 * MEMBER + 1, dtype=F64)
    u, state = torch.randn(6, 2, 3, dtype=F64), tuple(torch.rand(1, 2, 2 * MEMBER + 1, dtype=F64) for _ in range(2))
    with torch.no_grad():
        y, z = core.states(u, state)
        dense, (_, z_n) = core.dense()(u, state)
    torch.testing.assert_close(y, dense, rtol=0, atol=1e-13)
    torch.testing.assert_close(z[-1:], z_n, rtol=0, atol=1e-13)


def test_the_filter_is_that_of_wiener():
    """Of a wave in white noise: what is left of the noise alone is cut, the wave passes, and so does the mean."""
    g, n = torch.Generator().manual_seed(0), 32
    network = FieldReadoutNetwork(SideBySide(3, 2, dtype=F64), (3,), (n,))
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(n, dtype=F64) / n)
    noisy = 5 + wave + 0.01 * torch.randn(4000, 1, n, generator=g, dtype=F64)
    spectrum = network.spectrum(noisy)
    np.testing.assert_allclose(spectrum[0, 3], 1 / 4, rtol=0.01)
    np.testing.assert_allclose(spectrum[0, 8], 0.01**2 / n, rtol=0.1)  # five standard errors of a mean of 4,000
    network.set_filter(spectrum, 0.01**2 / n)
    np.testing.assert_allclose(network.filter[0, [0, 3, 8]], [1, 1, 0.5], atol=0.03)
    rest = (network.base(noisy) - 5 - wave).square().mean() / 0.01**2
    assert rest < 0.4  # half the amplitude, a quarter of the power, is left of the noise at all wavenumbers but two


WAVES = np.sin(
    2 * np.pi * np.arange(16) / 16 - 0.1 * np.arange(80)[:, None] + np.random.default_rng(0).uniform(0, 6, (6, 1, 1))
)


def test_files_and_warm_starts(tmp_path):
    common = {"hidden_size": 20, "kernel_size": 5, "train": "readout", "verbose": 0}
    model = FieldSurrogate(**common).fit(WAVES)
    model.save(tmp_path / "field.lem")
    loaded = FieldSurrogate.load(tmp_path / "field.lem")
    assert np.array_equal(loaded.forecast(WAVES[:, :30], 20), model.forecast(WAVES[:, :30], 20))
    assert loaded.network_.shifts == model.network_.shifts == (0, 2, 4)
    assert model.history_.chosen["farthest"] == 4
    np.testing.assert_equal(loaded.history_.chosen, model.history_.chosen)
    before = {name: p.clone() for name, p in model.network_.core.named_parameters()}
    model.set_params(warm_start=True).fit(WAVES[:3])
    assert all(torch.equal(p, before[name]) for name, p in model.network_.core.named_parameters())
    np.testing.assert_allclose(model.forecast(WAVES[:, :30], 50), WAVES[:, 30:], atol=0.05)  # most of a period, amplitude 1


def test_what_it_cannot_do_it_refuses():
    with pytest.raises(ValueError, match="give recurrent_kernel_size=1"):
        FieldSurrogate(kernel_size=5, recurrent_kernel_size=3, train="readout", verbose=0).fit(WAVES)
    network = FieldNetwork(ConvLEM(1, 2, 3, dtype=F64), 2, (16,), F64)
    series = lemode.surrogate.series.Series(torch.zeros(5, 1, 16, dtype=F64), mask=torch.ones(5, 1, 16, dtype=torch.bool))
    with pytest.raises(ValueError, match="without missing values: use train='all'"):
        field_readout.fit_field_readout(network, series, series, 2, 0)


@pytest.mark.parametrize(
    ("wave", "kernel", "shifts"),
    [(24, 17, [0, 3, 6, 9]), (48, 17, [0, 6, 12]), (48, 5, [0, 2, 4, 6]), (6, 17, [0, 1, 2, 3])],
)
def test_neighbours_are_an_eighth_of_a_wave_apart(wave, kernel, shifts):
    """And no farther than the units' windows reach, nor all together around the ring."""
    network = FieldNetwork(ConvLEM(1, 2, kernel, dtype=F64), 2, (48,), F64)
    x = 2 + torch.sin(2 * torch.pi * torch.arange(48, dtype=F64) / wave - 0.1 * torch.arange(60.0)[:, None])
    assert field_readout._shifts(network, x[:, None]) == shifts
    plane = FieldNetwork(ConvLEM(2, 2, kernel, 2, dtype=F64), 2, (48, 48), F64, channels=2)
    u = torch.stack([x, 3 * x], 1)[:, :, None].expand(
        -1, -1, 48, -1
    )  # which does not vary along the first axis: a correlation of one
    mean = (1 + np.cos(2 * np.pi / wave)) / 2
    spacing = max(min(round(2 * np.pi / np.arccos(mean) / 8), kernel // 2), 1)
    expected = [q * spacing for q in range(4) if q * spacing + kernel // 2 < 24]
    assert field_readout._shifts(plane, u.flatten(1)[:, None]) == expected
    assert field_readout._shifts(network, torch.ones(9, 1, 48, dtype=F64)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("powers", "taken"),
    [
        ([50.0, 0.5, 1.1], 2),
        ([1.0], 0),
        ([2.0, 0.01, 60.0, 60.0], 0),
        ([60.0, 60.0, 60.0, 1.3], 3),
        ([float("inf"), 0.0, 1.0], 2),
    ],
)
def test_a_head_whose_free_runs_leave_the_data_is_not_taken(monkeypatch, powers, taken):
    """The next noise is looked at, and of those that all leave it the one that leaves it least is taken."""
    found, noises = iter(powers), (0.0, 1e-3, 1e-2, 1e-1)
    monkeypatch.setattr(field_readout, "free_run_power", lambda *_: next(found))
    monkeypatch.setattr(field_readout, "choose", lambda n, heads, pairs, *_: Choice(*pairs[0], heads[0], 1, 1, 1, 1))
    network, x = drawn((10,), None, None, 1)
    series = lemode.surrogate.series.Series(x)
    choice = field_readout._solve(network, series, Judge.along(series, 2, 0), noises)
    assert choice.noise == noises[taken]
    assert next(found, None) is None  # no more were looked at


def test_an_audit_reads_what_the_units_read():
    """The field as the filter leaves it."""
    rough = WAVES + 0.1 * np.random.default_rng(1).standard_normal(WAVES.shape)
    model = FieldSurrogate(hidden_size=3, kernel_size=3, train="readout", verbose=0).fit(rough)
    network = model.network_
    assert network.filter.min() < 0.9  # so that it is seen
    series = network.normalise(torch.from_numpy(rough[:1, :10].swapaxes(0, 1)))
    (around, _), _ = network._known(network.held(series[:-1]), None)
    torch.testing.assert_close(_hand_over(model, series, series[..., :0]), around.flatten(1, -2), rtol=0, atol=1e-14)


@pytest.mark.slow
def test_a_report_and_exponents():
    model = FieldSurrogate(hidden_size=3, kernel_size=3, train="readout", symmetry="odd", verbose=0).fit(WAVES[:, :40, ::2])
    assert audit_surrogate(model, WAVES[:1, :10, ::2]).holds
    spectrum = lemode.analysis.spectrum_of_closed_loop(model, WAVES[0, :20, ::2], 20, k=2)
    # of the states of the mirror images, too
    assert spectrum.exponents.shape == (2,)


@pytest.mark.study
def test_kuramoto_sivashinsky():
    """Better than a network trained for minutes (4.7 Lyapunov times), with few units and little data; and it stays."""
    step, rate = 0.5, 0.0482
    system = lemode.systems.KuramotoSivashinsky(L=22.0, N=66, step=0.05)
    data = system.trajectories(16, step * np.arange(1001), seed=1)
    starts = system.trajectories(12, step * np.arange(400), seed=2).x
    model = FieldSurrogate(hidden_size=150, conserve="mean", symmetry="odd", train="readout", verbose=0).fit(data)
    free = model.forecast(starts[:, :50], 350)
    assert valid_prediction_time(free, starts[:, 50:], step, 0.5, 1 / rate, scale=data.x.std()).mean() > 4.5
    np.testing.assert_allclose((free[:, -100:] ** 2).mean(), (starts**2).mean(), rtol=0.1)
    assert abs(free.mean(-1)).max() < 1e-10


def reaction():
    """A bistable reaction that diffuses and is pushed by its left neighbour."""
    u, seen = np.random.default_rng(0).normal(size=(12, 16)), []
    for _ in range(60):
        left = np.roll(u, 1, 1)
        u = u + 0.2 * (u - u**3 + left + np.roll(u, -1, 1) - 2 * u) + 0.3 * np.sin(2 * left)
        seen.append(u)
    return np.stack(seen, 1)


@pytest.mark.filterwarnings("ignore::lemode.surrogate.FitWarning")
@pytest.mark.parametrize(
    ("data", "width", "steps", "kept"),
    [(WAVES[:, :40, ::2], 20, 5, "readout"), pytest.param(reaction(), 1, 300, "trained network", marks=pytest.mark.slow)],
)
def test_auto_keeps_what_is_better(data, width, steps, kept, tmp_path):
    """Waves are linear, which a readout has exactly; of one unit it is behind four that were trained on a reaction."""
    model = FieldSurrogate(hidden_size=4, kernel_size=3, width=width, train="auto", steps=steps, verbose=0).fit(data)
    assert model.history_.kept.startswith(kept)
    assert isinstance(model.network_, FieldReadoutNetwork) == (kept == "readout")
    model.save(tmp_path / "m.lem")
    again = FieldSurrogate.load(tmp_path / "m.lem")
    np.testing.assert_array_equal(again.forecast(data[0, :30], 5), model.forecast(data[0, :30], 5))
