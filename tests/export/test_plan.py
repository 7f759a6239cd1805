"""What cannot be exported says so, and what can; a plan has the numbers of the model, to the last bit."""

import warnings

import numpy as np
import pytest

import lemode
from lemode import export

FEW = {"hidden_size": 2, "steps": 2, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0}
T = np.arange(120.0)
WAVE = np.sin(T / 5)[:, None]


def surrogate(**settings):
    return lemode.Surrogate(**{**FEW, "train": "all", **settings})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: lemode.baselines.GRU(**FEW).fit(WAVE),
            "a GRU is not exported, whose core is no LEM: of lemode.Surrogate, train='all'",
        ),
        (lambda: lemode.baselines.LSTM(**FEW).fit(WAVE), "a LSTM is not exported"),
        (lambda: lemode.baselines.Persistence().fit(WAVE), "Persistence is not exported: of lemode.Surrogate"),
        (lambda: surrogate(continuous=True).fit(WAVE), "continuous=True is not exported, which needs a solver"),
        (lambda: surrogate(season=20).fit(WAVE), r"season=\(20.0,\) is not exported.*fit without season="),
        (lambda: surrogate(scale="series").fit(WAVE), "scale='series' is not exported"),
        (lambda: surrogate(), r"not fitted yet: call fit"),
        (lambda: lemode.LEM(1, 2), "LEM is not exported: of lemode.Surrogate"),
    ],
)
@pytest.mark.parametrize("way", [export.c, export.onnx])
def test_what_cannot_be_exported_is_refused_before_anything_is_written(make, sentence, way, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        way(make(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_field_is_refused(tmp_path):
    waves = np.sin(2 * np.pi * np.arange(8) / 8 - 0.1 * T[:60, None])
    model = lemode.FieldSurrogate(hidden_size=2, kernel_size=3, steps=2, washout=5, verbose=0)
    warnings.simplefilter("ignore", lemode.FitWarning)  # of two steps
    with pytest.raises(ValueError, match="a FieldSurrogate is not exported, which reads what is around each point"):
        export.plan_of(model.fit(waves))


def test_the_numbers_are_those_of_the_model():
    model = surrogate(num_layers=2, contain=1.2, dtype="float32").fit(WAVE)
    plan, network = export.plan_of(model), model.network_
    assert (plan.dtype, plan.width, plan.units, plan.warmup) == ("float32", 1, 2, model.warmup_)
    for k, cell in enumerate(network.core.layers()):
        for name in ("weight_ih", "weight_hh", "weight_zy", "bias"):
            np.testing.assert_array_equal(getattr(plan.layers[k], name), getattr(cell.ode, name).detach().numpy())
        assert plan.layers[k].dt == cell.dt
    np.testing.assert_array_equal(plan.upper, network.upper.numpy())
