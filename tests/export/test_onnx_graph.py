"""A surrogate in ONNX: onnxruntime says what Python says, to 1e-6 of the size of a variable, and in float64 to 1e-12.

In float32 a sum of 20 numbers of size one is right to 20 * 6e-8; ten steps that do not amplify it stay below 1e-6 of the data's size, whose
increments are a tenth of them.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_c_source import MODELS, U, X, columns, data_of, fitted

import lemode
from lemode import export

pytest.importorskip("onnx", reason="no onnx: pip install 'lemode[onnx]'")
runtime = pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install 'lemode[onnx]'")

KINDS = [kind for kind in MODELS if kind != "angles"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    found = {}
    for kind in KINDS:
        model, folder = MODELS[kind](), tmp_path_factory.mktemp("onnx")
        found[kind] = model, {path.stem: session(path) for path in export.onnx(model, folder)}
    return found


def session(path):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def tolerance(model, x):
    return (1e-6 if "float32" in str(model.network_.mean.dtype) else 1e-12) * np.nanmax(np.abs(x))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecast_is_that_of_python(exported, kind):
    """Of several series at a time, one of which has missing values."""
    model, sessions = exported[kind]
    table, steps = data_of(model), 10
    both = np.stack([table[:100], table[10:110]])
    both[1, 40, list(model.table_.columns).index(model.names_[1])] = np.nan
    x, u = zip(*(columns(model, series) for series in both))
    asked = {"history": np.stack(x, 1), "steps": np.array(steps)}
    ahead = np.stack([U[100 : 100 + steps], U[:steps]])
    if model.input_names_:
        asked |= {"history_inputs": np.stack(u, 1), "inputs": ahead.swapaxes(0, 1)}
    dtype = str(model.network_.mean.dtype).removeprefix("torch.")
    asked = {name: value if name == "steps" else value.astype(dtype) for name, value in asked.items()}
    (found,) = sessions["forecast"].run(None, asked)
    data = lemode.Trajectories(model.step_ * np.arange(100.0), both, model.table_.columns, missing=True)
    wanted = model.forecast(data, steps, inputs=ahead if model.input_names_ else None)
    np.testing.assert_allclose(found.swapaxes(0, 1), wanted, rtol=0, atol=tolerance(model, both))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_along_a_series_are_the_predictions_of_python(exported, kind):
    model, sessions = exported[kind]
    table = data_of(model)[:30].copy()
    table[[0, 17], list(model.table_.columns).index(model.names_[0])] = np.nan
    x, u = columns(model, table)
    dtype = (
        sessions["step"].get_inputs()[0].type.removeprefix("tensor(").replace("float)", "float32").replace("double)", "float64")
    )
    state, found = np.full((1, sessions["step"].get_inputs()[0].shape[1]), np.nan, dtype), []
    for k in range(len(x) - 1):
        known = {} if u is None else {"u": u[k : k + 1].astype(dtype), "u_next": u[k + 1 : k + 2].astype(dtype)}
        state, after = sessions["step"].run(None, {"x": x[k : k + 1].astype(dtype), "state": state, **known})
        found.append(after[0])
    data = lemode.Trajectories(model.step_ * np.arange(30.0), table, model.table_.columns, missing=True)
    np.testing.assert_allclose(np.stack(found), model.predict(data)[0, :-1], rtol=0, atol=tolerance(model, table))


def test_a_run_that_is_contained_is_so(exported):
    """The bounds of the training data, far in the free run."""
    model, sessions = exported["contained"]
    (found,) = sessions["forecast"].run(None, {"history": X[:60, None], "steps": np.array(400)})
    bound = model.network_.denormalise(model.network_.upper).numpy()
    assert (found <= bound + 1e-12 * np.abs(bound)).all()
    np.testing.assert_allclose(found[:, 0], model.forecast(X[:60], 400), rtol=0, atol=1e-10)


def test_names_and_interval_are_in_the_metadata(exported):
    model, sessions = exported["16 units, two layers, inputs, delays"]
    said = {key: json.loads(value) for key, value in sessions["step"].get_modelmeta().custom_metadata_map.items()}
    assert said == {"names": ["x0", "x1"], "inputs": ["x2"], "interval": 1.0, "clock": "", "warmup": model.warmup_}


def test_without_onnx_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'lemode\[onnx\]'"):
        export.onnx(fitted(), tmp_path)


def test_code_of_the_page_on_deployment_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    model = fitted()
    export.onnx(model, "out")
    np.savetxt("history.csv", X[:50], delimiter=",", header="a,b", comments="", fmt="%.17g")
    scope = {}
    for code in re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(), re.S):
        if "import TimeSeries" not in code:  # tests/contracts/test_darts.py runs that where darts is
            exec(code, scope)
    np.testing.assert_allclose(scope["ahead"][:, 0], model.forecast(X[:50], 24), atol=1e-10, rtol=0)
    np.testing.assert_allclose(scope["predicted"], model.forecast(X[:50], 1), atol=1e-10, rtol=0)
