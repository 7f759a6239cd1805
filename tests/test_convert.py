"""Weights of others as a LEM and back: against transcriptions of their equations, with states, batch and sizes that tell blocks apart."""

import re
import warnings

import numpy as np
import pytest
import torch
from transcription import lem_step, random_parameters

import lemode
from lemode import convert

D, M, N, L, DT = 5, 3, 4, 6, 0.7
PARTS = {"inp2hid": (4 * D, M), "hid2hid": (3 * D, D), "transform_z": (D, D)}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def drawn(rng, shapes):
    return {key: torch.from_numpy(rng.standard_normal(shape)) for key, shape in shapes.items()}


def modules(rng, prefix=""):
    weights = drawn(rng, {f"{prefix}{k}.weight": shape for k, shape in PARTS.items()})
    return weights | drawn(rng, {f"{prefix}{k}.bias": shape[:1] for k, shape in PARTS.items()})


def cuda(rng, prefix=""):
    shapes = {"weights": (3 * D, D + M), "weights_lin_z": (D, D + M), "bias": (3 * D,), "bias_lin_z": (D,)}
    return drawn(rng, {prefix + k: shape for k, shape in shapes.items()})


def step_of_modules(s, y, z, u):
    """One step of their cell, in its order: y-gate, z-gate, y-candidate, z-candidate."""
    s = {k: v.numpy() for k, v in s.items()}
    a = np.split(u @ s["inp2hid.weight"].T + s["inp2hid.bias"], 4, 1)
    h = np.split(y @ s["hid2hid.weight"].T + s["hid2hid.bias"], 3, 1)
    gy, gz = DT * sigmoid(a[0] + h[0]), DT * sigmoid(a[1] + h[1])
    z = (1 - gz) * z + gz * np.tanh(a[3] + h[2])
    y = (1 - gy) * y + gy * np.tanh(z @ s["transform_z.weight"].T + s["transform_z.bias"] + a[2])
    return y, z


def step_of_cuda(s, y, z, u):
    """One step of their extension: (y, u) before (z, u), and z-gate, z-candidate, y-gate."""
    s = {k: v.numpy() for k, v in s.items()}
    zg, zc, yg = np.split(np.concatenate([y, u], 1) @ s["weights"].T + s["bias"], 3, 1)
    z = z + DT * sigmoid(zg) * (np.tanh(zc) - z)
    yc = np.concatenate([z, u], 1) @ s["weights_lin_z"].T + s["bias_lin_z"]
    return y + DT * sigmoid(yg) * (np.tanh(yc) - y), z


def along(step, s, u, y, z):
    ys = []
    for n in range(len(u)):
        y, z = step(s, y, z, u[n])
        ys.append(y)
    return np.stack(ys), y, z


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def data(rng):
    """Nonzero states; batch, hidden and input size all differ."""
    return rng.standard_normal((L, N, M)), rng.uniform(-1, 1, (N, D)), rng.uniform(-1, 1, (N, D))


CASES = {"modules": (modules, step_of_modules), "cuda": (cuda, step_of_cuda)}


def same(rnn, u, y, z, expected):
    output, (y_n, z_n) = rnn(*(torch.from_numpy(u),), (torch.from_numpy(y)[None], torch.from_numpy(z)[None]))
    for found, wanted in zip((output, y_n[0], z_n[0]), expected, strict=True):
        # rounding of sums of some ten numbers of size one, over six steps
        assert np.abs(found.detach().numpy() - wanted).max() < 1e-12


@pytest.mark.parametrize("layout", CASES)
def test_weights_of_the_authors_compute_what_theirs_do(layout, rng, data):
    make, step = CASES[layout]
    s = make(rng)
    rnn = convert.from_authors(s, dt=DT)
    assert (rnn.input_size, rnn.hidden_size, rnn.dt, rnn.cells[0].scheme.name) == (M, D, DT, "imex")
    same(rnn, *data, along(step, s, *data))


