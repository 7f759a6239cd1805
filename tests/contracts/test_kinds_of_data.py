"""Kinds of data that users hand over: each is read as what it means, or refused in a sentence that names value, place and remedy.

What "read as it means" is: a fit to it is, bit by bit, the fit to the same numbers written as Trajectories.
"""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import lemode
from lemode import Surrogate, Trajectories
from lemode.surrogate.data_checks import DataWarning

pytestmark = pytest.mark.filterwarnings("ignore::lemode.surrogate.FitWarning")  # after three steps

T = 60
S = np.arange(T)
W = np.stack([np.sin(0.3 * S), 5 * np.cos(0.3 * S) + 2], -1)  # (T, 2)
RUNS = np.stack([np.roll(W, k, 0) for k in range(3)])  # (3, T, 2)
VALVE = S % 7 < 3
HOLES = W.copy()
HOLES[[9, 30], 0] = np.nan
NAMES = ["v", "w"]


def model(**settings):
    return Surrogate(
        **{
            "train": "all",
            "hidden_size": 3,
            "steps": 3,
            "window": 20,
            "washout": 5,
            "optimizer": "adam",
            "verbose": 0,
            **settings,
        }
    )


def plain(x, names=NAMES, t=S, missing=False):
    """What the numbers mean."""
    return Trajectories(np.asarray(t, dtype=float), x, names, missing)


def frame(x=W, index=None, columns=NAMES):
    return pd.DataFrame(x, index, columns)


def masked(x, bad):
    """As readers of netCDF yield them: a number that says that there is none, behind a mask."""
    return np.ma.masked_array(np.where(bad, -999, x), bad)


def dates(freq, start="2026-02-01", **options):
    return pd.date_range(start, periods=T, freq=freq, **options)


INTEGERS = np.stack([S % 7, S % 5], -1)
STRUCTURED = np.array([tuple(row) for row in W], dtype=[("v", "f8"), ("w", "f8")])
KEEP = np.delete(S, [20, 21, 40])
GROUPS = pd.concat({"a": frame(W), "b": frame(W[::-1])}, names=["site", "time"])
LONG = GROUPS.reset_index()
X0 = ["x0", "x1"]

