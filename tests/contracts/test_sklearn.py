"""scikit-learn's splits, searches and pipelines take Trajectories, and what cannot be done is said in a sentence."""

import warnings

import numpy as np
import pytest
import torch

import lemode
from lemode import FieldSurrogate, Surrogate, Trajectories, baselines
from lemode.surrogate import FitDivergedError

T = 0.2 * np.arange(60)
X = np.stack([np.stack([np.sin(T + p), 5 + np.cos(2 * T + p)], -1) for p in range(8)])
DATA = Trajectories(T, X, ("v", "w"))
RAGGED = Trajectories.ragged([(T[: 50 + i], x[: 50 + i]) for i, x in enumerate(X)], ("v", "w"))
SMALL = {"hidden_size": 3, "steps": 5, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0}


def quick(**changes):
    return Surrogate(**{"train": "all", **SMALL, **changes})


class TestTrajectories:
    def test_are_equal_or_not(self):
        holes = X.copy()
        holes[0, 3] = np.nan
        same = Trajectories(T, X.copy(), ("v", "w"))
        assert same == DATA
        assert Trajectories(T, holes, missing=True) == Trajectories(T, holes, missing=True)
        assert RAGGED[:] == RAGGED
        others = (DATA[1:], DATA.select(["w", "v"]), Trajectories(2 * T, X, ("v", "w")), Trajectories(T, X), RAGGED, X, None)
        assert not any(other == DATA for other in others)
        assert DATA in [RAGGED, same]
        with pytest.raises(TypeError, match="unhashable"):
            hash(DATA)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, int])
    def test_what_was_checked_stays(self, dtype):
        t, x = np.arange(5).astype(dtype), np.ones((2, 5, 1), dtype)
        views = (x, x[:], np.broadcast_to(x[:1], x.shape))
        for given in views:
            data = Trajectories(t, given)
            t[1], x[0, 0, 0] = 7, 9
            assert np.array_equal(data.t, np.arange(5))
            assert (data.x == 1).all()
            t[1], x[0, 0, 0] = 1, 1
        for array in (data.t, data.x, data[:1].x, data.select("x0").x):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = np.nan

    def test_are_no_copies_of_copies(self):
        frozen = Trajectories(DATA.t, DATA.x, DATA.names)
        assert frozen.x is DATA.x

    def test_torch_takes_what_a_model_reads_without_a_warning(self):
        one = DATA[:1]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = quick().fit(DATA, validation=one)
            model.predict(one)
            model.forecast(one, 3)

    def test_a_single_name_is_one(self):
        assert Trajectories(T, X[..., :1], "volt").names == ("volt",)
        assert DATA.select("w").names == ("w",)
        assert Trajectories.ragged([(T, X[0, :, :1])], "volt").names == ("volt",)
        assert quick(observe="v", inputs="w").fit(DATA).input_names_ == ("w",)
        with pytest.raises(ValueError, match=r"names=\('vw',\): give 2 different names"):
            Trajectories(T, X, "vw")

    def test_arrays_and_indices(self):
        assert np.asarray(DATA) is DATA.x
        assert np.asarray(DATA, np.float32).dtype == np.float32
        assert DATA.shape == (8, 60, 2)
        chosen = np.array([5, 2])
        for index in (chosen, [5, 2], (chosen, ...), np.isin(np.arange(8), [2, 5])):
            assert len(DATA[index]) == len(RAGGED[index]) == 2
        with pytest.raises(IndexError, match="the first index chooses trajectories"):
            DATA[:, 3]


