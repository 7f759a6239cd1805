"""Trajectories keep what they are given, and name what is wrong with it."""

import numpy as np
import pytest

from lemode import Trajectories


class TestTrajectories:
    def test_keeps_types_and_selects(self):
        data = Trajectories(np.arange(4), np.zeros((2, 4, 3), np.float32), ("a", "b", "c"))
        assert data.x.dtype == np.float32
        assert data.select(["c", "a"]).names == ("c", "a")
        assert len(data[1:]) == 1
        assert len(data[-1]) == 1
        assert [len(one) for one in data] == [1, 1]
        assert data.step == 1.0

    @pytest.mark.parametrize(
        ("t", "x", "names", "message"),
        [
            ([0, 1], np.zeros((0, 2, 1)), (), "no data"),
            ([0, 1], np.zeros(2), (), r"shape \(2,\)"),
            ([0, 1, 2], np.zeros((1, 2, 1)), (), r"t has shape \(3,\)"),
            ([0, 0], np.zeros((1, 2, 1)), (), "increasing"),
            ([0, 1], np.zeros((1, 2, 2)), ("a", "a"), "different names"),
            ([0, 1], np.array([[["a"], ["b"]]]), (), "real numbers"),
            ([0, 1], np.zeros((1, 2, 1), complex), (), "real numbers"),
            (
                [0, 1],
                np.array([[[0.0], [1.0]], [[0.0], [np.nan]]]),
                ("v",),
                r"nan in trajectory 1 at time index 1, variable 'v'",
            ),
            ([0, 1], np.array([[[np.inf], [1.0]]]), (), r"inf in trajectory 0 at time index 0"),
        ],
    )
    def test_bad_data(self, t, x, names, message):
        with pytest.raises(ValueError, match=message):
            Trajectories(np.array(t), x, names)

    def test_uneven_times_have_no_step(self):
        with pytest.raises(ValueError, match="not evenly spaced"):
            _ = Trajectories(np.array([0.0, 1.0, 3.0]), np.zeros((1, 3, 1))).step
        with pytest.raises(ValueError, match=r"\['z'\]: choose from x0"):
            Trajectories(np.arange(2), np.zeros((1, 2, 1))).select(["z"])