# what is given, and what it means
MEANT = {
    "trajectories": (plain(W), plain(W)),
    "array": (W, plain(W, X0)),
    "array of runs": (RUNS, plain(RUNS, X0)),
    "array (T,)": (W[:, 0], plain(W[:, :1], ["x0"])),
    "list of rows": (W.tolist(), plain(W, X0)),
    "list of numbers": (W[:, 0].tolist(), plain(W[:, :1], ["x0"])),
    "tensor": (torch.tensor(W), plain(W, X0)),
    "float32": (W.astype(np.float32), plain(W.astype(np.float32), X0)),
    "float16": (W.astype(np.float16), plain(W.astype(np.float16).astype(float), X0)),
    "longdouble": (W.astype(np.longdouble), plain(W, X0)),
    "integers": (INTEGERS, plain(INTEGERS.astype(float), X0)),
    "unsigned bytes": (INTEGERS.astype(np.uint8), plain(INTEGERS.astype(float), X0)),
    "big-endian": (W.astype(">f8"), plain(W, X0)),
    "Fortran order": (np.asfortranarray(W), plain(W, X0)),
    "reversed view": (W[::-1], plain(W[::-1].copy(), X0)),
    "booleans": (VALVE[:, None], plain(VALVE[:, None].astype(float), ["x0"])),
    "structured": (STRUCTURED, plain(W)),
    "record array": (STRUCTURED.view(np.recarray), plain(W)),
    "nothing masked": (np.ma.masked_array(W), plain(W, X0)),
    "masked": (masked(W, np.isnan(HOLES)), plain(HOLES, X0, missing=True)),
    "masked integers": (
        masked(INTEGERS, np.isnan(HOLES)), plain(np.where(np.isnan(HOLES), np.nan, INTEGERS), X0, missing=True)
    ),
    "masked in trajectories": (Trajectories(S, masked(W, np.isnan(HOLES)), NAMES), plain(HOLES, missing=True)),
    "masked in ragged": (
        Trajectories.ragged([(S, masked(W, np.isnan(HOLES)))], NAMES), plain(HOLES, missing=True)
    ),
    "frame": (frame(), plain(W)),
    "frame at times": (frame(index=0.5 * S), plain(W, t=0.5 * S)),
    "frame at years": (frame(index=pd.Index(1950 + S, name="year")), plain(W, t=1950 + S)),
    "frame of integer names": (pd.DataFrame(W), plain(W, ["0", "1"])),
    "frame in float32": (frame(W.astype(np.float32)), plain(W.astype(np.float32))),
    "frame with NaN": (frame(HOLES), plain(HOLES, missing=True)),
    "frame with NA": (frame(HOLES).convert_dtypes(), plain(HOLES, missing=True)),
    "frame of objects": (frame(HOLES).astype(object), plain(HOLES, missing=True)),
    "frame with a switch": (frame(W).assign(on=VALVE), plain(np.c_[W, VALVE], [*NAMES, "on"])),
    "frame with a nullable switch": (
        frame(W).assign(on=pd.array(VALVE, "boolean")), plain(np.c_[W, VALVE], [*NAMES, "on"])
    ),
    "series": (pd.Series(W[:, 0], name="v"), plain(W[:, :1], ["v"])),
    "series without a name": (pd.Series(W[:, 0]), plain(W[:, :1], ["x0"])),
    "days": (frame(index=dates("D")), plain(W, t=86400 * S)),
    "milliseconds": (frame(index=dates("2ms")), plain(W, t=0.002 * S)),
    "days with gaps": (frame(index=dates("D")).iloc[KEEP], plain(W[KEEP], t=86400 * KEEP)),
    "months": (frame(index=dates("MS")), plain(W)),
    "ends of months": (frame(index=dates("ME")), plain(W)),
    "months with gaps": (frame(index=dates("MS")).iloc[KEEP], plain(W[KEEP], t=KEEP)),
    "years": (frame(index=dates("YS")), plain(W, t=12 * S)),
    "business days": (frame(index=dates("B")), plain(W)),
    "days of a place with summer time": (frame(index=dates("D", "2026-03-01", tz="Europe/Berlin")), plain(W)),
    "hours of a place with summer time": (frame(index=dates("h", "2026-03-28", tz="Europe/Berlin")), plain(W, t=3600 * S)),
    "periods": (frame(index=pd.period_range("2026-01", periods=T, freq="Q")), plain(W, t=3 * S)),
    "time differences": (frame(index=pd.to_timedelta(0.5 * S, unit="s")), plain(W, t=0.5 * S)),
    "levels of an index": (GROUPS, plain(np.stack([W, W[::-1]]))),
    "groups": (LONG.set_index("time").groupby("site"), plain(np.stack([W, W[::-1]]))),
    "groups of rows": (LONG[["site", "v", "w"]].groupby("site"), plain(np.stack([W, W[::-1]]))),
    "groups in turn": (
        LONG.sort_values(["time", "site"])[["site", "v", "w"]].reset_index(drop=True).groupby("site"),
        plain(np.stack([W, W[::-1]])),
    ),
    "groups of different lengths": (
        pd.concat({"a": frame(W), "b": frame(W[:40])}), Trajectories.ragged([(S, W), (S[:40], W[:40])], NAMES)
    ),
    "list of arrays": ([W, W[:40]], Trajectories.ragged([(S, W), (S[:40], W[:40])], X0)),
    "list of alike arrays": ([W, W[::-1]], plain(np.stack([W, W[::-1]]), X0)),
    "list of rows (T,)": (
        [W[:, 0], W[:40, 0]], Trajectories.ragged([(S, W[:, :1]), (S[:40], W[:40, :1])], ["x0"])
    ),
    "list of masked arrays": (
        [masked(W, np.isnan(HOLES)), W], plain(np.stack([HOLES, W]), X0, missing=True)
    ),
    "list of frames": (
        [frame(W), frame(W[:40])[["w", "v"]]], Trajectories.ragged([(S, W), (S[:40], W[:40])], NAMES)
    ),
    "list of dated frames": (
        [frame(W, dates("MS")), frame(W[:40], dates("MS", "1999-01-01")[:40])], Trajectories.ragged([(S, W), (S[:40], W[:40])], NAMES)
    ),
    "list of trajectories": ([plain(W), plain(W[:40], t=S[:40])], Trajectories.ragged([(S, W), (S[:40], W[:40])], NAMES)),
    "labelled (time)": (xr.DataArray(W[:, 0], {"time": 0.5 * S}, name="v"), plain(W[:, :1], ["v"], 0.5 * S)),
    "labelled (time, variable)": (
        xr.DataArray(W, {"time": dates("MS"), "variable": NAMES}, ("time", "variable")), plain(W)
    ),
    "labelled runs": (xr.DataArray(RUNS, dims=("run", "time", "x"), coords={"x": NAMES}), plain(RUNS)),
    "data set": (xr.Dataset({"v": ("time", HOLES[:, 0]), "w": ("time", W[:, 1])}), plain(HOLES, missing=True)),
    "data set of runs": (
        xr.Dataset({"v": (("time", "run"), RUNS[..., 0].T), "w": (("run", "time"), RUNS[..., 1])}), plain(RUNS)
    ),
}  # fmt: skip


def values(found):
    """The numbers of what came back."""
    if isinstance(found, list):
        return [np.asarray(v) for v in found]
    if isinstance(found, xr.Dataset):
        return np.stack([v.values for v in found.data_vars.values()], -1)
    return np.asarray(found)


