"""`lemode fit`, `forecast` and `evaluate` do what Python does with the same table, and refuse in one sentence what it refuses."""

import inspect
import io
import json

import numpy as np
import pytest

import lemode
from lemode.cli import fit, main

pd = pytest.importorskip("pandas")

FEW = [
    "--train",
    "all",
    "--hidden-size",
    "3",
    "--steps",
    "4",
    "--window",
    "20",
    "--washout",
    "5",
    "--batch-size",
    "4",
    "--quiet",
]
HOURS = pd.date_range("2026-01-01", periods=72, freq="h", name="when")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two stations one below the other, with dates, an input, an empty cell and rows that are not there; and what is to come."""
    path = tmp_path_factory.mktemp("cli")
    stations = []
    for site, phase in (("north", 0.0), ("south", 1.0)):
        t = np.arange(72.0)
        table = pd.DataFrame({"site": site, "v": np.sin(t / 4 + phase), "w": 5 + np.cos(t / 4 + phase), "I": t % 6 < 3}, HOURS)
        table["I"] = table["I"].astype(float)
        table.iloc[20, 1] = np.nan
        stations.append(table.drop(index=HOURS[30:33]))
    table = pd.concat(stations)
    past, coming = table[table.index < HOURS[60]], table[table.index >= HOURS[60]]
    past.to_csv(path / "past.csv")
    coming.to_csv(path / "coming.csv")
    assert main(["fit", str(path / "past.csv"), "-o", str(path / "model.lem"), "--group", "site", "--inputs", "I", *FEW]) == 0
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """One series without times, of two variables and a note."""
    path = tmp_path_factory.mktemp("plain")
    t = np.arange(80.0)
    table = pd.DataFrame({"v": np.sin(t / 3), "w": np.cos(t / 3), "note": "text"})
    table.to_csv(path / "data.csv", index=False)
    assert main(["fit", str(path / "data.csv"), "-o", str(path / "model.lem"), "--observe", "v", "w", *FEW]) == 0
    return path


def run(capsys, *arguments, status=0):
    """Standard output and standard error of a command that ends with this status."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == status
    return capsys.readouterr()


def read(path):
    return pd.read_csv(path, parse_dates=["when"], index_col="when")


def test_fit_is_that_of_python(folder):
    model = lemode.Surrogate.load(folder / "model.lem")
    options = {"train": "all", "hidden_size": 3, "steps": 4, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0}
    same = lemode.Surrogate(inputs=("I",), **options).fit(read(folder / "past.csv").groupby("site"))
    for name, value in same.network_.state_dict().items():
        np.testing.assert_array_equal(model.network_.state_dict()[name], value, err_msg=name)
    assert model.names_ == ("v", "w")
    assert model.input_names_ == ("I",)


def test_fit_says_what_it_did_as_json(folder, tmp_path, capsys):
    said = run(
        capsys, "fit", folder / "past.csv", "-o", tmp_path / "m.lem", "--group", "site", "--observe", "v", "--inputs", "I", *FEW,
        "--json", "--validation", folder / "past.csv", "--checkpoint", tmp_path / "checkpoint", "--checkpoint-every", 30,
    )  # fmt: skip
    facts = json.loads(said.out)
    assert (facts["names"], facts["inputs"], facts["interval"], facts["steps"]) == (["v"], ["I"], 3600, 4)
    assert facts["stopped"] == "all steps done"
    assert said.err == ""


def test_every_hyper_parameter_of_python_is_an_option():
    known = fit.hyper_parameters()
    for cls in (lemode.Surrogate, lemode.FieldSurrogate):
        assert set(inspect.signature(cls).parameters) - {"verbose", "warm_start"} <= set(known)
    assert all(option["help"] for option in known.values())


