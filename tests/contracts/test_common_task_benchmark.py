"""benchmarks/common_task.py: its data, the procedure that all methods share, its own peers, and that it runs."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from lemode.baselines import Persistence, Polynomial

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "common_task.py"


@pytest.fixture(scope="module")
def loaded():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        return _loaded()


def _loaded():
    spec = importlib.util.spec_from_file_location("common_task", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.AHEAD = 30
    return module


@pytest.fixture
def script(loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(loaded, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(loaded, "LOG", tmp_path / "log.jsonl")
    return loaded


@pytest.fixture(scope="module")
def data(loaded, tmp_path_factory):
    kept, loaded.CACHE = loaded.CACHE, tmp_path_factory.mktemp("data")
    found = loaded.generate("Lorenz", 3, 200)
    again = loaded.generate("Lorenz", 3, 200)  # from the file
    loaded.CACHE = kept
    assert found.keys() == again.keys()
    assert all((found[k] == again[k]).all() for k in found)
    return found


def lorenz_step(x, rho, h=0.05 / 50):
    def rhs(u):
        a, b, c = u.T
        return np.stack([10 * (b - a), a * (rho - c) - b, a * b - 8 / 3 * c], 1)

    for _ in range(50):
        k1 = rhs(x)
        k2 = rhs(x + h / 2 * k1)
        k3 = rhs(x + h / 2 * k2)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + rhs(x + h * k3))
    return x


def test_lorenz_is_what_the_documentation_says(script, data):
    assert {k: len(v) for k, v in data.items()} == {
        **{f"X{k}train": 200 for k in (1, 2, 3, 6, 7, 8)}, **{f"X{k}train": 100 for k in (4, 5, 9, 10)},
        **{f"X{k}test": 30 for k in (1, 3, 5, 6, 7, 8, 9)}, "X2test": 200, "X4test": 200,
    }  # fmt: skip
    clean = {1: "X1train", 2: "X2test", 3: "X4test", 4: "X4train", 9: "X9train", 10: "X10train"}
    for k, past in clean.items():
        test = next(t for pair, (_, start, t) in script.PAIRS.items() if start == k and pair not in (2, 4))
        x = np.concatenate([data[past], data[f"X{test}test"]])
        # the solver's tolerance, grown over one sample
        np.testing.assert_allclose(lorenz_step(x[:-1], script.PARAMETERS["Lorenz"][k]), x[1:], atol=1e-4)
    for noisy, truth, sigma in (("X2train", "X2test", 1.0), ("X3train", "X4test", 2.0)):
        # 600 draws: the standard error is 3 per cent
        assert np.std(data[noisy] - data[truth]) == pytest.approx(sigma, rel=0.12)
    assert np.abs(script.solution("Lorenz", 28.7, 5, 1) - script.solution("Lorenz", 28.7, 5, 2)).max() > 1


def test_the_field_solves_its_equation(script):
    """u_t + u u_x + u_xx + mu u_xxxx = 0 over one sample, by fourth-order Runge-Kutta with an integrating factor."""
    mu, n, h = 1.45, 256, 1 / 40
    u = script.resampled(script.solution("KS", mu, 2, 1), n)
    q = 2 * np.pi / script.LENGTH * np.arange(n // 2 + 1)
    half = np.exp(h / 2 * (q**2 - mu * q**4))

    def transport(v):
        return -0.5j * q * np.fft.rfft(np.fft.irfft(v, n) ** 2)

    v = np.fft.rfft(u[0])
    for _ in range(40):
        k1 = transport(v)
        k2 = transport(half * (v + h / 2 * k1))
        k3 = transport(half * v + h / 2 * k2)
        k4 = transport(half**2 * v + h * half * k3)
        v = half**2 * v + h / 6 * (half**2 * k1 + 2 * half * (k2 + k3) + k4)
    assert np.abs(u[1] - u[0]).max() > 0.3
    np.testing.assert_allclose(np.fft.irfft(v, n), u[1], atol=1e-3)  # steps of 0.1 there


def test_resampling_keeps_what_both_grids_have(script):
    x = np.linspace(0, 2 * np.pi, script.POINTS, endpoint=False)
    u = np.stack([np.sin(3 * x) + 2, np.cos(63 * x)])
    small = script.resampled(u, script.GRID)
    np.testing.assert_allclose(small, u[:, ::8], atol=1e-12)
    np.testing.assert_allclose(script.resampled(small, script.POINTS), u, atol=1e-12)
    assert np.abs(script.resampled(np.cos(64 * x)[None], script.GRID)).max() < 1e-12


def test_three_estimates_are_weighted_by_their_own_errors(script):
    rng = np.random.default_rng(0)
    truth = np.sin(0.01 * np.arange(40_000))[:, None] * [1.0, 5.0]
    sigmas = np.array([[0.3, 0.1], [0.2, 0.4], [0.5, 0.2]])
    estimates = [truth + s * rng.normal(size=truth.shape) for s in sigmas]
    error = (script.combined(*estimates) - truth)[1:-1].std(0)
    np.testing.assert_allclose(error, (1 / sigmas**2).sum(0) ** -0.5, rtol=0.02)  # draws
    # where one is missing, it has no part
    estimates[1][0], estimates[2][-1] = 1e9, 1e9
    estimates[0][[0, -1]], estimates[2][0], estimates[1][-1] = 7.0, 7.0, 7.0
    np.testing.assert_allclose(script.combined(*estimates)[[0, -1]], 7.0)


@pytest.mark.parametrize("kind", ["polynomial", "reservoir"])
def test_rules_at_each_point(script, kind):
    """A quadratic rule that is its own mirror image is learned from one series, and runs at other states of the ring."""

    def ahead(u):
        return 0.9 * u - 0.1 * u * (np.roll(u, -1, -1) - np.roll(u, 1, -1)) + 0.05 * (np.roll(u, -1, -1) + np.roll(u, 1, -1))

    def series(seed, steps):
        u = [0.2 * np.random.default_rng(seed).normal(size=script.GRID)]
        for _ in range(steps):
            u.append(ahead(u[-1]))
        return np.array(u)

    x, other = series(0, 60), series(1, 20)
    if kind == "polynomial":
        model, tolerance = script.LocalPolynomial(reach=2, ridge=1e-14).fit(x), 1e-6
    else:
        model, tolerance = script.LocalReservoir(units=40, reach=1, scaling=0.3, ridge=1e-12).fit(x), 0.05
    np.testing.assert_allclose(model.predict(other)[5:-1], other[6:], atol=tolerance)
    np.testing.assert_allclose(model.forecast(other[:11], 10), other[11:], atol=tolerance)
    mirrored = model.predict(-other[:, ::-1])
    assert np.abs(mirrored + model.predict(other)[:, ::-1])[5:].max() < tolerance


def test_mirror_images_are_in_the_data(script):
    """Of series that have no symmetry the rule has it all the same."""
    x, other = np.random.default_rng(0).uniform(0, 1, (2, 30, script.GRID))
    model = script.LocalPolynomial(reach=1, ridge=1e-10).fit(x)
    np.testing.assert_allclose(model.predict(-other[:, ::-1]), -model.predict(other)[:, ::-1], atol=1e-9)


def test_both_predictions_of_a_sample_are_of_this_sample(script, monkeypatch):
    class Slope(Persistence):
        def fit(self, X):
            self.slope = np.diff(X, axis=0).mean(0)
            return self

        def predict(self, X):
            return X + self.slope

    monkeypatch.setitem(script.MAKE["Lorenz"], "NG-RC", Slope)
    line = np.arange(500.0)[:, None] * [1.0, -3.0, 2.0]
    seen = line + 0.01 * np.random.default_rng(0).normal(size=line.shape)
    error = script.reconstruction("Lorenz", "NG-RC", {}, seen) - line
    assert error.std() == pytest.approx(0.01 / 3**0.5, rel=0.1)  # three estimates, each with the error of one sample


def test_no_method_sees_the_test_data_or_what_it_was_not_given(script, data, monkeypatch):
    fits = []

    class Watched(Polynomial):
        def fit(self, X, **options):
            fits.append(np.array(X))
            return super().fit(X, **options)

    monkeypatch.setitem(script.MAKE["Lorenz"], "NG-RC", Watched)
    hidden = {k: (np.full_like(v, np.nan) if "test" in k else v) for k, v in data.items()}
    together = script.predictions("Lorenz", "NG-RC", {"degree": 2}, hidden, (1, 8, 9))
    assert [f.shape for f in fits] == [(1, 200, 3), (3, 200, 3)]  # 8 and 9 share a model
    np.testing.assert_array_equal(fits[1][2], data["X8train"])
    assert {k: v.shape for k, v in together.items()} == dict.fromkeys((1, 8, 9), (30, 3))
    assert not any(np.isnan(v).any() for v in together.values())
    fits.clear()
    script.predictions("Lorenz", "NG-RC", {"degree": 2, "burn_in": True}, hidden, (8, 9))
    np.testing.assert_array_equal(np.concatenate(fits), [data["X9train"], data["X10train"]])
    fits.clear()
    noisy = script.predictions("Lorenz", "NG-RC", {"degree": 2, "denoise": True}, hidden, (4, 5))
    assert len(fits) == 3
    np.testing.assert_array_equal(fits[0], data["X3train"])
    np.testing.assert_array_equal(fits[1], data["X3train"][::-1])
    np.testing.assert_array_equal(fits[2], noisy[4])
    as_given = script.scores("Lorenz", "persistence", {}, data, (4,))["E5"]
    # forecasts begin where the training data end
    near = script.predictions("Lorenz", "NG-RC", {"degree": 4}, hidden, (1,))[1]
    np.testing.assert_allclose(near[:5], data["X1test"][:5], atol=0.2)
    assert script.scores("Lorenz", "NG-RC", {"degree": 3, "delays": 1, "denoise": True}, data, (4,))["E5"] > as_given


def test_files_of_the_framework_are_read(script, data, tmp_path):
    for name, x in data.items():
        folder = tmp_path / ("train" if "train" in name else "test")
        folder.mkdir(exist_ok=True)
        savemat(folder / f"{name}.mat", {"ytrain": x.T if name == "X3train" else x})
    found = script.load(tmp_path)
    assert set(found) == set(data)
    for name, x in data.items():
        np.testing.assert_array_equal(found[name], x)


def test_the_best_of_the_tuning_is_chosen(script):
    first, second = script.choices("Lorenz", "NG-RC", "clean")[:2]
    done = {}
    for seed, scores in ((77, (90.0, 80.0)), (78, (10.0, 70.0))):  # the second is better on the whole
        for choice in script.choices("Lorenz", "NG-RC", "clean"):
            value = dict(zip(map(json.dumps, (first, second)), scores)).get(json.dumps(choice), 1.0)
            row = {"E1": value, "E2": value, "seconds": 1e9}
            done["tune", "Lorenz", f"seed {seed}", "NG-RC", "clean", json.dumps(choice)] = row
    assert script.chosen(done, "Lorenz", "NG-RC", "clean") == second
    assert script.chosen(done, "Lorenz", "persistence", "clean") == {}
    assert script.chosen({}, "Lorenz", "LEM", "clean") == script.choices("Lorenz", "LEM", "clean")[0]
    with pytest.raises(SystemExit, match=r"Lorenz, NG-RC, noisy: .* run `tune Lorenz` first"):
        script.chosen(done, "Lorenz", "NG-RC", "noisy")
    for system, methods in script.MAKE.items():
        for method in list(methods)[2:]:
            assert all(len(script.choices(system, method, group)) for group in script.GROUPS)


def test_the_table(script, capsys, monkeypatch):
    monkeypatch.setattr(script, "limits", lambda *_: {"E2": 60.0})
    monkeypatch.setattr(script, "generate", lambda *_: {})
    rows = {"clean": {"E1": 50.0, "E2": 40.0}, "noisy": {f"E{k}": 10.0 for k in (3, 4, 5, 6)}}
    rows |= {
        "limited": {"E7": 1.0, "E8": 2.0},
        "limited, noisy": {"E9": 3.0, "E10": 4.0},
        "parametric": {"E11": 5.0, "E12": 95.0},
    }
    with script.LOG.open("w") as file:
        for method, more in (("NG-RC", 0.0), ("LEM", 0.01)):
            for group, row in rows.items():
                key = ["run", "Lorenz", "seed 0", method, group, json.dumps({"degree": 2})]
                row = {k: v + more for k, v in row.items()} | {"seconds": 1.5}
                file.write(
                    json.dumps([key, row | ({"failed": "of no use"} if (method, group) == ("NG-RC", "clean") else {})]) + "\n"
                )
    script.table(None)
    out = capsys.readouterr().out
    assert "| LEM | **50.0** | **40.0** |" in out
    assert "| NG-RC | 50.0 | 40.0 |" in out
    assert "| **20.0** | 8 |" in out  # (90 + 40 + 3 + 7 + 100) / 12
    assert "| *the equations, another start* |  | 60.0 |" in out
    assert '- NG-RC, clean: `{"degree": 2}`; no fit: of no use' in out
    assert '- LEM, limited: `{"degree": 2}`\n' in out