class TestSearches:
    @pytest.mark.parametrize("data", [DATA, RAGGED, X], ids=["even", "ragged", "array"])
    def test_cross_validation(self, data):
        from sklearn.model_selection import KFold, cross_val_score, cross_validate, train_test_split

        scores = cross_val_score(quick(), data, cv=KFold(2), error_score="raise")
        half = data[np.arange(4)], data[np.arange(4, 8)]
        expected = [quick().fit(a).score(b) for a, b in (half[::-1], half)]
        np.testing.assert_array_equal(scores, expected)
        named = cross_validate(quick(), data, cv=2, scoring=lambda model, X: -model.rmse(X), error_score="raise")
        assert np.isfinite(named["test_score"]).all()
        train, test = train_test_split(data, random_state=0)
        assert type(train) is type(data)
        assert (len(train), len(test)) == (6, 2)

    def test_grid_search_over_numpy_s_numbers(self, tmp_path):
        from sklearn.model_selection import GridSearchCV

        grid = {"hidden_size": np.arange(2, 4), "lr": np.logspace(-3, -2, 2), "window": [np.int64(21)]}
        search = GridSearchCV(quick(), grid, cv=2, error_score="raise").fit(DATA)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.best_estimator_.names_ == ("v", "w")
        search.best_estimator_.save(tmp_path / "m.lem")
        assert Surrogate.load(tmp_path / "m.lem").window == 21

    def test_a_pipeline(self):
        from sklearn.pipeline import make_pipeline

        pipeline = make_pipeline("passthrough", quick()).fit(DATA)
        assert pipeline.predict(DATA).shape == DATA.shape

    def test_a_named_score_wants_a_y_and_that_is_refused_with_the_remedy(self):
        from sklearn.model_selection import cross_val_score

        with pytest.raises(ValueError, match=r"leave y out.*scoring=lambda model, X: -model\.rmse\(X\)"):
            cross_val_score(quick(), DATA, DATA, cv=2, scoring="neg_mean_squared_error", error_score="raise")
        with pytest.raises(ValueError, match="leave y out"):
            quick().fit(DATA).score(DATA, DATA)

    @pytest.mark.parametrize(
        "model",
        [quick(), FieldSurrogate(), baselines.LSTM(), baselines.Persistence(), baselines.Autoregression(), baselines.NeuralODE(),
         baselines.SINDy(), baselines.EchoStateNetwork()],
        ids=lambda m: type(m).__name__,
    )  # fmt: skip
    def test_protocol(self, model):
        from sklearn.base import clone
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        name = next(iter(set(model.get_params()) - {"observe"}), "observe")
        value = np.array([1, 2])  # clone wants the very same, and no comparison of arrays
        assert clone(model.set_params(**{name: value})).get_params().keys() == model.get_params().keys()
        assert f"{name}=(1, 2)" in repr(model)
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
        with pytest.raises(ValueError, match="'layers' is no hyper-parameter"):
            model.set_params(layers=1)

    def test_names_of_features(self, tmp_path):
        model = quick(observe=["w"], inputs=["v"])
        assert not hasattr(model, "n_features_in_")
        assert not hasattr(model, "feature_names_in_")
        model.fit(DATA)
        model.save(tmp_path / "m.lem")
        for m in (model, Surrogate.load(tmp_path / "m.lem")):
            assert m.feature_names_in_.tolist() == ["v", "w"]  # in the order of the data
            assert m.n_features_in_ == 2

    def test_scores_of_each_variable(self):
        model = quick(steps=100).fit(DATA)
        each = model.score(DATA, multioutput="raw_values")
        assert each.shape == (2,)
        assert model.score(DATA) == pytest.approx(each.mean(), rel=1e-12)
        error = (model.predict(DATA)[:, :-1] - X[:, 1:])[..., 1]
        step = np.diff(X[..., 1], axis=1)
        assert each[1] == pytest.approx(1 - (error**2).sum() / ((step - step.mean()) ** 2).sum(), rel=1e-9)
        with pytest.raises(ValueError, match="multioutput='w'"):
            model.score(DATA, multioutput="w")
        flat = X.copy()
        flat[..., 1] = X[..., 1].mean()
        with pytest.raises(ValueError, match="X does not vary in w: R"):
            model.score(Trajectories(T, flat, ("v", "w")))