def test_hyper_parameters_arrive_as_python_takes_them(plain, tmp_path, capsys):
    run(
        capsys, "fit", plain / "data.csv", "-o", tmp_path / "m.lem", *FEW, "--observe", "v", "w", "--weights", "v=2", "--season", "12.5",
        "--stages", "one-step", "--dtype", "float32", "--seed", "3", "--no-continuous", "--lr", "1e-3", "--budget", "60", "--contain", "none",
    )  # fmt: skip
    params = lemode.Surrogate.load(tmp_path / "m.lem").get_params()
    wanted = {
        "observe": ("v", "w"), "weights": {"v": 2}, "season": (12.5,), "stages": ("one-step",), "dtype": "float32", "seed": 3,
        "continuous": False, "lr": 1e-3, "budget": 60, "contain": None,
    }  # fmt: skip
    assert {name: params[name] for name in wanted} == wanted


def test_a_field_is_fitted(tmp_path, monkeypatch, capsys):
    """By the hyper-parameters of a field, as Python takes them; the fit itself is that of other tests."""
    (tmp_path / "field.csv").write_text("u0,u1,u2\n" + 5 * "1,2,3\n")
    asked = []

    def fit(self, X, **options):
        asked.append((self.get_params(), X.shape))
        raise ValueError("enough.")

    monkeypatch.setattr(lemode.FieldSurrogate, "fit", fit)
    run(
        capsys, "fit", tmp_path / "field.csv", "-o", tmp_path / "m.lem", "--field", "--kernel-size", 3, "--conserve", "mean",
        "--input-noise", 0.1, "--symmetry", "odd", "--grid", 3, status=1,
    )  # fmt: skip
    params, shape = asked[0]
    wanted = {"kernel_size": 3, "conserve": "mean", "input_noise": 0.1, "symmetry": "odd", "grid": (3,)}
    assert {name: params[name] for name in wanted} == wanted
    assert shape == (5, 3)


def test_forecast_is_that_of_python_with_dates_and_groups(folder, tmp_path, capsys):
    past, coming = read(folder / "past.csv").groupby("site"), read(folder / "coming.csv").groupby("site")
    band = lemode.Surrogate.load(folder / "model.lem").forecast(past, inputs=coming, level=0.8)
    run(
        capsys, "forecast", folder / "model.lem", folder / "past.csv", "--group", "site", "--inputs", folder / "coming.csv",
        "--level", 0.8, "-o", tmp_path / "ahead.csv", "--plot", tmp_path / "ahead.png",
    )  # fmt: skip
    found = pd.read_csv(tmp_path / "ahead.csv", parse_dates=["when"]).set_index(["site", "when"])
    for frame, names in ((band.values, ["v", "w"]), (band.lower, ["v_lower", "w_lower"]), (band.upper, ["v_upper", "w_upper"])):
        np.testing.assert_array_equal(found[names], frame[["v", "w"]])
    assert found.index.equals(band.values.index)
    assert (tmp_path / "ahead.png").stat().st_size > 10_000
    rows = json.loads(
        run(
            capsys, "forecast", folder / "model.lem", folder / "past.csv", "--group", "site", "--inputs", folder / "coming.csv", "--json"
        ).out
    )  # fmt: skip
    assert rows[0]["when"].startswith("2026-01-03 12:00")
    assert rows[0]["v"] == found["v"].iloc[0]


def test_a_forecast_is_a_table_that_can_be_read_again(plain, monkeypatch, capsys):
    """The history comes from the standard input; rows are numbered where there are no times."""
    monkeypatch.setattr("sys.stdin", io.StringIO((plain / "data.csv").read_text()))
    ahead = run(capsys, "forecast", plain / "model.lem", "--steps", 30).out
    found = pd.read_csv(io.StringIO(ahead), index_col="index")
    assert list(found.index) == list(range(80, 110))
    history = pd.read_csv(plain / "data.csv")[["v", "w"]]
    model = lemode.Surrogate.load(plain / "model.lem")
    np.testing.assert_array_equal(found, model.forecast(history, 30))
    monkeypatch.setattr("sys.stdin", io.StringIO(ahead))
    again = pd.read_csv(io.StringIO(run(capsys, "forecast", plain / "model.lem", "--at", 111, 113.5).out), index_col="index")
    np.testing.assert_array_equal(again, model.forecast(found, t=[111, 113.5]))