def same(found, wanted):
    """In rows of (T, D), without the padding of shorter series."""
    found = np.concatenate([np.reshape(v, (-1, wanted.shape[-1])) for v in found]) if isinstance(found, list) else found
    rows = wanted.reshape(-1, wanted.shape[-1])
    rows = rows[~np.isnan(rows).all(1)]
    np.testing.assert_array_equal(np.reshape(found, rows.shape), rows)


@pytest.mark.parametrize("kind", MEANT)
def test_is_read_as_it_means(kind):
    given, meant = MEANT[kind]
    mine, theirs = model().fit(given), model().fit(meant)
    assert mine.history_.loss == theirs.history_.loss
    assert mine.names_ == theirs.names_
    assert mine.step_ == pytest.approx(theirs.step_, rel=1e-12)
    predicted, ahead = mine.predict(given), mine.forecast(given, 4)
    same(values(predicted), theirs.predict(meant))
    same(values(ahead), theirs.forecast(meant, 4))
    if not isinstance(given, (Trajectories, list, torch.Tensor)) and "groups" not in kind:
        kept = np.ndarray if isinstance(given, np.ndarray) else type(given)
        assert type(predicted) is kept
        assert type(ahead) is kept


AHEAD = {
    "days": ["2026-04-02", "2026-04-03"],
    "milliseconds": ["2026-02-01 00:00:00.120", "2026-02-01 00:00:00.122"],
    "days with gaps": ["2026-04-02", "2026-04-03"],
    "months": ["2031-02-01", "2031-03-01"],
    "ends of months": ["2031-02-28", "2031-03-31"],
    "months with gaps": ["2031-02-01", "2031-03-01"],
    "years": ["2087-01-01", "2088-01-01"],
    "business days": ["2026-04-27", "2026-04-28"],
    "days of a place with summer time": ["2026-04-30 00:00+02:00", "2026-05-01 00:00+02:00"],
    "hours of a place with summer time": ["2026-03-30 13:00+02:00", "2026-03-30 14:00+02:00"],
}


@pytest.mark.parametrize("kind", AHEAD)
def test_forecasts_have_the_dates_that_follow(kind):
    given = MEANT[kind][0]
    fitted = model().fit(given)
    ahead = fitted.forecast(given, 2)
    assert ahead.index.tolist() == [pd.Timestamp(d, tz=given.index.tz) for d in AHEAD[kind]]
    assert ahead.columns.tolist() == NAMES
    assert fitted.predict(given).index.equals(given.index)
    pd.testing.assert_frame_equal(fitted.forecast(given, t=ahead.index), ahead)  # asked for by their dates


def test_other_indices_that_follow():
    for given, wanted in (
        (MEANT["frame at years"][0], pd.Index([2010, 2011], name="year")),
        (MEANT["periods"][0], pd.PeriodIndex(["2041Q1", "2041Q2"], freq="Q")),
        (MEANT["time differences"][0], pd.to_timedelta([30.0, 30.5], unit="s")),
        (MEANT["frame"][0], pd.Index([60, 61])),
    ):
        pd.testing.assert_index_equal(model().fit(given).forecast(given, 2).index, wanted, exact="equiv")
    ahead = model().fit(GROUPS).forecast(GROUPS, 2)
    assert ahead.index.tolist() == [("a", 60), ("a", 61), ("b", 60), ("b", 61)]
    assert list(ahead.index.names) == ["site", "time"]
    array = MEANT["labelled (time, variable)"][0]
    ahead = model().fit(array).forecast(array, 2)
    assert ahead.time.values.astype("M8[D]").astype(str).tolist() == ["2031-02-01", "2031-03-01"]
    assert ahead.coords["variable"].values.tolist() == NAMES
    data = xr.Dataset({"v": ("time", W[:, 0], {"units": "mV"})})
    assert model().fit(data).forecast(data, 2).v.attrs == {"units": "mV"}


DRIVEN = frame(W).assign(I=np.sin(S))[["I", "v", "w"]]


