"""`lemode report`: one page, nothing loaded from elsewhere, with what the model and the data allow."""

import re
from unittest.mock import Mock

import numpy as np
import pytest

import lemode
from lemode.cli import main


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "fhn.lem"
    data = lemode.systems.FitzHughNagumo().trajectories(8, np.arange(0, 60, 0.4), seed=0)
    lemode.Surrogate(hidden_size=4, observe=["v"], steps=20, window=60, washout=20, verbose=0, train="all").fit(data).save(path)
    return path


def page_of(arguments, path, capsys):
    assert main(["report", *map(str, arguments)]) == 0
    assert str(path) in capsys.readouterr().out
    text = path.read_text()
    assert not re.search(r"(src|href)=['\"]?(http|file|/)", text)
    assert text.count("<h2>") == len(set(re.findall(r"<h2>(.*?)</h2>", text)))
    assert not re.search(r"&lt;/?[a-z]", text), "a tag was escaped"
    return text


@pytest.mark.study
def test_with_a_system(model_file, tmp_path, capsys):
    text = page_of([model_file, "--system", "fitzhugh-nagumo", "--out", tmp_path / "r.html"], tmp_path / "r.html", capsys)
    for heading in ("Training", "One step ahead and running free", "Time scales", "Audit", "Stability", "Settings"):
        assert f"<h2>{heading}</h2>" in text
    assert text.count("data:image/png;base64,") >= 7
    assert "8 series of 1,000 samples of FitzHughNagumo" in text
    assert "statements hold" in text
    assert re.search(
        r"<strong>No unit has the time scale of .*\(62\.5\)", text
    )  # 1 / (eps b) of w: after 20 steps no gate is so slow
    assert "distance of the power spectra" in text


def test_without_data_leaves_out_what_needs_them(model_file, capsys):
    text = page_of([model_file], model_file.with_suffix(".html"), capsys)
    assert "white noise" in text
    assert "running free" not in text


@pytest.mark.slow
def test_with_a_file(model_file, tmp_path, capsys):
    t = np.arange(0, 60, 0.4)
    np.savez(tmp_path / "data.npz", x=lemode.systems.FitzHughNagumo().trajectories(2, t, seed=3).x[..., :1])
    text = page_of([model_file, "--data", tmp_path / "data.npz", "--out", tmp_path / "d.html"], tmp_path / "d.html", capsys)
    assert "data.npz" in text


@pytest.mark.slow
def test_with_a_few_samples(model_file, tmp_path, capsys):
    np.save(tmp_path / "few.npy", lemode.systems.FitzHughNagumo().trajectories(2, 0.4 * np.arange(6), seed=3).x[..., :1])
    text = page_of([model_file, "--data", tmp_path / "few.npy", "--out", tmp_path / "few.html"], tmp_path / "few.html", capsys)
    assert "too short for a free run" in text
    assert "over 5 samples" in text


@pytest.mark.filterwarnings("ignore:free runs leave the attractor")
@pytest.mark.parametrize(
    "conserve", [pytest.param(None, marks=pytest.mark.study), pytest.param("mean", marks=pytest.mark.slow)]
)
def test_of_a_field_is_about_what_each_point_runs(conserve, tmp_path, capsys):
    x = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    waves = np.sin(x - 0.1 * np.arange(120)[:, None] + np.arange(5)[:, None, None])
    model = lemode.FieldSurrogate(hidden_size=2, kernel_size=5, conserve=conserve, steps=10, verbose=0).fit(waves)
    model.save(tmp_path / "field.lem")
    np.save(tmp_path / "waves.npy", waves[:2])
    arguments = [tmp_path / "field.lem", "--data", tmp_path / "waves.npy", "--out", tmp_path / "f.html"]
    text = page_of(arguments, tmp_path / "f.html", capsys)
    assert "x0, x1, x2, ..., x15" in text
    assert f"{model.history_.free_power:.3g} times the power" in text
    assert ("difference between neighbours" in text) == (conserve == "mean")
    assert "VIOLATED" not in text
    assert main(["audit", str(tmp_path / "field.lem")]) == 0  # on white noise


@pytest.mark.study
@pytest.mark.filterwarnings("ignore:free runs leave the attractor")
def test_of_a_field_of_two_quantities_shows_both(tmp_path, capsys, monkeypatch):
    """The first point of either instead of three points of one, and a map of space and time of each."""
    shown = {name: Mock(wraps=getattr(lemode.plots, name)) for name in ("forecast", "spacetime")}
    for name, watched in shown.items():
        monkeypatch.setattr(lemode.plots, name, watched)
    x = np.linspace(0, 2 * np.pi, 8, endpoint=False) - 0.1 * np.arange(120)[:, None] + np.arange(5)[:, None, None]
    waves = np.concatenate([np.sin(x), 100 * np.cos(x)], -1)
    model = lemode.FieldSurrogate(hidden_size=2, kernel_size=5, channels=2, steps=10, verbose=0).fit(waves)
    model.save(tmp_path / "two.lem")
    np.save(tmp_path / "waves.npy", waves[:1])
    text = page_of(
        [tmp_path / "two.lem", "--data", tmp_path / "waves.npy", "--out", tmp_path / "two.html"], tmp_path / "two.html", capsys
    )
    assert [call.args[4] for call in shown["forecast"].call_args_list] == ["x0", "x8"]
    for call, part in zip(shown["spacetime"].call_args_list, (waves[0, 24:, :8], waves[0, 24:, 8:]), strict=True):
        np.testing.assert_array_equal(call.args[1], part)
    assert "VIOLATED" not in text


@pytest.mark.slow
def test_of_a_continuous_model_is_about_the_step_it_came_from(tmp_path, capsys):
    t = np.linspace(0, 20, 201)
    circle = np.stack([np.sin(t), np.cos(t)], -1)
    lemode.Surrogate(hidden_size=2, steps=10, window=40, washout=10, continuous=True, verbose=0, train="all").fit(circle).save(
        tmp_path / "c.lem"
    )
    np.save(tmp_path / "circle.npy", circle)
    arguments = [tmp_path / "c.lem", "--data", tmp_path / "circle.npy", "--out", tmp_path / "c.html"]
    assert "VIOLATED" not in page_of(arguments, tmp_path / "c.html", capsys)


def test_errors_are_one_line(model_file, tmp_path, capsys):
    assert main(["report", str(model_file), "--system", "lorenz63", "--out", str(tmp_path / "x.html")]) == 1
    assert "choose from" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


@pytest.mark.slow
def test_titles_are_escaped(model_file, tmp_path):
    from lemode.report import write_report

    write_report(lemode.Surrogate.load(model_file), tmp_path / "t.html", title="<b>&")
    assert "&lt;b&gt;&amp;" in (tmp_path / "t.html").read_text()