def test_evaluate_has_the_errors_that_python_has(plain, tmp_path, capsys):
    facts = json.loads(
        run(
            capsys, "evaluate", plain / "model.lem", plain / "data.csv", "--horizon", 6, "--origins", 5, "--season", 19, "--json",
            "--level", 0.9, "--plot", tmp_path / "errors.png",
        ).out
    )  # fmt: skip
    model = lemode.Surrogate.load(plain / "model.lem")
    x = pd.read_csv(plain / "data.csv")[["v", "w"]]
    assert facts["one_step"]["v"]["rmse"] == model.rmse(x, multioutput="raw_values")[0]
    assert facts["origins"] == [19, 33, 46, 60, 74]
    wanted = lemode.evaluate({"model": model}, x.to_numpy(), 6, facts["origins"], season=19)
    errors = {who: np.sqrt((e[..., 1] ** 2).mean(0)) for who, e in wanted.errors.items()}
    for who in ("naive", "seasonal naive", "model"):  # frames and arrays are summed in another order
        np.testing.assert_allclose(facts["rmse_by_lead"]["w"][who], errors[who], rtol=1e-12)
    assert 0 <= facts["inside"] <= 1
    assert (tmp_path / "errors.png").stat().st_size > 10_000
    text = run(capsys, "evaluate", plain / "model.lem", plain / "data.csv", "--origins", 3).out
    assert "one step ahead, RMSE of v: " in text
    assert "seasonal naive" not in text