class TestColumnsAreFoundByName:
    @pytest.mark.parametrize("settings", [{"inputs": "I"}, {"observe": ["w", "v"]}, {"inputs": ("v",), "observe": "w"}])
    @pytest.mark.parametrize("order", [["w", "I", "v"], ["v", "w", "I"]])
    def test_in_any_order(self, settings, order):
        """Read from frames, trajectories, data sets and structured arrays, and from arrays in the order of the training data."""
        fitted = model(**settings).fit(DRIVEN)
        wanted = fitted.predict(DRIVEN)
        assert tuple(wanted.columns) == fitted.names_
        pd.testing.assert_frame_equal(fitted.predict(DRIVEN[order].assign(more=1.0)), wanted)
        data = plain(DRIVEN[order].to_numpy(), order)
        for other in (data, [data], DRIVEN.to_numpy(), DRIVEN[order].to_records(index=False)):
            np.testing.assert_array_equal(np.squeeze(fitted.predict(other)), np.squeeze(wanted))
        again = xr.Dataset({name: ("time", DRIVEN[name]) for name in order})
        np.testing.assert_array_equal(values(fitted.predict(again)), wanted)
        assert fitted.score(DRIVEN) == fitted.score(DRIVEN.to_numpy()) == fitted.score(data)

    def test_an_input_in_the_first_column_of_an_array(self):
        """The array that was fitted is the array that is predicted."""
        A = np.c_[10 * np.sin(S), W]
        fitted = model(inputs=["x0"]).fit(A)
        assert np.abs(fitted.predict(A)[:, 0] - W[:, 0]).max() < 1 < np.abs(fitted.predict(A)[:, 0] - A[:, 0]).max()
        np.testing.assert_array_equal(fitted.predict(A), fitted.predict(Trajectories(S, A))[0])

    def test_baselines_too(self):
        fitted = lemode.baselines.Autoregression().fit(DRIVEN)
        others = DRIVEN[["w", "v", "I"]]  # numpy's rounding depends on where an array lies
        pd.testing.assert_frame_equal(fitted.forecast(others, 3), fitted.forecast(DRIVEN, 3), rtol=1e-12, atol=1e-12)
        assert fitted.rmse(others) == pytest.approx(fitted.rmse(DRIVEN), rel=1e-9)
        chosen = lemode.baselines.Persistence(observe=("x1",)).fit(W)
        np.testing.assert_allclose(chosen.predict(W), W[:, 1:], rtol=0, atol=1e-14)  # scaled and back

    def test_known_inputs_of_a_forecast(self):
        table = frame(W, dates("MS")).assign(I=np.sin(S), J=VALVE)
        fitted = model(inputs=["I", "J"]).fit(table)
        coming = pd.DataFrame({"J": [True, False], "I": [0.5, -0.5]}, pd.date_range("2031-02-01", periods=2, freq="MS"))
        wanted = fitted.forecast(table, 2, coming[["I", "J"]].to_numpy(dtype=float))
        for inputs in (coming, coming.reset_index(drop=True), coming[["I", "J"]].to_numpy(dtype=float), coming.to_records()):
            if not isinstance(inputs, np.recarray):
                pd.testing.assert_frame_equal(fitted.forecast(table, inputs=inputs), wanted)
        with pytest.raises(ValueError, match="inputs: row 0 is at 2031-03-01 00:00:00, the forecast at 2031-02-01 00:00:00"):
            fitted.forecast(table, inputs=coming.shift(1, freq="MS"))
        with pytest.raises(ValueError, match=r"inputs: variables \['J'\]: the data have I"):
            fitted.forecast(table, inputs=coming[["I"]])

    def test_inputs_of_groups_are_those_of_the_same_group(self):
        table = pd.concat({"a": DRIVEN, "b": DRIVEN[::-1].reset_index(drop=True)})
        fitted = model(inputs="I").fit(table)
        coming = pd.concat({"b": pd.DataFrame({"I": [1.0, 1.0]}, [60, 61]), "a": pd.DataFrame({"I": [0.0, 0.0]}, [60, 61])})
        wanted = fitted.forecast(table, 2, np.array([[[0.0], [0.0]], [[1.0], [1.0]]]))
        pd.testing.assert_frame_equal(fitted.forecast(table, inputs=coming), wanted)
        with pytest.raises(ValueError, match=r"inputs are of the groups \['b'\], the history of \['a', 'b'\]"):
            fitted.forecast(table, inputs=coming.loc[["b"]])

    def test_survives_a_file(self, tmp_path):
        fitted = model(inputs="I").fit(DRIVEN.set_axis(dates("MS")))
        fitted.save(tmp_path / "m.lem")
        again = Surrogate.load(tmp_path / "m.lem")
        assert again.table_ == fitted.table_
        pd.testing.assert_frame_equal(again.predict(DRIVEN[["w", "I", "v"]]), fitted.predict(DRIVEN))


def fit(X, **settings):
    return lambda: model(**settings).fit(X)


def use(X, fitted_to, call=lambda m, X: m.predict(X), **settings):
    return lambda: call(model(**settings).fit(fitted_to), X)


TWO = pd.DataFrame(np.c_[W, W], columns=["v", "w", "v", "u"])
LATE = dates("D").to_series()
DAYS, MONTHS = frame(index=dates("D")), frame(index=dates("MS"))


class Polars:
    """A frame that is not pandas'."""

    columns = ("v",)

    def to_pandas(self):
        return frame()


def with_units(unit):
    data = frame()
    data.attrs["units"] = {"v": unit}
    return data