class TestDataFrames:
    def test_out(self):
        pytest.importorskip("pandas")
        from sklearn.base import clone

        model = quick().fit(DATA)
        plain, ahead = model.predict(DATA), model.forecast(X[0, :30], 7)
        assert model.set_output(transform="pandas") is model
        frame = model.predict(DATA)
        assert frame.columns.tolist() == ["v", "w"]
        np.testing.assert_array_equal(frame.to_numpy().reshape(plain.shape), plain)
        assert frame.loc[2].index.to_numpy() == pytest.approx(T)
        one = model.forecast(X[0, :30], 7)
        np.testing.assert_array_equal(one.to_numpy(), ahead)
        assert one.index.to_numpy() == pytest.approx(0.2 * np.arange(30, 37))  # an array counts its times from 0
        assert model.forecast(DATA, t=[20.0, 21.0]).loc[3].index.tolist() == [20.0, 21.0]
        assert np.isfinite(model.score(DATA))
        assert type(clone(model).fit(DATA).predict(DATA)) is type(frame)
        assert type(model.set_output(transform="default").predict(DATA)) is np.ndarray
        with pytest.raises(ValueError, match="transform='polars': give 'default' or 'pandas'"):
            model.set_output(transform="polars")

    def test_in(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(X[0], T, ["v", "w"])
        model = quick(observe=["w"]).fit(frame)
        assert model.names_ == ("w",)
        assert model.step_ == pytest.approx(0.2)
        np.testing.assert_array_equal(model.predict(frame[["w"]]), model.predict(Trajectories(T, X[:1, :, 1:], "w"))[0])
        frame.index = [f"row {k}" for k in range(60)]
        with pytest.raises(ValueError, match=r"the index of the frame has dtype \w+, first 'row 0'.*reset_index"):
            quick().fit(frame)


class TestSentences:
    """Each names the value and a remedy that there is."""

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"dt": 1.5}, r"dt=1\.5: scheme 'imex' admits up to 1 in a surrogate; use a smaller dt, or scheme='exponential'"),
            ({"dt": "1"}, "dt='1': give a positive number"),
            ({"seed": None}, r"seed=None: give an integer.*seed=int\(np\.random\.default_rng\(\)\.integers\(2\*\*32\)\)"),
            ({"seed": -1}, "seed=-1: give an integer, 0 or more"),
            ({"scheme": "euler"}, "scheme='euler': known schemes are imex"),
            ({"stages": "noise"}, "'one-step' comes first"),
            ({"stages": 3}, "stages=3: give a name, or a tuple of names"),
            ({"observe": 3}, "observe=3: give a name"),
            ({"weights": [1, 2]}, "weights=.*as a dict"),
            ({"dtype": np.float32}, "dtype=.*choose 'float32', 'float64' or None"),
            ({"budget": True}, "budget=True: choose 'quick'"),
        ],
    )
    def test_of_hyper_parameters(self, settings, message):
        with pytest.raises(ValueError, match=message):
            quick(**settings).fit(DATA)
        assert "allow_large_dt" not in message

    def test_the_remedies_exist(self):
        quick(dt=1.5, scheme="exponential").fit(DATA)
        quick(seed=int(np.random.default_rng().integers(2**32))).fit(DATA)
        holes = X.copy()
        holes[0, 3] = np.nan
        quick().fit(Trajectories(T, holes, missing=True))

    @pytest.mark.parametrize("fit", [lambda X: quick().fit(X), lambda X: baselines.Persistence().fit(X)])
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                "lorenz63",
                r"data are 'lorenz63': give Trajectories or an array; .*a system is sampled by lemode\.fit\(lemode\.systems\.get",
            ),
            (lemode.systems.Lorenz63(), r"a right-hand side is sampled by lemode\.fit"),
            (np.sin, r"a right-hand side is sampled by lemode\.fit"),
            (None, "give Trajectories or an array of real numbers"),
            (X.astype(complex), "dtype complex128: give Trajectories or an array of real numbers"),
            ([[[1.0]], [[1.0, 2.0]]], "data are no array"),
            (torch.ones(4, 9, 1, requires_grad=True), "data are no array: give Trajectories.*detach"),
        ],
    )
    def test_of_data(self, fit, data, message):
        with pytest.raises(ValueError, match=message):
            fit(data)

    def test_nan_in_an_array_names_what_takes_it(self):
        holes = X.copy()
        holes[0, 3, 1] = np.nan
        with pytest.raises(ValueError, match=r"give Trajectories\(t, x, missing=True\) if NaN says"):
            quick().fit(holes)
        with pytest.raises(ValueError, match="remove or repair it; a field surrogate takes no missing values"):
            FieldSurrogate(verbose=0).fit(holes)

    def test_a_stage_may_be_one_name(self):
        assert len(quick(stages="one-step").fit(DATA).history_.loss) == 5

    @pytest.mark.parametrize("optimizer", ["adam", "eigenadam"])
    def test_a_learning_rate_that_leads_nowhere(self, optimizer):
        with pytest.raises(FitDivergedError, match="lower lr"):
            quick(lr=1e5, steps=60, optimizer=optimizer).fit(DATA)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda m: m.forecast(DATA, "3"), "steps='3': give a positive integer"),
            (lambda m: m.forecast(DATA, True), "steps=True: give a positive integer"),
            (lambda m: m.forecast(DATA, 3, dt="1"), "dt='1': give a positive number"),
            (lambda m: m.predict("lorenz63"), "data are 'lorenz63'"),
            (lambda m: m.rmse(DATA, washout="3"), "washout='3': give an integer"),
        ],
    )
    def test_of_use(self, call, message):
        with pytest.raises(ValueError, match=message):
            call(quick().fit(DATA))
