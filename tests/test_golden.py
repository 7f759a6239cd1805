"""Models that the version before the redesign wrote, read by that of today: files stay readable, and say what they said."""

from pathlib import Path

import numpy as np
import pytest

import lemode
from lemode.report import audit_surrogate

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "expected.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("name", "cls"), [("surrogate", lemode.Surrogate), ("field", lemode.FieldSurrogate), ("readout", lemode.Surrogate)]
)
def test_a_model_of_the_last_version_says_what_it_said(name, cls, expected, tmp_path):
    model = lemode.Surrogate.load(GOLDEN / f"{name}.lem")
    assert type(model) is cls
    history, inputs = expected[f"{name}.history"], expected.get(f"{name}.inputs")
    model.save(tmp_path / "again.lem")
    for read in (model, cls.load(tmp_path / "again.lem")):
        for found, was in (
            (read.predict(history), expected[f"{name}.predict"]),
            (read.forecast(history, 20, inputs), expected[f"{name}.forecast"]),
        ):
            # another processor sums in another order: 1e-16 a step, which 20 steps of free run on a chaotic attractor make 1e-14
            np.testing.assert_allclose(found, was, rtol=0, atol=1e-11 * was.std())


def test_what_they_were_made_with_is_still_known():
    models = [lemode.Surrogate.load(GOLDEN / f"{name}.lem") for name in ("surrogate", "field", "readout")]
    params = [model.get_params() for model in models]
    assert (params[0]["inputs"], params[0]["stages"], params[0]["weights"]) == (("I",), ("one-step", "noise"), {"v": 2.0})
    assert (params[1]["kernel_size"], params[1]["symmetry"], params[2]["dt"]) == (5, "odd", 0.5)
    assert [model.history_.stopped for model in models] == ["all steps done", "all steps done", "ridge regression done"]
    assert [model.history_.stages[0]["name"] for model in models[:1]] == ["noise"]


@pytest.mark.slow
def test_one_with_inputs_and_delays_can_be_audited(expected):
    """Its core reads the inputs at both ends of a step."""
    model, history = lemode.Surrogate.load(GOLDEN / "surrogate.lem"), expected["surrogate.history"]
    assert audit_surrogate(model, history[..., :1], history[..., 1:]).holds