REFUSED = {
    "a path": (fit("station.csv"), "data are 'station.csv': .*pandas.read_csv"),
    "a dict": (fit({"v": W[:, 0]}), r"data are a dict of v: give pandas\.DataFrame"),
    "nothing": (fit(None), "NoneType.*give Trajectories"),
    "a function": (fit(np.sin), "ufunc.*sampled by lemode.fit"),
    "another frame": (fit(Polars()), r"Polars: give data\.to_pandas\(\)"),
    "a number": (fit(3.0), r"shape \(\): give"),
    "four dimensions": (fit(RUNS[None]), r"shape \(1, 3, 60, 2\): give \(n, T, D\)"),
    "no samples": (fit(W[:0]), r"\(1, 0, 2\): there is no data in it"),
    "a single sample": (fit(W[:1]), "a single time"),
    "rows of different lengths": (fit([[1.0], [1.0, 2.0]]), "no array: give"),
    "complex numbers": (fit(W + 1j), "complex128: .*the real and the imaginary part as two variables"),
    "complex trajectories": (lambda: Trajectories(S, W + 1j), "complex128: .*imaginary part as two variables"),
    "text": (fit(W.astype(str)), "dtype <U.*give Trajectories or an array of real numbers"),
    "None among numbers": (fit(W.astype(object)), "dtype object: give .* real numbers"),
    "fields of text": (fit(np.array([("a", 1.0)], dtype=[("s", "U1"), ("v", "f8")])), r"field 's' has dtype <U1: .*data\[\[\.\.\.\]\]"),
    "nan": (fit(HOLES), r"nan in trajectory 0 at time index 9, variable 'x0'.*missing=True"),
    "nan beside a mask": (fit(np.ma.masked_array(HOLES, VALVE[:, None] & [False, True])), "nan in trajectory 0 at time index 9, .*'x0'"),
    "inf": (fit(np.where(np.isnan(HOLES), np.inf, W)), r"inf in trajectory 0 at time index 9, variable 'x0'.*remove or repair"),
    "inf in a frame": (fit(frame(np.where(np.isnan(HOLES), np.inf, W))), r"inf in trajectory 0 at time index 9, variable 'v'"),
    "nothing of a variable": (fit(frame().assign(w=np.nan)), "no value of 'w' at all: leave"),
    "everything masked": (fit(np.ma.masked_array(W, [[False, True]] * T)), "no value of 'x1' at all: leave"),
    "samples or series": (fit([W[:, 0], W[:, 1]]), r"list of 2 arrays of 60 numbers: samples or series\? Give np\.stack"),
    "a list of other variables": (fit([frame(), frame(columns=["v", "u"])]), r"data\[1\] has the variables v, u, data\[0\] v, w"),
    "a list of other units": (fit([with_units("V"), with_units("mV")]), r"data\[1\] has other units than data\[0\]"),
    "a bad one in a list": (fit([W, W[:40] + 1j]), r"data\[1\]: .*complex128"),
    "an empty frame": (fit(frame().iloc[:0]), r"shape \(0, 2\): there is no data in it"),
    "a column of text": (fit(frame().assign(site="north")), r"column 'site' holds 'north' at row 0.*drop.*groupby\('site'\)"),
    "numbers as text": (fit(frame().assign(u=["1,5"] * T)), r"column 'u' holds '1,5' at row 0.*pandas\.to_numeric"),
    "a column of categories": (fit(frame().assign(k=pd.Categorical(["a"] * T))), r"column 'k' holds 'a' at row 0"),
    "a column of dates": (fit(frame().assign(day=dates("D"))), r"column 'day' holds dates .*set_index\('day'\)"),
    "a complex column": (fit(frame().assign(z=W[:, 0] + 1j)), "column 'z' holds complex numbers: .*two columns"),
    "a name twice": (fit(TWO), "2 columns 'v': give each variable a name of its own"),
    "levels of columns": (fit(pd.concat({"a": frame()}, axis=1)), "2 levels of columns: give each variable one name"),
    "a time twice": (fit(DAYS.iloc[[0, 1, 1, 2]]), r"row 2 has the time 2026-02-02 .*groupby"),
    "rows out of order": (fit(DAYS.iloc[::-1]), r"row 1, 2026-03-31 .*, is before row 0, 2026-04-01 .*sort_index"),
    "a row without a date": (fit(DAYS.set_axis([pd.NaT, *DAYS.index[1:]])), "row 0 has no time, NaT: drop it"),
    "times as text": (fit(frame(index=DAYS.index.astype(str))), r"the index of the frame has dtype .*to_datetime.*reset_index"),
    "a group out of order": (fit(pd.concat({"a": DAYS, "b": DAYS[::-1]})), r"row 1 of group 'b', .*sort_index"),
    "dates in trajectories": (lambda: Trajectories(DAYS.index.to_numpy(), W), r"t holds dates .* 2026-02-01.*np\.timedelta64\(1, 's'\)"),
    "a mask of times": (lambda: Trajectories(np.ma.masked_equal(S, 7), W), r"t is masked, first at \(7,\): leave"),
    "an unclear dimension": (fit(xr.DataArray(W, dims=("a", "b"))), r"\('a', 'b'\), which of them is time\?.*rename"),
    "too many dimensions": (fit(xr.DataArray(RUNS[None], dims=("lat", "lon", "time", "x"))), r"\('lat', 'lon', 'time', 'x'\): give"),
    "a variable on another grid": (
        fit(xr.Dataset({"v": ("time", W[:, 0]), "map": (("time", "lat", "lon"), np.zeros((T, 2, 2)))})), "variable 'v'|'map' has the dim"
    ),
    "a labelled text": (fit(xr.Dataset({"v": ("time", ["a", "b"])})), "variable 'v' has dtype <U1"),
    "times over decades": (
        fit(plain(W, t=np.logspace(-4, 5, T))),
        r"trajectory 0 has times from .* to 100000, evenly spaced in their logarithm.*np\.log10\(t\) for t, and as an input",
    ),
    "an input with gaps": (fit(frame(HOLES), inputs="v"), "no value in trajectory 0 at time index 9, variable 'v': .*interpolate it"),
    "an unknown name": (fit(frame(), observe="u"), r"variables \['u'\]: choose from v, w"),
    "what varies in the validation only": (
        lambda: model().fit(np.c_[W[:, 0], 0 * S], validation=W), "'x1' does not vary in the training data, and it does in the validation"
    ),
    "other names": (use(frame(columns=["v", "u"]), frame()), r"variables \['w'\]: the data have v, u, the model reads v, w; rename"),
    "one column less": (use(W[:, :1], W), r"data have 1 variables, the training data had 2 \(x0, x1\)"),
    "a row (T,) of two variables": (use(W[:, 0], W), r"data have 1 variables, the training data had 2 \(x0, x1\)"),
    "unclear columns": (
        use(W, DRIVEN, inputs="I", observe="w"), r"2 variables without names, the training data had 3 \(I, v, w\), of which the model reads w, I"
    ),
    "another unit": (use(with_units("V"), with_units("mV")), "'v' is in V, in the training data it was in mV: convert it"),
    "milliseconds for seconds": (
        use(frame(index=1000.0 * S), frame(index=1.0 * S)), "sampled every 1000, the training data every 1: give times in the same unit"
    ),
    "days for months": (use(DAYS, MONTHS), "row 1 is 2026-02-02 .*not those of one clock, months from 2026-02-01"),
    "dates for numbers": (use(DAYS, frame(index=1.0 * S)), "sampled every 86400 seconds, the training data every 1: give times"),
    "dates after numbers": (
        use(frame(), frame(), lambda m, X: m.forecast(X, t=DAYS.index)), "t holds dates, such as 2026-02-01 .*: give numbers"
    ),
    "dates after an array": (
        use(W, W, lambda m, X: m.forecast(X, t=DAYS.index)), "t holds dates .*: give numbers"
    ),
    "half a month": (use(MONTHS, MONTHS, lambda m, X: m.forecast(X, 2, dt=0.5)), "count months: give dt or t as whole numbers"),
    "a time difference for a number": (
        use(W, W, lambda m, X: m.forecast(X, 2, dt=pd.Timedelta("1s"))), "dt=.*do not count seconds; give a number"
    ),
    "inputs with gaps": (
        use(DRIVEN, DRIVEN, lambda m, X: m.forecast(X, 2, [[1.0], [np.nan]]), inputs="I"), "inputs: .*trajectory 0 at time index 1, variable 'I'"
    ),
    "masked inputs": (
        use(DRIVEN, DRIVEN, lambda m, X: m.forecast(X, 2, np.ma.masked_equal([[1.0], [9.0]], 9)), inputs="I"),
        "inputs: .*trajectory 0 at time index 1, variable 'I'",
    ),
    "inputs of another length": (
        use(DRIVEN, DRIVEN, lambda m, X: m.forecast(X, 3, [[1.0], [2.0]]), inputs="I"), r"inputs have shape \(2, 1\): give \(3, 1\)"
    ),
    "no inputs": (use(DRIVEN, DRIVEN, lambda m, X: m.forecast(X, 3), inputs="I"), "inputs are missing: give I"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_is_refused_in_a_sentence(kind):
    call, sentence = REFUSED[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        with pytest.raises(ValueError, match=sentence):
            call()


OUTLIER = W.copy()
OUTLIER[33, 1] = 1e6

SAID = {
    "an equilibrium": (fit(np.ones((T, 2)) * [3.0, 4.0]), "do not vary: x0 is 3, x1 is 4 .*start elsewhere"),
    "the time as a variable": (fit(frame().assign(t=0.1 * S)), "'t' grows with every sample, .*set_index[(]'t'[)]"),
    "a valve that moves for the first time": (
        use(DRIVEN.assign(I=VALVE), DRIVEN.assign(I=0), inputs="I"),
        "'I' was always 0 in the training data, and goes from 0 to 1",
    ),
    "an outlier": (fit(OUTLIER), "'x1' holds an outlier, 1e[+]06 in trajectory 0 at time index 33: .*scale='robust'"),
    "series of different sizes": (
        fit(RUNS * [[[1e-3]], [[1.0]], [[1e6]]]),
        "in trajectory 0, .*e[+]05 in trajectory 2: .*scale='series'",
    ),
    "volts for millivolts": (
        use(frame(W / 1000), frame()),
        "'v' goes from -0.0009.* to 0.0009.*, in the training data from -0.9",
    ),
    "volts for kilovolts": (use(frame(W * 1000), frame()), "'v' goes from -99.* if it is in another unit, convert it"),
    "a far level": (
        use(frame(W + np.array([0, 1e5])), frame()),
        "'w' goes from 9999.* to 1000.*, in the training data from -2",
    ),
}


@pytest.mark.parametrize("kind", SAID)
def test_is_said(kind):
    call, sentence = SAID[kind]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert any(w.category is DataWarning and re.search(sentence, str(w.message)) for w in caught)


QUIET = {
    "a spiking neuron": np.exp(-(((S % 30) - 15.0) ** 2))[:, None],
    "a growing one": np.exp(0.1 * S)[:, None],
    "a decaying one": np.exp(-0.2 * S)[:, None] * np.cos(S)[:, None],
    "rare events": np.where(S % 29 == 0, 100.0, 0.0)[:, None],
    "runs of which one rests": np.stack([W, 0 * W + 2]),
}


@pytest.mark.parametrize("kind", QUIET)
def test_is_not_remarkable(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        model().fit(QUIET[kind], validation=QUIET[kind]).predict(QUIET[kind])


@pytest.mark.parametrize(
    ("train", "dtype", "unit"),
    [*(("all", d, u) for d in (np.float32, np.float64) for u in (1.0, 1e-6, 1e9)), ("readout", np.float32, 1e-6)],
)
def test_constant_is_constant_in_every_unit(train, dtype, unit):
    """Also where it is one only up to rounding: 0.1 + 0.2 and 0.3. What is beside it is learned as if it were alone."""
    level = np.where(S % 2, 0.1 + 0.2, 0.3) if unit == 1 else np.full(T, 0.3)
    x = (unit * np.c_[level, W]).astype(dtype)
    fitted = model(train=train, steps=20).fit(x)
    ahead = fitted.forecast(x, 500)
    # a few roundings of the level; before it was a tenth, whatever the unit
    np.testing.assert_allclose(ahead[:, 0], 0.3 * unit, rtol=500 * 4 * np.finfo(dtype).eps)
    assert np.abs(fitted.predict(x)[:-1, 0] - x[1:, 0]).max() <= 8 * np.finfo(dtype).eps * unit
    assert fitted.history_.validation[-1][1] < 10


class TestScales:
    SIZES = np.array([1e-3, 1.0, 1e6])[:, None, None]
    RUNS = np.stack([np.sin(0.3 * S + k) for k in range(3)])[..., None]

    def test_each_series_in_its_own_unit(self):
        """Series of 1e-3 to 1e6 in one fit are learned as if all were of size one, and forecast in their units."""
        many, alike = (model(scale="series", steps=30).fit(x, validation=x) for x in (self.RUNS * self.SIZES, self.RUNS))
        np.testing.assert_allclose(many.history_.loss, alike.history_.loss, rtol=1e-6)  # rounding, in thirty steps
        wanted = alike.forecast(self.RUNS, 9)
        np.testing.assert_allclose(many.forecast(self.RUNS * self.SIZES, 9) / self.SIZES, wanted, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(many.predict(1e3 * self.RUNS[0]), 1e3 * alike.predict(self.RUNS[0]), rtol=1e-6, atol=1e-3)

    def test_a_forecast_in_the_series_scale_depends_on_the_history_only(self):
        fitted = model(scale="series").fit(self.RUNS)
        assert not np.array_equal(fitted.forecast(self.RUNS[0, :40], 3), model().fit(self.RUNS).forecast(self.RUNS[0, :40], 3))
        np.testing.assert_array_equal(fitted.forecast(self.RUNS[:, :40], 3)[0], fitted.forecast(self.RUNS[:1, :40], 3)[0])

    def test_an_outlier_of_a_million_is_as_if_it_were_missing(self, tmp_path):
        hole = OUTLIER.copy()
        hole[33, 1] = np.nan
        robust = model(scale="robust").fit(OUTLIER)
        without = model().fit(plain(hole, X0, missing=True))
        assert robust.history_.loss == without.history_.loss
        robust.save(tmp_path / "m.lem")
        for fitted in (robust, Surrogate.load(tmp_path / "m.lem")):
            np.testing.assert_array_equal(fitted.predict(OUTLIER), without.predict(plain(hole, X0, missing=True))[0])
            assert fitted.rmse(OUTLIER) == without.rmse(plain(hole, X0, missing=True)) < 10

    def test_others_are_refused(self):
        with pytest.raises(ValueError, match="scale='minmax': choose 'global', 'series', 'robust'"):
            model(scale="minmax").fit(W)
        fitted = model(warm_start=True).fit(W)
        with pytest.raises(ValueError, match="warm_start: scale='series', and the model was fitted with 'global'"):
            fitted.set_params(scale="series").fit(W)


def test_a_continuous_fit_leaves_one_checkpoint(tmp_path):
    """That of its first part would refuse the next fit, after the one that has a name was removed."""
    file = tmp_path / "fit.ckpt"
    model(continuous=True).fit(W, checkpoint=file)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.ckpt"]
    file.unlink()
    model(continuous=True).fit(2 * W, checkpoint=file)


class TestAngles:
    """A pendulum that goes over the top, now and then."""

    TIMES = 0.1 * np.arange(400)
    SYSTEM = lemode.systems.CallableSystem(lambda t, x: np.array([x[1], -np.sin(x[0])]), 2, ("theta", "omega"))
    DATA = SYSTEM.trajectories(8, TIMES, x0=np.stack([np.linspace(-1, 1, 8), np.linspace(2.1, 2.9, 8)], -1))

    def fitted(self, data=DATA, **settings):
        return model(hidden_size=6, steps=20, window=50, angles="theta", optimizer="eigenadam", **settings).fit(data)

    def test_winding_does_not_matter(self, tmp_path):
        """Fits to the angle as it winds and as it is wrapped are the same, and so are their scores."""
        turned = Trajectories(
            self.TIMES, np.stack([np.angle(np.exp(1j * self.DATA.x[..., 0])), self.DATA.x[..., 1]], -1), ("theta", "omega")
        )
        assert np.ptp(self.DATA.x[..., 0]) > 10 > 2 * np.pi >= np.ptp(turned.x[..., 0])
        a, b = self.fitted(), self.fitted(turned)
        # cosines of an angle and of one some turns away differ by rounding, which the steps let grow
        np.testing.assert_allclose(a.history_.loss[:20], b.history_.loss[:20], rtol=1e-6)
        assert a.rmse(self.DATA) == pytest.approx(a.rmse(turned), rel=1e-6)
        ahead = a.forecast(turned[:2], 30)
        assert ahead.shape == (2, 30, 2)
        assert np.abs(ahead[..., 0]).max() <= np.pi
        a.save(tmp_path / "m.lem")
        np.testing.assert_array_equal(Surrogate.load(tmp_path / "m.lem").forecast(turned[:2], 30), ahead)

    @pytest.mark.slow
    def test_better_than_without_and_than_an_autoregression(self):
        """Over two time units from twenty origins, of the last two series: the error in position on the circle.

        It was 7e-5 with the angle as one, 0.015 without, and 0.14 of the autoregression.
        """
        # the last two turn faster than what they were trained on
        readout = {"hidden_size": 40, "train": "readout", "washout": 10, "window": 50, "optimizer": "auto", "contain": None}
        errors = {}
        models = {
            "angles": model(**readout, angles="theta").fit(self.DATA[:6]),
            "no angles": model(**readout).fit(self.DATA[:6]),
            "autoregression": lemode.baselines.Autoregression(4).fit(self.DATA[:6]),
        }
        for name, fitted in models.items():
            found = []
            for k in range(50, 350, 15):
                history = Trajectories(self.TIMES[:k], self.DATA.x[6:, :k], self.DATA.names)
                found.append(fitted.forecast(history, 20)[..., 0] - self.DATA.x[6:, k : k + 20, 0])
            errors[name] = np.sqrt(np.mean(np.sin(np.array(found) / 2) ** 2))
        assert errors["angles"] < 0.1 * errors["no angles"]
        assert errors["angles"] < 0.01 * errors["autoregression"]

    @pytest.mark.parametrize(
        ("call", "sentence"),
        [
            (lambda: model(angles="phi").fit(frame()), r"angles=\('phi',\): 'phi' is not predicted; choose from v, w"),
            (lambda: model(angles="v").fit(with_units("degrees")), r"'v' is in degrees; give it in radians, np\.deg2rad"),
            (lambda: model(angles="v", scale="series").fit(frame()), "leave scale='series' out"),
            (
                lambda: model(angles="v").fit(frame()).forecast(frame(), 3, level=0.9),
                r"level=0\.9: a band of an angle, 'v', has no ends",
            ),
        ],
    )
    def test_is_refused(self, call, sentence):
        with pytest.raises(ValueError, match=sentence):
            call()