@pytest.mark.parametrize("layout", CASES)
def test_weights_of_a_lem_compute_the_same_as_theirs(layout, data):
    rnn = lemode.LEM(M, D, dt=DT, dtype=torch.float64)
    written = convert.to_authors(rnn, layout)
    same(rnn, *data, along(CASES[layout][1], written, *data))
    again = convert.from_authors(written, dt=DT)
    assert all(torch.equal(a, b) for a, b in zip(rnn.parameters(), again.parameters(), strict=True))
    for tensor in written.values():
        tensor.zero_()  # a copy
    assert all(torch.equal(a, b) for a, b in zip(rnn.parameters(), again.parameters(), strict=True))


def test_from_one_layout_to_the_other(rng, data):
    s = modules(rng)
    there = convert.to_authors(convert.from_authors(s, dt=DT), "cuda")
    found, wanted = along(step_of_cuda, there, *data), along(step_of_modules, s, *data)
    assert all(np.abs(a - b).max() < 1e-12 for a, b in zip(found, wanted))  # as above


def test_what_is_loaded_is_a_copy_with_its_dtype(rng):
    s = {k: v.float() for k, v in modules(rng).items()}
    rnn = convert.from_authors(s, batch_first=True)
    assert {p.dtype for p in rnn.parameters()} == {torch.float32}
    assert rnn.batch_first
    assert all(p.requires_grad for p in rnn.parameters())
    before = rnn.cells[0].ode.weight_zy.detach().clone()
    s["transform_z.weight"].zero_()
    assert torch.equal(rnn.cells[0].ode.weight_zy, before)


def test_a_network_without_bias_is_written_with_zeros(data):
    rnn = lemode.LEM(M, D, bias=False, dt=DT, dtype=torch.float64)
    same(rnn, *data, along(step_of_modules, convert.to_authors(rnn), *data))


RECURRENT = {"weight_ih": (4 * D, M), "weight_hh": (3 * D, D), "weight_ch": (D, D)}


class TestTorchrecurrent:
    def test_computes_what_theirs_does_from_the_old_z(self, data):
        p = random_parameters(np.random.default_rng(0), D, M)
        s = {
            "weight_ih": np.concatenate([p["V2"], p["V1"], p["Vz"], p["Vy"]]),
            "weight_hh": np.concatenate([p["W2"], p["W1"], p["Wz"]]),
            "weight_ch": p["Wy"],
            "bias_ih": np.concatenate([p["b2"], p["b1"], p["bz"], p["by"]]),
            "bias_hh": np.zeros(3 * D),
            "bias_ch": np.zeros(D),
        }
        rnn = convert.from_torchrecurrent({k: torch.from_numpy(v) for k, v in s.items()}, dt=DT)

        def step(p, y, z, u):
            rows = [lem_step(p, *row, DT, old_z=True) for row in zip(y, z, u, strict=True)]
            return tuple(np.stack(x) for x in zip(*rows, strict=True))

        same(rnn, *data, along(step, p, *data))
        written = convert.to_torchrecurrent(rnn)
        assert all(torch.equal(written[f"cells.0.{k}"], torch.from_numpy(v)) for k, v in s.items())

    @pytest.mark.parametrize("layers", [1, 2, 11])
    def test_is_what_the_package_computes(self, layers, data):
        package = pytest.importorskip("torchrecurrent")
        theirs = package.LEM(M, D, num_layers=layers, dt=DT, dtype=torch.float64)
        for p in theirs.parameters():
            torch.nn.init.normal_(p)
        ours = convert.from_torchrecurrent(theirs.state_dict(), dt=DT)
        u, y, z = (torch.from_numpy(x) for x in data)
        state = tuple(s.expand(layers, N, D) / (1 + torch.arange(layers)).view(-1, 1, 1) for s in (y, z))
        wanted, found = theirs(u, state), ours(u, state)
        for a, b in ((wanted[0], found[0]), (wanted[1][0], found[1][0]), (wanted[1][1], found[1][1])):
            assert (a - b).abs().max() < 1e-12  # rounding, over some layers
        theirs.load_state_dict(convert.to_torchrecurrent(ours))
        assert (theirs(u, state)[0] - wanted[0]).abs().max() < 1e-12

    def test_layers_in_the_order_of_their_numbers(self, rng):
        """2 before 10, in a file that lists them otherwise."""
        s = {}
        for k in (10, *range(10)):
            m = M if k == 0 else D
            shapes = RECURRENT | {"weight_ih": (4 * D, m), "bias_ih": (4 * D,), "bias_hh": (3 * D,), "bias_ch": (D,)}
            s |= {f"rnn.cells.{k}.{key}": torch.full(shape, float(k)) for key, shape in shapes.items()}
        rnn = convert.from_torchrecurrent(s)
        assert [cell.ode.weight_zy[0, 0].item() for cell in rnn.cells] == list(range(11))

    def test_is_not_taken_for_the_authors(self, rng):
        s = {f"cells.0.{k}": v for k, v in drawn(rng, RECURRENT).items()}
        with pytest.raises(ValueError, match=r"'cells\.0\.weight_ch' is of torchrecurrent's LEM.*from_torchrecurrent"):
            convert.from_authors(s)
        with pytest.raises(ValueError, match=r"'transform_z\.weight' is of the authors' LEM.*from_authors"):
            convert.from_torchrecurrent(modules(rng))
        with pytest.raises(ValueError, match=r"has no 'cells\.0\.bias_ih', which torchrecurrent's LEM has"):
            convert.from_torchrecurrent(s)


