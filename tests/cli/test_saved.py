"""`lemode audit` on a saved surrogate, with and without data; errors are one line and exit status 1; the version.

The scripts in examples/ are commands, too: they refuse options that they do not have.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lemode
from lemode.cli import main

ROOT = Path(__file__).parents[2]
T = np.linspace(0, 12, 61)
WAVES = np.stack([np.sin(T + p) for p in range(6)])[..., None]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.lem"
    model = lemode.Surrogate(hidden_size=4, steps=5, washout=5, dt=0.5, verbose=0, train="all")
    model.fit(lemode.Trajectories(T, WAVES, ("v",))).save(path)
    return path


def test_audit_without_data(model_file, capsys):
    assert main(["audit", str(model_file)]) == 0
    out = capsys.readouterr().out
    assert "statements hold." in out
    assert "no data given" in out


@pytest.mark.parametrize("kind", ["npy", "npz", "csv"])
def test_audit_on_data_writes_report_and_plot(model_file, tmp_path, kind, capsys):
    data = tmp_path / f"data.{kind}"
    if kind == "npy":
        np.save(data, WAVES)
    elif kind == "npz":
        np.savez(data, x=WAVES)
    else:
        np.savetxt(data, np.stack([T, WAVES[0, :, 0]], 1), delimiter=",", header="t,v", comments="")
    report, plot = tmp_path / "report.json", tmp_path / "flow.png"
    assert main(["audit", str(model_file), "--data", str(data), "--json", str(report), "--plot", str(plot)]) == 0
    assert "no data given" not in capsys.readouterr().out
    content = json.loads(report.read_text())
    assert content["holds"]
    assert len(content["rows"]) > 30
    assert plot.stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.npy", np.zeros((2, 5, 3)), "D = 1"),
        ("data.npy", np.full((1, 5, 1), np.nan), "nan in trajectory 0 at time index 0, variable 'v'"),
        ("data.npz", {"y": np.zeros(3)}, "no array 'x'"),
        ("data.npz", {"x": WAVES, "u": WAVES}, "reads 0 known inputs"),
        ("data.txt", None, "give a .npy, .npz or .csv"),
        ("missing.npy", None, "missing.npy"),
    ],
)
def test_bad_data_is_one_line_and_status_1(model_file, tmp_path, capsys, name, content, message):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        np.save(path, content)
    assert main(["audit", str(model_file), "--data", str(path)]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""


def test_no_model_and_no_command():
    assert main(["audit", "nowhere.lem"]) == 1
    with pytest.raises(SystemExit):
        main([])


def test_version_is_that_of_the_package_and_of_its_metadata(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"lemode {lemode.__version__}\n"
    assert re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1] == lemode.__version__
    assert f"\nversion: {lemode.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples_refuse_options_that_they_do_not_have(script):
    """Before anything is computed: the options are read first."""
    code = (ROOT / "examples" / script).read_text()
    head = code[: code.index("parse_args(")]
    assert "parse_known_args" not in code
    assert "lemode.systems." not in head
    assert ".fit(" not in head


@pytest.mark.slow
def test_an_example_with_a_misspelt_option_stops(tmp_path):
    script = ROOT / "examples" / "fitzhugh_nagumo.py"
    done = subprocess.run([sys.executable, script, "--qick"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "unrecognized arguments: --qick" in done.stderr


@pytest.mark.slow
def test_python_m_lemode():
    done = subprocess.run([sys.executable, "-m", "lemode", "audit", "--help"], capture_output=True, text=True, check=True)
    assert "every statement" in done.stdout.replace("\n", " ").lower()
