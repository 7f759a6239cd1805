"""A search finds what it was asked for, goes on where it was cut off, and cuts short what is bad."""

from functools import partial

import numpy as np
import pytest

import lemode
from lemode import FitWarning, Surrogate
from lemode.surrogate.search import _Pruner, _usual

optuna = pytest.importorskip("optuna", reason="pip install 'lemode[tune]'")

T = 0.2 * np.arange(120)
WAVES = np.stack([np.sin(T + p) for p in range(6)])[..., None]
tune = partial(lemode.tune, horizon=5)  # each trial is judged by so many steps of free runs
MODEL = Surrogate(train="all", steps=10, hidden_size=3, window=40, washout=10, verbose=0)


def finished(study):
    return [trial.state.name for trial in study.trials]


def test_the_best_trial_is_the_model_that_is_returned():
    found = tune(WAVES, MODEL, {"lr": (1e-4, 1e-1), "hidden_size": (2, 6)}, trials=4, verbose=0)
    values = [trial.value for trial in found.study.trials if trial.value is not None]
    assert found.score == min(values)
    assert len(set(values)) > 1
    assert {k: getattr(found.model, k) for k in found.params} == found.params
    alone = Surrogate(**{**MODEL.get_params(), **found.params}).fit(np.delete(WAVES, 4, 0))  # every fifth was held out
    np.testing.assert_array_equal(found.model.predict(WAVES), alone.predict(WAVES))
    assert MODEL.lr is None  # what was given is not changed
    assert not hasattr(MODEL, "network_")


def test_the_score_is_of_series_that_no_trial_has_seen():
    other = 5 * WAVES  # for which no trial was prepared
    near, far = (tune(WAVES, MODEL, {"lr": [1e-2]}, trials=1, validation=v, verbose=0).score for v in (WAVES + 0.0, other))
    assert far > 2 * near


def test_a_seed_and_a_storage_are_one_search(tmp_path):
    space = {"lr": (1e-4, 1e-1), "delays": [0, 2]}

    def draws(study):
        return [trial.params for trial in study.trials]

    one, two = (tune(WAVES, MODEL, space, trials=3, seed=7, verbose=0).study for _ in range(2))
    assert draws(one) == draws(two)
    journal = tmp_path / "search.log"
    tune(WAVES, MODEL, space, trials=2, storage=journal, seed=7, verbose=0)
    again = tune(WAVES, MODEL, space, trials=3, storage=journal, seed=7, verbose=0).study
    assert draws(again)[:2] == draws(one)[:2]
    assert len(again.trials) == 3
    assert len({str(d) for d in draws(again)}) == 3  # nothing is drawn again


@pytest.mark.slow
def test_what_is_bad_is_cut_short():
    model = Surrogate(**{**MODEL.get_params(), "steps": 100})
    # after five trials that came to an end the median is known, and a rate of 1e-30 is above it from the first validation on
    study = tune(WAVES, model, {"lr": (1e-2, 5e-2)}, trials=5, verbose=0).study
    bad = Surrogate(**{**model.get_params(), "lr": 1e-30}).fit(WAVES, callbacks=[_Pruner(study.ask())])
    assert str(bad.history_.stopped) == "ended by a callback"
    assert len(bad.history_.loss) == 50


def test_ctrl_c_keeps_the_best_so_far(monkeypatch):
    calls = []
    fit = Surrogate.fit

    def once(self, *args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(self, *args, **options)

    monkeypatch.setattr(Surrogate, "fit", once)
    with pytest.warns(FitWarning, match="the search was interrupted; the best trial so far is kept"):
        found = tune(WAVES, MODEL, {"lr": (1e-3, 1e-1)}, trials=5, verbose=0)
    assert finished(found.study) == ["COMPLETE", "FAIL"]
    assert found.model.predict(WAVES).shape == WAVES.shape


def test_it_says_what_it_does(capfd):
    tune(WAVES, MODEL, {"lr": [1e-2]}, trials=1)
    assert "tune: trial 0: " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space is empty"),
        ({"layers": [1]}, "space: 'layers' is no hyper-parameter of Surrogate"),
        ({"lr": (1, 1)}, r"space: lr=\(1, 1\); give the two ends"),
        ({"lr": ("a", "b")}, "give the two ends"),
        ({"lr": 3}, "space: lr=3; give a list of values"),
        ({"lr": []}, "give a list of values"),
    ],
)
def test_a_space_that_is_none(space, message):
    with pytest.raises(ValueError, match=message):
        tune(WAVES, MODEL, space, trials=1, verbose=0)


def test_series_that_cannot_be_cut_are_asked_for_by_name():
    two = [WAVES[0], WAVES[1, :90]]
    with pytest.raises(
        ValueError, match=r"validation: of builtins's list no part is held out for it; .*tune\(X, validation=\.\.\.\)"
    ):
        tune(two, MODEL, {"lr": [1e-2]}, trials=1, verbose=0)


def test_a_model_that_is_none():
    with pytest.raises(ValueError, match="model=3: give a lemode"):
        tune(WAVES, 3)


def test_usual_spaces_are_of_the_model():
    assert "delays" in _usual(Surrogate(train="all"))
    assert "delays" not in _usual(lemode.FieldSurrogate())
    assert _usual(Surrogate(train="readout"))["hidden_size"] == (100, 800)
