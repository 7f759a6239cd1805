"""Every plot takes and returns Axes, draws what it was given, and uses colours that colour-blind readers can tell apart."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lemode import plots

T = np.linspace(0, 20, 201)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def test_forecast_with_a_band(ax):
    wave = np.sin(T)
    assert plots.forecast(T, wave, T[100:], wave[100:], "v", ax, band=(wave[100:] - 1, wave[100:] + 1)) is ax
    assert ax.get_ylabel() == "v"
    assert len(ax.collections) == 1
    assert ax.get_ylim()[0] < -1.9
    assert not plots.forecast(T, wave, T[100:], wave[100:]).collections


def test_phase_plane_keeps_to_the_orbits(ax):
    orbit = np.stack([np.sin(T), np.cos(T)], -1)
    assert plots.phase_plane(orbit, orbit, {"v' = 0": (T, T**3)}, ax=ax) is ax
    assert ax.get_ylim()[1] < 2


def test_spacetime_shows_truth_forecast_and_their_difference():
    truth = np.sin(T[:, None] + np.arange(6))
    axes = plots.spacetime(T, truth, 1.1 * truth, lyapunov_time=2.0)
    shown = [a.collections[0] for a in axes]
    assert np.allclose(shown[2].get_array(), 0.1 * truth.T)
    assert shown[0].get_clim() == shown[1].get_clim()
    assert axes[2].get_xlim()[1] == pytest.approx(10, abs=0.1)  # 20 time units, two in a Lyapunov time
    assert "Lyapunov" in axes[2].get_xlabel()
    with pytest.raises(ValueError, match="give"):
        plots.spacetime(T, truth, truth[:-1])


def test_spectra_peak_at_the_frequency(ax):
    t = np.arange(0, 400, 0.1)
    plots.spectra(np.sin(2 * np.pi * 0.5 * t), np.sin(2 * np.pi * 0.7 * t), 0.1, ax)
    peaks = [line.get_xdata()[np.argmax(line.get_ydata())] for line in ax.lines]
    assert peaks == pytest.approx([0.5, 0.7], abs=0.02)


def test_every_public_plot_is_tested_here():
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    elsewhere = {
        "order_plot",
        "training_history",
        "certified_forecast",
    }  # analysis/test_convergence.py, report/test_model.py, analysis/test_horizon.py
    for name in set(plots.__all__) - elsewhere:
        assert f"plots.{name}(" in source, name


@pytest.mark.parametrize("names", [("v",), ("v", "w", "I")])
def test_phase_plane_has_two_names(ax, names):
    with pytest.raises(ValueError, match=r"names=\(.*\): give two"):
        plots.phase_plane(np.zeros((5, 2)), np.zeros((5, 2)), names=names, ax=ax)
