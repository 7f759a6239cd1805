"""LEM keeps the conventions of torch.nn.LSTM, and says clearly what it does not accept."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from lemode import LEM, LEMCell, MultiscaleODE


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_shapes_are_those_of_nn_lstm(layers, batch_first, bidirectional):
    options = {"num_layers": layers, "batch_first": batch_first, "bidirectional": bidirectional}
    lem, lstm = LEM(3, 5, **options), nn.LSTM(3, 5, **options)
    for shape in [(7, 4, 3), (7, 3)]:
        u = torch.randn(shape)
        out, (y_n, z_n) = lem(u)
        expected, (h_n, _) = lstm(u)
        assert out.shape == expected.shape
        assert y_n.shape == z_n.shape == h_n.shape
        again, _ = lem(u, (torch.zeros_like(y_n), torch.zeros_like(z_n)))
        assert torch.equal(out, again)


def test_batch_first_is_only_a_layout():
    a = LEM(3, 5, num_layers=2)
    b = LEM(3, 5, num_layers=2, batch_first=True)
    b.load_state_dict(a.state_dict())
    u, dt = torch.randn(7, 4, 3), torch.rand(7, 4)
    out_a, last_a = a(u, dt=dt)
    out_b, last_b = b(u.transpose(0, 1), dt=dt.T)
    torch.testing.assert_close(out_a, out_b.transpose(0, 1), rtol=0, atol=0)
    torch.testing.assert_close(last_a, last_b, rtol=0, atol=0)


def test_a_sequence_in_two_pieces():
    rnn = LEM(2, 4, num_layers=2, dtype=torch.float64)
    u = torch.randn(9, 3, 2, dtype=torch.float64)
    whole, last = rnn(u)
    first, state = rnn(u[:4])
    second, end = rnn(u[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-15)
    torch.testing.assert_close(end, last, rtol=0, atol=1e-15)


def test_samples_do_not_mix_when_batch_equals_hidden_size():
    rnn = LEM(2, 4, dtype=torch.float64)
    u, dt = torch.randn(6, 4, 2, dtype=torch.float64), torch.rand(6, 4, dtype=torch.float64)
    together, _ = rnn(u, dt=dt)
    for k in range(4):
        alone, _ = rnn(u[:, k : k + 1], dt=dt[:, k : k + 1])
        torch.testing.assert_close(alone[:, 0], together[:, k], rtol=0, atol=1e-15)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_sequences_equal_one_by_one(bidirectional, enforce_sorted):
    rnn = LEM(2, 4, num_layers=2, bidirectional=bidirectional, dtype=torch.float64)
    lengths = [6, 4, 1] if enforce_sorted else [4, 6, 1]
    sequences = [torch.randn(n, 2, dtype=torch.float64) for n in lengths]
    packed, (y_n, z_n) = rnn(pack_sequence(sequences, enforce_sorted=enforce_sorted))
    out, out_lengths = pad_packed_sequence(packed)
    assert out_lengths.tolist() == lengths
    for k, u in enumerate(sequences):
        alone, (y, z) = rnn(u)
        torch.testing.assert_close(out[: lengths[k], k], alone, rtol=0, atol=1e-15)
        torch.testing.assert_close(y_n[:, k], y, rtol=0, atol=1e-15)
        torch.testing.assert_close(z_n[:, k], z, rtol=0, atol=1e-15)


def test_packed_initial_states_follow_their_samples():
    rnn = LEM(2, 4, dtype=torch.float64)
    sequences = [torch.randn(n, 2, dtype=torch.float64) for n in (2, 5, 3)]
    y0, z0 = torch.rand(1, 3, 4, dtype=torch.float64), torch.rand(1, 3, 4, dtype=torch.float64)
    _, (y_n, _) = rnn(pack_sequence(sequences, enforce_sorted=False), (y0, z0))
    for k, u in enumerate(sequences):
        torch.testing.assert_close(y_n[:, k], rnn(u, (y0[:, k], z0[:, k]))[1][0], rtol=0, atol=1e-15)


def test_dropout_acts_between_layers_in_training_only():
    rnn = LEM(2, 8, num_layers=2, dropout=0.5)
    u = torch.randn(5, 3, 2)
    assert not torch.equal(rnn(u)[0], rnn(u)[0])
    assert torch.equal(rnn.eval()(u)[0], rnn(u)[0])
    single = LEM(2, 8, dropout=0.5)
    assert torch.equal(single(u)[0], single(u)[0])


def test_without_bias_there_is_none():
    rnn = LEM(2, 3, bias=False)
    assert all(not name.endswith("bias") for name, _ in rnn.named_parameters())
    out, _ = rnn(torch.zeros(4, 1, 2))
    assert torch.equal(out, torch.zeros_like(out))  # tanh(0) is the fixed point


def test_parameter_names_and_dtype():
    rnn = LEM(2, 3, dtype=torch.float64)
    assert [n.split(".")[-1] for n, _ in rnn.named_parameters()] == ["weight_ih", "weight_hh", "weight_zy", "bias"]
    assert {p.dtype for p in rnn.parameters()} == {torch.float64}
    assert rnn(torch.zeros(1, 1, 2, dtype=torch.float64))[0].dtype == torch.float64


def test_dt_two_with_frozen_gates_is_a_plain_tanh_network():
    """dt = 2 and zero gate weights give the leak 2 * 1/2 = 1 exactly (theory 7.3)."""
    cell = LEMCell(1, 3, dt=2.0, allow_large_dt=True, dtype=torch.float64)
    with torch.no_grad():
        cell.ode.weight_hh[:6] = 0
        cell.ode.weight_ih[:6] = 0
        cell.ode.bias[:6] = 0
    p, y, u = cell.ode.blocks(), torch.zeros(3, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    _, z1 = cell(u, (y, y))
    assert torch.equal(z1, torch.tanh(nn.functional.linear(y, p.Wz) + nn.functional.linear(u, p.Vz, p.bz)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LEM(2, 3, dt=1.5), r"dt=1\.5.*0 < dt <= 1.*allow_large_dt"),
        (lambda: LEM(2, 3, dt=0.0), r"dt=0:"),
        (lambda: LEM(2, 3, dt=float("nan")), r"dt=nan"),
        (lambda: LEM(2, 3, dt=2.5, allow_large_dt=True), r"dt=2\.5"),
        (lambda: LEM(2, 3, scheme="rk4"), r"scheme='rk4': known schemes are imex"),
        (lambda: LEM(2, 3, backend="gpu"), r"backend='gpu': known backends"),
        (lambda: LEM(0, 3), r"input_size=0"),
        (lambda: LEM(2, 3.0), r"hidden_size=3\.0"),
        (lambda: LEM(2, 3, num_layers=0), r"num_layers=0"),
        (lambda: LEM(2, 3, dropout=1.5), r"dropout=1\.5"),
        (lambda: MultiscaleODE(2, 3, dtype=torch.int64), r"dtype=torch\.int64"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 1)), r"1 features.*input_size=2"),
        (lambda: LEM(2, 3)(torch.zeros(2)), r"1 dimensions"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 2, 1)), r"4 dimensions"),
        (lambda: LEM(2, 3)(torch.zeros(0, 4, 2)), r"no time steps"),
        (lambda: LEM(2, 3, batch_first=True)(torch.zeros(4, 0, 2)), r"no time steps"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 2, dtype=torch.float64)), r"float64.*float32"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 2, dtype=torch.int64)), r"int64"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 2), (torch.zeros(1, 3, 3), torch.zeros(1, 3, 3))), r"initial y.*\(1, 3, 3\).*\(1, 4, 3\)"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 2), (torch.zeros(1, 4, 3), torch.zeros(1, 4, 3).double())), r"initial z is torch\.float64"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 2), torch.zeros(1, 4, 3)), r"pair \(y, z\)"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 2), dt=torch.full((4,), 0.5)), r"dt of shape"),
        (lambda: LEM(2, 3)(torch.zeros(5, 4, 2), dt=torch.full((5,), 1.5)), r"dt=1\.5"),
        (lambda: LEM(2, 3, bidirectional=True).states(torch.zeros(5, 4, 2)), r"causal"),
        (lambda: LEMCell(2, 3)(torch.zeros(4, 5)), r"5 features"),
        (lambda: LEMCell(2, 3)(torch.zeros(4, 2), (torch.zeros(3, 3), torch.zeros(3, 3))), r"initial y"),
        (lambda: LEM(2, 3, scheme="explicit", backend="torch")(torch.zeros(1, 1, 2)), r"backend='reference'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_not_a_tensor():
    with pytest.raises(TypeError, match="input is list"):
        LEM(2, 3)([[0.0, 1.0]])


@pytest.mark.parametrize("scheme", ["semi_implicit", "exponential"])
def test_unconditional_schemes_take_any_dt(scheme):
    out, _ = LEM(2, 3, dt=1e6, scheme=scheme)(torch.randn(50, 4, 2))
    assert out.abs().max() <= 1