def test_evaluate_takes_groups_gaps_and_inputs(folder, capsys):
    said = run(
        capsys,
        "evaluate",
        folder / "model.lem",
        folder / "past.csv",
        "--group",
        "site",
        "--horizon",
        4,
        "--origins",
        3,
        "--json",
    )
    facts = json.loads(said.out)
    assert len(facts["origins"]) == 6
    model, past, errors = lemode.Surrogate.load(folder / "model.lem"), read(folder / "past.csv"), []
    for k, site in zip(facts["origins"], 3 * ["north"] + 3 * ["south"]):
        table = past[past["site"] == site].drop(columns="site")
        coming = table.iloc[k : k + 4]
        errors.append(model.forecast(table.iloc[:k], inputs=coming[["I"]], t=coming.index)["w"].iloc[3] - coming["w"].iloc[3])
    # the frame of one station and the groups of both are summed in another order
    np.testing.assert_allclose(facts["rmse_by_lead"]["w"]["model"][3], np.sqrt(np.mean(np.square(errors))), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("fit data.csv -o m.lem", "column 'note' holds 'text', which is no number"),
        ("fit data.csv -o m.lem --observe v u", "variables ['u']: choose from v, w, note"),
        ("fit data.csv -o m.lem --observe v --group place", "variables ['place']: choose from v, w, note"),
        ("fit data.csv -o m.lem --observe v --time hour", "variables ['hour']: choose from v, w, note"),
        ("fit data.csv -o no/such/m.lem --observe v", "there is no folder"),
        ("fit nowhere.csv -o m.lem", "nowhere.csv: no such file or directory."),
        ("fit model.lem -o m.lem", "model.lem: is not written in UTF-8"),
        ("fit data.csv -o m.lem --observe v --kernel-size 3", "'kernel_size' is no hyper-parameter of Surrogate"),
        ("fit data.csv -o m.lem --observe v --hidden-size many", "hidden_size='many': give a positive integer"),
        ("forecast model.lem data.csv --steps 0", "steps=0: give a positive integer"),
        ("forecast nowhere.lem data.csv --steps 1", "nowhere.lem: there is no such file"),
        ("forecast data.csv data.csv --steps 1", "data.csv: not a lemode model, or damaged"),
        ("forecast model.lem v.csv --steps 1", "variables ['w']: choose from v"),
        ("forecast model.lem short.csv --steps 1", "history has 2 samples, the model needs at least 5"),
        ("forecast model.lem data.csv --steps 1 --level 90", "level=90.0: give a share"),
        ("forecast model.lem data.csv --inputs data.csv", "column 'note' holds 'text'"),
        ("forecast model.lem data.csv --inputs v.csv", "inputs: this model has none"),
        ("forecast model.lem data.csv --steps 1 -o .", ".: is a folder"),
        ("evaluate model.lem short.csv", "the table has 2 rows: 5 are read before the first forecast of 1"),
        ("evaluate model.lem v.csv", "variables ['w']: choose from v"),
        ("forecast model.lem twice.csv --steps 1", "the header has 'v' 2 times"),
        ("forecast model.lem bare.csv --steps 1", "line 1 holds numbers, 0.5, 1: give a header"),
        ("forecast model.lem empty.csv --steps 1", "empty.csv: has 0 lines: give a header"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(plain, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(plain)
    for name, text in {
        "v.csv": "v\n1\n2\n", "short.csv": "v,w\n0.1,0.2\n0.2,0.1\n", "twice.csv": "v,w,v\n1,2,3\n2,3,4\n", "bare.csv": "0.5,1\n2,3\n", "empty.csv": "",
    }.items():  # fmt: skip
        (plain / name).write_text(text)
    said = run(capsys, *arguments.split(), status=1)
    assert sentence in said.err
    assert said.err.startswith(f"lemode {arguments.split()[0]}: ")
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert not (plain / "m.lem").exists()


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        (lambda table: None, "inputs are missing: the model reads I; give their values at the times of the forecast"),
        (lambda table: table.drop(columns="I"), "variables ['I']: choose from"),
        (lambda table: table.replace({"I": {1.0: np.nan}}), "no value in trajectory 0 at time index"),
        (lambda table: table.shift(freq="D"), "inputs: row 0 is at 2026-01-04 12:00:00, the forecast at 2026-01-03 12:00:00"),
        (
            lambda table: table[table["site"] == "north"],
            "inputs are of the groups ['north'], the history of ['north', 'south']",
        ),
    ],
)
def test_inputs_that_are_not_there(folder, tmp_path, capsys, cut, sentence):
    table, more = cut(read(folder / "coming.csv")), []
    if table is not None:
        table.to_csv(tmp_path / "inputs.csv")
        more = ["--inputs", tmp_path / "inputs.csv"]
    said = run(capsys, "forecast", folder / "model.lem", folder / "past.csv", "--group", "site", "--steps", 12, *more, status=1)
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1


def test_a_band_is_not_called_as_a_variable(plain, tmp_path, capsys):
    table = pd.read_csv(plain / "data.csv").rename(columns={"w": "v_lower"})[["v", "v_lower"]]
    table.to_csv(tmp_path / "data.csv", index=False)
    run(capsys, "fit", tmp_path / "data.csv", "-o", tmp_path / "m.lem", *FEW)
    said = run(capsys, "forecast", tmp_path / "m.lem", tmp_path / "data.csv", "--steps", 2, "--level", 0.9, status=1)
    assert "there is a variable v_lower" in said.err


def test_export_writes_what_python_writes(plain, tmp_path, capsys):
    out = run(capsys, "export", plain / "model.lem", "--c", tmp_path / "c").out
    assert out.splitlines() == [f"Written: {tmp_path / 'c' / file}" for file in ("model.h", "model.c", "main.c")]
    lemode.export.c(lemode.Surrogate.load(plain / "model.lem"), tmp_path / "python", "model")
    for file in ("model.h", "model.c", "main.c"):
        assert (tmp_path / "c" / file).read_text() == (tmp_path / "python" / file).read_text()
    with pytest.raises(SystemExit) as stop:
        main(["export", str(plain / "model.lem")])
    assert stop.value.code == 2
    said = run(capsys, "export", plain / "model.lem", "--c", tmp_path / "no", "--name", "1st", status=1)
    assert "name='1st': give the files" in said.err