@pytest.mark.parametrize("layout", CASES)
@pytest.mark.parametrize("start", ["cell.", "module.rnn."])
def test_a_classifier_is_left_aside_and_named(layout, start, rng, data):
    make, step = CASES[layout]
    s = make(rng, start) | {"classifier.weight": torch.zeros(2, D), "classifier.bias": torch.zeros(2)}
    with pytest.warns(UserWarning, match=rf"classifier\.weight, classifier\.bias are no part.*prefix='{start}'") as caught:
        rnn = convert.from_authors(s, dt=DT)
    assert caught[0].filename == __file__
    plain = {k.removeprefix(start): v for k, v in s.items() if k.startswith(start)}
    same(rnn, *data, along(step, plain, *data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert.from_authors(s, start)
        convert.from_authors(plain)
    with pytest.warns(UserWarning, match=r"head\.bias is no part of the LEM and left aside\."):
        convert.from_authors(plain | {"head.bias": torch.zeros(2)})


def changed(**changes):
    s = modules(np.random.default_rng(0))
    for key, value in changes.items():
        key = key.replace("__", ".")
        if value is None:
            del s[key]
        else:
            s[key] = value
    return s


TENSOR = torch.zeros
REFUSED = {
    "a missing key": (changed(hid2hid__bias=None), r"has no 'hid2hid\.bias', which the authors' PyTorch LEM has: give the whole"),
    "rows": (changed(inp2hid__weight=TENSOR(3 * D, M)), r"'inp2hid\.weight' has shape \(15, 3\).*\(4d, m\) = \(20, 3\)"),
    "a vector": (changed(inp2hid__weight=TENSOR(4 * D)), r"'inp2hid\.weight' has shape \(20,\).*\(4d, m\)"),
    "of another model": (changed(hid2hid__weight=TENSOR(3 * D, D + 1)), r"'hid2hid\.weight' has shape \(15, 6\).*\(3d, d\) = \(15, 5\)"),
    "a bias": (changed(transform_z__bias=TENSOR(D + 1)), r"'transform_z\.bias' has shape \(6,\).*\(d\) = \(5,\)"),
    "no columns": (changed(inp2hid__weight=TENSOR(4 * D, 0)), r"'inp2hid\.weight' has shape \(20, 0\)"),
    "integers": (changed(hid2hid__bias=torch.zeros(3 * D, dtype=torch.int64)), r"'hid2hid\.bias' is torch\.int64, 'inp2hid\.weight' torch\.float64"),
    "two dtypes": (changed(hid2hid__bias=torch.zeros(3 * D)), r"'hid2hid\.bias' is torch\.float32"),
    "extension of no inputs": (
        {"weights": TENSOR(15, 5), "weights_lin_z": TENSOR(5, 5), "bias": TENSOR(15), "bias_lin_z": TENSOR(5)}, r"'weights' has shape \(15, 5\)",
    ),
    "nothing": ({}, r"has no 'transform_z\.weight'.*or 'weights_lin_z'.*its keys are none: give"),
    "something else": ({"conv.weight": TENSOR(3)}, r"its keys are conv\.weight: give the state_dict"),
    "two cells": ({"a.weights_lin_z": TENSOR(1), "b.weights_lin_z": TENSOR(1)}, r"has 2 cells, 'a\.' and 'b\.': give prefix="),
    "our own": (lemode.LEM(M, D).state_dict(), r"'cells\.0\.ode\.weight_zy' is of lemode's own layer: use lemode\.LEM\(\.\.\.\)\.load_state_dict"),
    "LSTM": (torch.nn.LSTM(M, D).state_dict(), r"'weight_hh_l0' of shape \(20, 5\) is of a torch\.nn\.LSTM.*within \[-1, 1\].*train it"),
    "GRU": (torch.nn.Sequential(torch.nn.GRU(M, D)).state_dict(), r"'0\.weight_hh_l0' of shape \(15, 5\) is of a torch\.nn\.GRU"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_theirs_is_refused_in_a_sentence(name):
    state_dict, words = REFUSED[name]
    with pytest.raises(ValueError, match=words) as refused:
        convert.from_authors(state_dict)
    assert str(refused.value).endswith(".")


def test_more_refusals(rng):
    with pytest.raises(ValueError, match=r"has 'cell\.extra', which the authors' PyTorch LEM does not have"):
        convert.from_authors(modules(rng, "cell.") | {"cell.extra": TENSOR(1)}, "cell.")
    with pytest.raises(ValueError, match=r"under prefix='rnn\.', its keys are cell\.inp2hid\.weight"):
        convert.from_authors(modules(rng, "cell."), "rnn.")
    with pytest.raises(TypeError, match=r"state_dict is a Linear: give its state_dict\(\)"):
        convert.from_authors(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"state_dict\['model'\] is a dict itself"):
        convert.from_authors({"epoch": 3, "model": modules(rng)})
    with pytest.raises(TypeError, match="state_dict is list: give a dict"):
        convert.from_authors([1])
    with pytest.raises(ValueError, match=re.escape("dt=1.5")):
        convert.from_authors(modules(rng), dt=1.5)
    assert convert.from_authors(modules(rng), dt=1.5, allow_large_dt=True).dt == 1.5


def test_what_has_no_place_in_their_layouts_is_refused():
    with pytest.raises(ValueError, match=r"has 2 cells, the authors' PyTorch LEM has one: convert cells\[0\]"):
        convert.to_authors(lemode.LEM(M, D, num_layers=2))
    with pytest.raises(ValueError, match="bidirectional"):
        convert.to_authors(lemode.LEM(M, D, bidirectional=True))
    with pytest.raises(ValueError, match=r"scheme='explicit'.*or write to_torchrecurrent"):
        convert.to_authors(lemode.LEM(M, D, scheme="explicit"))
    with pytest.raises(ValueError, match=r"scheme='exponential'.*make the network with that\.$"):
        convert.to_torchrecurrent(lemode.LEM(M, D, scheme="exponential"))
    with pytest.raises(ValueError, match=r"scheme='imex'.*or write to_authors"):
        convert.to_torchrecurrent(lemode.LEM(M, D))
    with pytest.raises(ValueError, match=r"layout='jax': choose from 'modules', 'cuda'\."):
        convert.to_authors(lemode.LEM(M, D), "jax")
    with pytest.raises(TypeError, match="lem is LSTM: give a lemode"):
        convert.to_authors(torch.nn.LSTM(M, D))
    cell = lemode.LEM(M, D, num_layers=2, dtype=torch.float64).cells[1]
    assert convert.to_authors(cell, prefix="cell.")["cell.inp2hid.weight"].shape == (4 * D, D)
