"""`lemode.evaluate`: forecasts from many origins along one series."""

import numpy as np
import pytest

import lemode
from lemode.metrics import evaluate

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 2)).cumsum(0)


def test_every_error_is_forecast_minus_truth_from_what_came_before():
    seen = []

    def last_plus_one(history, steps):
        seen.append(len(history))
        history += 100.0  # the caller's series is its own
        return history[-1] - 100.0 + np.ones((steps, 1))

    found = lemode.evaluate({"plus one": last_plus_one}, X, 3, [10, 40])
    assert seen == [10, 40]
    for i, k in enumerate((10, 40)):
        np.testing.assert_array_equal(found.errors["naive"][i], X[k - 1] - X[k : k + 3])
        np.testing.assert_allclose(found.errors["plus one"][i], X[k - 1] + 1 - X[k : k + 3], rtol=1e-12)
    np.testing.assert_allclose(found.rmse("naive")[0], np.sqrt(np.mean((X[[9, 39]] - X[[10, 40]]) ** 2)), rtol=1e-12)
    assert found.skill("naive", "naive") == 0
    expected = 1 - found.total("plus one") ** 2 / found.total("naive") ** 2
    assert found.skill("plus one", "naive") == pytest.approx(expected)


def test_a_season_and_missing_values():
    wave = np.tile(np.arange(12.0), 5)
    found = evaluate({}, wave, 24, [12, 30], season=12)
    assert found.total("seasonal naive") == 0
    assert found.total("naive") > 1
    wave[[20, 35]] = np.nan
    found = evaluate({}, wave, 24, [24, 30], season=12)
    # 20 is read as 19's value, seven: it is asked for at 32 from both, at 44 too; 35 is a truth that is missing
    error = found.errors["seasonal naive"][..., 0]
    assert np.isnan(error[0, 35 - 24])
    assert np.isnan(error[1, 35 - 30])
    assert np.nansum(np.abs(error)) == 4 * 1.0


def test_models_with_inputs_are_given_them():
    e = RNG.standard_normal((60, 1))
    x = np.concatenate([[0.0], e[:-1, 0]])  # the input, one step later

    class Knows:
        def forecast(self, history, steps, inputs=None):
            assert history.shape[1] == 2
            return np.concatenate([history[-1:, 1:], inputs])[:steps]

    assert evaluate({"knows": Knows()}, x, 4, range(5, 50), inputs=e).total("knows") == 0


def test_surrogates_and_baselines_are_models():
    wave = np.sin(0.3 * np.arange(200))[:, None]
    models = {
        "AR": lemode.baselines.Autoregression(2).fit(wave[:150]),
        "LEM": lemode.Surrogate(hidden_size=2, steps=3, window=20, washout=5, verbose=0, train="all").fit(wave[:150]),
    }
    found = evaluate(models, wave, 10, [150, 180])
    assert found.total("AR") < 0.1 < found.total("LEM")  # a sampled sine obeys a linear recursion, but for its first value
    assert str(found).count("\n") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, X, 3, [0]), "give indices from 1 to 57"),
        (({}, X, 3, [58]), "origins from 58 to 58, horizon=3: give indices"),
        (({}, X, 0, [5]), "horizon=0"),
        (({}, X, 3, []), "origins from None"),
        (({}, X[None], 3, [5]), r"x has shape \(1, 60, 2\)"),
        (
            ({"m": lambda history, steps: history[:2]}, X, 3, [5]),
            r"m, origin 5: the forecast has shape \(2, 2\); \(3, 2\) is asked",
        ),
        (
            ({"m": lambda history, steps: np.full((3, 2), np.nan)}, X, 3, [5]),
            "m, origin 5: the forecast has values that are not finite",
        ),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(*arguments)


def test_bad_season_and_inputs():
    with pytest.raises(ValueError, match="from 12 to 57, so that every forecast has a past of a season"):
        evaluate({}, X, 3, [5], season=12)
    with pytest.raises(ValueError, match=r"inputs have shape \(59, 1\): give \(60, m\)"):
        evaluate({}, X, 3, [5], inputs=np.zeros((59, 1)))


def test_inputs_are_handed_over_where_the_model_was_fitted_with_them():
    """x follows u; a model that was fitted on (u, x) is as good as one that was fitted on (x, u)."""
    u = np.sin(0.7 * np.arange(120))[:, None]
    x = np.zeros((120, 1))
    for k in range(1, 120):
        x[k] = 0.5 * x[k - 1] + u[k - 1]
    common = {"hidden_size": 5, "train": "readout", "washout": 5, "delays": 0, "verbose": 0}
    last = lemode.Surrogate(inputs=["x1"], **common).fit(np.concatenate([x, u], 1)[None, :80])
    first = lemode.Surrogate(inputs=["x0"], **common).fit(np.concatenate([u, x], 1)[None, :80])
    found = evaluate({"last": last, "first": first}, x, 4, range(80, 110), inputs=u)
    assert found.total("first") < 1e-3 * found.total("naive")  # u is known, and the rule linear
    assert found.total("last") < 1e-3 * found.total("naive")
