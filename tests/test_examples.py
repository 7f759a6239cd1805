"""Examples run, and show what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPT = EXAMPLES / "gradient_bounds.py"
TABLE = EXAMPLES / "your_own_table.py"


@pytest.mark.study
def test_quick_run_shows_bounds_and_counterexamples():
    done = subprocess.run([sys.executable, str(SCRIPT), "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    sharp = [float(line.split()[-1]) for line in lines if re.match(r"  b[yz]  ", line)]
    assert len(sharp) == 2
    assert min(sharp) > 0.99  # gradient over G_rec at the optimised input


def test_a_table_of_your_own_takes_less_than_25_lines():
    yours = TABLE.read_text().split("# your code begins\n")[1].split("# your code ends")[0]
    assert len([line for line in yours.splitlines() if line.strip()]) < 25


@pytest.mark.study
def test_a_table_of_your_own(tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", str(TABLE), "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model, last, band = (float(number) for number in re.findall(r":\s+([\d.]+)", done.stdout))
    # the noise of the made-up houses, whose spread around the forced temperature is 0.15 / sqrt(1 - 0.9^2) = 0.34; here it is 0.35
    assert model < 0.5 < 2 < last
    assert 80 <= band <= 98  # of 96 hours, which are not independent
    assert (tmp_path / "forecast.png").stat().st_size > 10_000


@pytest.mark.study
def test_adding_problem(tmp_path):
    script, small = (
        EXAMPLES / "adding_problem.py",
        ["--length", "30", "--units", "16", "--steps", "400", "--out", str(tmp_path)],
    )
    done = subprocess.run([sys.executable, "-W", "error", str(script), *small], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lem = float(re.search(r"LEM +test error (\S+)", done.stdout)[1])
    assert lem < 0.02  # who says 1 has 0.167; here it is 0.004
    assert (tmp_path / "adding.png").stat().st_size > 10_000


@pytest.mark.study
def test_series_classification(tmp_path):
    script = EXAMPLES / "series_classification.py"
    done = subprocess.run([sys.executable, "-W", "error", str(script), "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"test series: (\d+)%", done.stdout)[1]) > 85  # here it is 97; who always says "sound" has 50
    assert (tmp_path / "along.png").stat().st_size > 10_000


@pytest.mark.slow
def test_certified_forecast(tmp_path):
    script = EXAMPLES / "certified_forecast.py"
    given = ["--steps", "300", "--quiet", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-W", "error", str(script), *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [[int(x) for x in line.split()] for line in done.stdout.splitlines() if re.fullmatch(r"( +\d+){3}", line)]
    assert len(rows) == 8
    assert all(0 < certified <= kept for _, certified, kept in rows)
    assert "If no one-step error of v exceeds" in done.stdout
    assert (tmp_path / "certified_forecast.png").stat().st_size > 10_000
