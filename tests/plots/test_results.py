"""Plots of what the analysis finds draw what they were given, and refuse what they cannot draw."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import lemode
from lemode import plots
from lemode.analysis import audit, lyapunov_spectrum, stability_region, timescales

T = np.linspace(0, 20, 201)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def test_time_scale_histogram_counts_every_unit(ax):
    scales = timescales(lemode.LEM(1, 8, num_layers=2), torch.randn(30, 1), known=[5.0])
    assert plots.time_scale_histogram(scales, ("relaxation",), ax) is ax
    assert max(p.get_y() + p.get_height() for p in ax.patches) <= 32
    assert sum(p.get_height() for p in ax.patches) == 32  # y and z of eight units in two layers
    assert [t.get_text() for t in ax.texts] == ["relaxation: 5"]


def test_lyapunov_convergence_ends_at_the_exponents(ax):
    spectrum = lyapunov_spectrum(lambda x: 0.5 * x, torch.ones(2, dtype=torch.float64), 100)
    assert plots.lyapunov_convergence(spectrum, known=np.log(0.5), ax=ax) is ax
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(np.log(0.5))


def test_stability_region_is_that_of_the_formula(ax):
    assert plots.stability_region(ax) is ax
    for x, y in zip(*ax.lines[0].get_data()):
        assert y == pytest.approx(2 / (1 + x))
    shaded = ax.collections[0].get_paths()[0]
    for omega in np.linspace(0.05, 5.95, 12):
        for leak in np.linspace(0.03, 2.13, 15):  # on no grid line is the leak equal to the limit
            assert shaded.contains_point((omega, leak)) == stability_region(leak, leak, -(omega**2))


def test_a_plot_refuses_what_it_cannot_draw(ax):
    for draw, name, origin in (
        (plots.order_plot, "study", "convergence_study"), (plots.time_scale_histogram, "scales", "timescales"),
        (plots.lyapunov_convergence, "spectrum", "lyapunov_spectrum"), (plots.gradient_flow, "report", "audit"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=f"{name} is list: give an? .*, from lemode.analysis.{origin}"):
            draw([], ax=ax)


def test_gradient_flow_and_the_rest_take_axes(ax):
    rnn = lemode.LEM(1, 4, dt=0.5)
    report = audit(rnn, torch.randn(10, 2, 1), torch.randn(10, 2, 4))
    assert plots.gradient_flow(report, ax=ax) is ax
    assert plots.time_scales(T, np.ones((201, 3)), {"slow": 2.0}) is not ax
