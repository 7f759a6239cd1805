"""CSV files as programs write them: read as what they mean, or refused by line and column."""

import sys

import numpy as np
import pandas as pd
import pytest

from lemode import Surrogate
from lemode.report.csv_file import read_csv
from lemode.report.model import read_series

TABLE = "day,w,v\n2026-01-01,1,0.5\n2026-01-02,2,1.5\n2026-01-03,3,2.5\n"
WANTED = np.array([[0.5, 1], [1.5, 2], [2.5, 3]])

SAME = {
    "plain": TABLE,
    "a byte order mark": "\ufeff" + TABLE,
    "semicolons": TABLE.replace(",", ";"),
    "tabs": TABLE.replace(",", "\t"),
    "quotes": TABLE.replace("day", '"day"').replace("2026-01-01", '"2026-01-01"').replace("0.5", '"0.5"'),
    "Windows": TABLE.replace("\n", "\r\n"),
    "blanks": TABLE.replace(",", ", ") + "\n",
    "names with commas": 'day,"w, of the north",w,v\n2026-01-01,9,1,0.5\n2026-01-02,9,2,1.5\n2026-01-03,,3,2.5\n',
    "lines in quotes": 'day,note,w,v\n2026-01-01,"a\nb",1,0.5\n2026-01-02,,2,1.5\n2026-01-03,,3,2.5\n',
    "text beside": TABLE.replace("\n", ",north\n").replace("v,north", "v,site"),
    "times of the day": TABLE.replace("-01,", "-01T00:00:00,"),
}


def written(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("pandas", [True, False])
def test_is_read(kind, pandas, tmp_path, monkeypatch):
    if not pandas:
        monkeypatch.setitem(sys.modules, "pandas", None)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = read_csv(written(tmp_path, SAME[kind]), ["v", "w"])
    if pandas:
        np.testing.assert_array_equal(found.to_numpy(), WANTED)
        assert found.index.tolist() == pd.date_range("2026-01-01", periods=3).tolist()
    else:
        np.testing.assert_array_equal(found.x[0], WANTED)
        np.testing.assert_array_equal(found.t, 86400.0 * np.arange(3))


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "null"])
def test_empty_cells_are_missing(cell, tmp_path):
    found = read_csv(written(tmp_path, TABLE.replace("1.5", cell)), ["v"])
    np.testing.assert_array_equal(found["v"], [0.5, np.nan, 2.5])


def test_times_and_none(tmp_path):
    assert read_csv(written(tmp_path, "t,v\n0,1\n0.5,2\n"), ["v"]).step == 0.5
    assert read_csv(written(tmp_path, "v\n1\n2\n"), ["v"]).step == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            TABLE.replace("1.5", "1,5").replace(",", ";").replace("1;5", "1,5"),
            "line 3, column 'v' holds '1,5'.*write numbers with a point",
        ),
        (TABLE.replace("1.5", "broken"), "line 3, column 'v' holds 'broken', which is no number: leave the cell empty"),
        (TABLE.replace("2026-01-02", "2.1.2026"), "line 3, column 'day' holds '2.1.2026': write all dates as 2026-01-31"),
        (TABLE.replace(",1.5", ""), "line 3 has 2 cells, the header 3: quote"),
        (TABLE.replace("v", "u"), r"variables \['v'\]: choose from day, w, u"),
        ("w,v\n", "has 1 lines: give a header"),
    ],
)
def test_is_refused_by_line_and_column(text, sentence, tmp_path):
    with pytest.raises(ValueError, match=r"table\.csv: .*" + sentence):
        read_csv(written(tmp_path, text), ["v", "w"])


def test_is_compared_with_the_training_data(tmp_path):
    """Inputs by name, another interval, gaps."""
    days = pd.date_range("2026-01-01", periods=60)
    frame = pd.DataFrame({"I": np.cos(np.arange(60.0)), "v": np.sin(np.arange(60.0))}, days)
    settings = {"hidden_size": 2, "steps": 2, "window": 20, "washout": 5, "verbose": 0}
    model = Surrogate(inputs="I", train="all", **settings).fit(frame)
    path = tmp_path / "table.csv"
    frame[["v", "I"]].to_csv(path)
    x, u = read_series(path, model.names_, model.input_names_, model.table_)
    np.testing.assert_array_equal(x[0, :, 0], frame["v"])
    np.testing.assert_array_equal(u[0, :, 0], frame["I"])
    for bad, sentence in (
        (
            frame.set_axis(pd.date_range("2026-01-01", periods=60, freq="2h")),
            "sampled every 7200, the training data every 86400",
        ),
        (frame.drop(index=days[30]), "uneven"),
        (frame.assign(v=frame["v"].where(frame["v"] < 0.99)), "no value in trajectory 0 at time index .*, variable 'v'"),
    ):
        bad.to_csv(path)
        with pytest.raises(ValueError, match=r"table\.csv: .*" + sentence):
            read_series(path, model.names_, model.input_names_, model.table_)
