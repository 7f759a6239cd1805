"""Calibration series are new to the members: what is held out of X is in one part alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from lemode import Trajectories
from lemode.surrogate.ensemble_split import hold_out_calibration

X = np.arange(10 * 50 * 2.0).reshape(10, 50, 2)
FRAME = pd.DataFrame(X[0], pd.date_range("2026-01-01", periods=50), ["v", "w"])


@pytest.mark.parametrize(
    "data",
    [
        X,
        Trajectories(np.arange(50.0), X),
        list(X),
        torch.tensor(X),
        [FRAME] * 10,
        X[:5],
        Trajectories.ragged([(np.arange(40.0 + i), X[0, : 40 + i]) for i in range(6)]),
    ],
)
def test_of_several_series_every_fifth(data):
    rest, fresh, begin = hold_out_calibration(data)
    n = len(data)
    assert (len(rest), len(fresh), begin) == (n - n // 5, n // 5, 0)
    first, held = (
        np.asarray(part[0] if isinstance(part, list) else part[:1].x if isinstance(part, Trajectories) else part[0])
        for part in (rest, fresh)
    )
    whole = [np.asarray(s) for s in data] if not isinstance(data, Trajectories) else [data[i : i + 1].x for i in range(n)]
    np.testing.assert_array_equal(first, whole[0])
    np.testing.assert_array_equal(held, whole[4])


@pytest.mark.parametrize(
    "data", [X[0], X[0, :, 0], X[:3], Trajectories(np.arange(50.0), X[:3]), FRAME, FRAME["v"], X[0].tolist()]
)
def test_of_few_the_last_fifth_of_the_time(data):
    rest, fresh, begin = hold_out_calibration(data)
    samples = 50
    shape = np.shape(rest.x if isinstance(rest, Trajectories) else rest)
    assert begin == 40
    assert 40 in shape
    assert samples in np.shape(fresh.x if isinstance(fresh, Trajectories) else fresh)


@pytest.mark.parametrize(
    "data",
    [
        Trajectories.ragged([(np.arange(40.0 + i), X[0, : 40 + i]) for i in range(3)]),
        FRAME.groupby(np.arange(50) // 10),
        pd.concat({"a": FRAME, "b": FRAME}),
        "station.csv",
    ],
    ids=["ragged", "groups", "levels", "name"],
)
def test_what_cannot_be_cut_is_asked_for(data):
    with pytest.raises(ValueError, match=r"calibration.*fit\(X, calibration=|data are"):
        hold_out_calibration(data)
