"""dt, resets, state and precision of the layers: each lives in one place and is never silently another."""

import copy
import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from lemode import LEM, ConvLEM, LEMCell

CONV = {"kernel_size": 3, "recurrent_kernel_size": 3, "dtype": torch.float64}
exact = {"rtol": 0, "atol": 1e-14}  # float64 against itself, in another order of sums


def double(*shape, **options):
    return torch.randn(*shape, dtype=torch.float64, **options)


def steps(*shape):
    return 0.1 + 0.8 * torch.rand(*shape, dtype=torch.float64)


# dt ------------------------------------------------------------------------------------------------------------------


def test_each_cell_owns_its_dt_and_every_way_reads_it_there():
    rnn = LEM(2, 3, num_layers=2, dtype=torch.float64)
    rnn.cells[1].dt = 0.25
    u = double(6, 4, 2)
    torch.testing.assert_close(rnn(u)[0], rnn.states(u)[-1][0], **exact)
    y = z = torch.zeros(4, 3, dtype=torch.float64)
    for x in rnn.states(u)[0][0]:
        y, z = rnn.cells[1](x, (y, z))
    torch.testing.assert_close(rnn(u)[0][-1], y, **exact)
    with pytest.raises(ValueError, match=r"1, 0\.25: read cells\[k\]\.dt"):
        rnn.dt  # noqa: B018
    rnn.dt = 0.5
    assert rnn.dt == rnn.cells[0].dt == rnn.cells[1].dt == 0.5


@pytest.mark.parametrize(
    "make", [lambda: LEM(2, 3), lambda: LEMCell(2, 3), lambda: ConvLEM(2, 3, 3), lambda: LEM(2, 3).cells[0]]
)
@pytest.mark.parametrize("dt", [1.5, 0.0, -1.0, float("nan")])
def test_a_step_that_the_scheme_does_not_admit_cannot_be_set(make, dt):
    net = make()
    with pytest.raises(ValueError, match="dt="):
        net.dt = dt
    assert net.dt == 1.0


def test_steps_of_a_cell_of_states_and_of_a_field():
    rnn, cell = LEM(2, 3, dtype=torch.float64), LEMCell(2, 3, dtype=torch.float64)
    cell.load_state_dict(rnn.cells[0].state_dict())
    u, dt = double(5, 4, 2), steps(5, 4)
    out, _ = rnn(u, dt=dt)
    torch.testing.assert_close(rnn.states(u, dt=dt)[0][0], out, **exact)
    state = None
    for x, h, y in zip(u, dt, out):
        state = cell(x, state, dt=h)
        torch.testing.assert_close(state[0], y, **exact)
    torch.testing.assert_close(cell(u[0], dt=0.3), cell(u[0], dt=torch.tensor(0.3, dtype=torch.float64)), **exact)
    field, v = ConvLEM(2, 3, **CONV), double(5, 4, 2, 6)
    every, _ = field(v, dt=dt)
    for k in range(4):
        alone, _ = field(v[:, k : k + 1], dt=dt[:, k])
        torch.testing.assert_close(alone[:, 0], every[:, k], **exact)
    assert not torch.allclose(field(v)[0], every)


@pytest.mark.parametrize("width", [1, 3])
def test_the_gradient_by_the_steps_of_a_field(width):
    field = ConvLEM(1, 2, 3, recurrent_kernel_size=width, dtype=torch.float64)
    v, dt = double(3, 2, 1, 4), steps(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda dt: field(v, dt=dt)[0], dt)


@pytest.mark.parametrize(
    ("net", "shape", "dt", "message"),
    [
        (LEM(2, 3, batch_first=True), (4, 5, 2), torch.full((5, 4), 0.5), r"dt of shape \(5, 4\).*\(5,\).*\(4, 5\), one for each sample and step"),
        (LEM(2, 3), (5, 4, 2), torch.full((4, 5), 0.5), r"dt of shape \(4, 5\).*\(5, 4\), one for each step and sample"),
        (LEM(2, 3), (5, 2), torch.full((4,), 0.5), r"\(5,\), one for each step"),
        (ConvLEM(2, 3, 3, batch_first=True), (4, 5, 2, 6), torch.full((5, 4), 0.5), r"\(4, 5\), one for each sample and step"),
        (LEMCell(2, 3), (4, 2), torch.full((5,), 0.5), r"\(4,\), one for each sample"),
    ],
)  # fmt: skip
def test_advice_on_dt_can_be_followed(net, shape, dt, message):
    u = torch.randn(shape)
    with pytest.raises(ValueError, match=message):
        net(u, dt=dt)
    net(u, dt=torch.full(shape[:-1] if shape == (4, 2) else (5,), 0.5))
    if len(shape) > 2:
        net(u, dt=torch.full(shape[:2], 0.5))


@pytest.mark.parametrize("dt", [[0.1] * 5, np.full(5, 0.1), "0.1"])
@pytest.mark.parametrize("net", [LEM(2, 3), ConvLEM(2, 3, 3), LEMCell(2, 3)])
def test_dt_that_is_no_number_and_no_tensor(net, dt):
    u = torch.randn((5, 4, 2, 6) if isinstance(net, ConvLEM) else (4, 2) if isinstance(net, LEMCell) else (5, 4, 2))
    with pytest.raises(TypeError, match=rf"dt is {type(dt).__name__}: give a number, or a tensor"):
        net(u, dt=dt)


def test_numpy_numbers_are_numbers():
    u = torch.randn(5, 4, 2)
    net = LEM(2, 3)
    torch.testing.assert_close(net(u, dt=np.float64(0.5))[0], net(u, dt=0.5)[0], rtol=0, atol=0)


def test_steps_are_checked_inside_a_graph_too():
    rnn = LEM(2, 3)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def run(u, dt):
        return rnn(u, dt=dt)[0]

    u, dt = torch.randn(5, 4, 2), torch.full((5,), 0.5)
    torch.testing.assert_close(run(u, dt), rnn(u, dt=dt)[0])
    with pytest.raises(RuntimeError, match="needs 0 < dt <= 1"):
        run(u, dt.fill_(1.5))


def test_a_bfloat16_net_is_one_graph():
    rnn = LEM(2, 3, dtype=torch.bfloat16)
    run, u = torch.compile(lambda u: rnn(u)[0], fullgraph=True, backend="aot_eager"), torch.randn(5, 4, 2).bfloat16()
    assert torch.equal(run(u), rnn(u)[0])


# what a state_dict says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda **o: LEM(2, 3, num_layers=2, **o), {"dt": 0.25}),
        (lambda **o: LEM(2, 3, num_layers=2, **o), {"scheme": "exponential"}),
        (lambda **o: LEMCell(2, 3, **o), {"dt": 0.25}),
        (lambda **o: ConvLEM(2, 3, 3, **o), {"scheme": "strang"}),
    ],
)
def test_a_state_dict_loaded_into_another_map_says_so(make, other):
    saved, net = make().state_dict(), make(**other)
    with pytest.warns(
        UserWarning, match=r"was saved with dt=1\.0, scheme='imex' and is loaded into dt=.*load dict\(state_dict\)"
    ):
        net.load_state_dict(saved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.load_state_dict(dict(saved))  # the remedy
        make().load_state_dict(saved)
    assert all(isinstance(v, torch.Tensor) for v in saved.values())  # what safetensors can write
    assert len(saved) == len(list(net.parameters()))  # and no key that a file of before lacks


def test_the_record_follows_the_dt_that_was_set_and_survives_deepcopy():
    rnn = LEM(2, 3)
    rnn.dt = 0.5
    saved = copy.deepcopy(rnn.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LEM(2, 3, dt=0.5).load_state_dict(saved)
    with pytest.warns(UserWarning, match=r"saved with dt=0\.5"):
        LEM(2, 3).load_state_dict(saved)


# resets ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", [LEM(2, 3, num_layers=2, dtype=torch.float64), ConvLEM(2, 3, num_layers=2, **CONV)])
def test_a_reset_starts_anew(net):
    grid = (6,) if isinstance(net, ConvLEM) else ()
    u, state = double(7, 3, 2, *grid), tuple(torch.rand(2, 3, 3, *grid, dtype=torch.float64) for _ in "yz")
    reset = torch.zeros(7, 3, dtype=torch.bool)
    reset[2, 0] = reset[5, 0] = reset[5, 1] = reset[0, 2] = True
    dt = steps(7, 3)
    out, (y_n, z_n) = net(u, state, dt=dt, reset=reset)
    for k, cuts in enumerate([[0, 2, 5, 7], [0, 5, 7], [0, 0, 7]]):
        piece_state = tuple(s[:, k : k + 1] for s in state)
        for a, b in itertools.pairwise(cuts):
            if b > a:
                alone, end = net(u[a:b, k : k + 1], piece_state, dt=dt[a:b, k : k + 1])
                torch.testing.assert_close(out[a:b, k], alone[:, 0], **exact)
            piece_state = None
        torch.testing.assert_close(y_n[:, k], end[0][:, 0], **exact)
        torch.testing.assert_close(z_n[:, k], end[1][:, 0], **exact)
    everywhere = torch.ones(7, dtype=torch.bool)
    torch.testing.assert_close(net(u, reset=everywhere)[0][3], net(u[3:4])[0][0], **exact)


def test_a_reset_by_layout_in_states_and_its_gradient():
    rnn = LEM(2, 3, dtype=torch.float64, batch_first=True)
    u, reset = double(3, 5, 2), torch.rand(3, 5) < 0.4
    out, _ = rnn(u, reset=reset)
    torch.testing.assert_close(rnn.states(u.transpose(0, 1), reset=reset.T)[0][0].transpose(0, 1), out, **exact)
    assert torch.autograd.gradcheck(lambda u: rnn(u, reset=reset)[0], u.requires_grad_())


@pytest.mark.parametrize(
    ("net", "u", "reset", "message"),
    [
        (
            LEM(2, 3),
            torch.zeros(5, 4, 2),
            torch.zeros(5),
            r"reset is \(5,\) and torch\.float32: give a torch\.bool tensor \(5,\)",
        ),
        (LEM(2, 3), torch.zeros(5, 4, 2), torch.zeros(4, 5, dtype=torch.bool), r"\(5, 4\), one for each step and sample"),
        (LEM(2, 3), torch.zeros(5, 4, 2), [True] * 5, r"reset is list"),
        (LEM(2, 3, bidirectional=True), torch.zeros(5, 4, 2), torch.zeros(5, dtype=torch.bool), "causal"),
        (ConvLEM(2, 3, 3, bidirectional=True), torch.zeros(5, 4, 2, 6), torch.zeros(5, dtype=torch.bool), "causal"),
        (LEM(2, 3), pack_sequence([torch.zeros(5, 2)]), torch.zeros(5, dtype=torch.bool), "each episode as a sequence"),
    ],
)
def test_resets_that_do_not_fit(net, u, reset, message):
    with pytest.raises(ValueError, match=message):
        net(u, reset=reset)


# state and precision ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", [LEM(2, 3), ConvLEM(2, 3, 3), LEMCell(2, 3)])
def test_two_names_of_the_state_at_once(net):
    u = torch.randn((5, 4, 2, 6) if isinstance(net, ConvLEM) else (4, 2) if isinstance(net, LEMCell) else (5, 4, 2))
    state = net(u) if isinstance(net, LEMCell) else net(u)[1]
    with pytest.raises(ValueError, match="two names"):
        net(u, state, hx=state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_steps_are_not_lost_in_16_bits(dtype):
    net = LEM(1, 4, dt=0.002, dtype=dtype)
    u = torch.ones(3000, 1, 1, dtype=dtype)
    out, state = net(u)
    expected = copy.deepcopy(net).float()(u.float())[0]
    assert out.dtype == dtype
    # one rounding of a number below 1; with a state of 16 bits the error is 0.3
    torch.testing.assert_close(out.float(), expected, rtol=0, atol=2**-8)
    _, middle = net(u[:1500])
    torch.testing.assert_close(net(u[1500:], middle)[1], state, rtol=0, atol=1e-6)
    cell, s = LEMCell(1, 4, dt=0.002, dtype=dtype), None
    cell.load_state_dict(net.cells[0].state_dict())
    for x in u[:300]:
        s = cell(x, s)
    torch.testing.assert_close(s[0], expected[299], rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
def test_autocast_rounds_no_state_on_any_backend(backend):
    rnn, linear, u = LEM(2, 3, num_layers=2, backend=backend), nn.Linear(2, 2), torch.randn(5, 4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        v, h = linear(u), torch.rand(5).bfloat16() / 2
        assert v.dtype == torch.bfloat16
        out, state = rnn(v, dt=h)
        again, _ = rnn(v, state)
        plain, _ = rnn(u)
    assert out.dtype == state[0].dtype == again.dtype == torch.float32
    torch.testing.assert_close(out, rnn(v.float(), dt=h.float())[0], rtol=0, atol=0)
    torch.testing.assert_close(plain, rnn(u)[0], rtol=0, atol=0)


# packed ---------------------------------------------------------------------------------------------------------------------


def test_packed_sequences_with_steps_in_both_directions():
    rnn = LEM(2, 3, num_layers=2, bidirectional=True, dtype=torch.float64)
    sequences = [double(n, 2) for n in (2, 5, 3)]
    h = torch.tensor(0.5, dtype=torch.float64)
    packed = pack_sequence(sequences, enforce_sorted=False)
    torch.testing.assert_close(rnn(packed, dt=h)[0].data, rnn(packed, dt=0.5)[0].data, **exact)
    hs = [steps(n) for n in (2, 5, 3)]
    _, (y_n, _) = rnn(packed, dt=pack_sequence(hs, enforce_sorted=False))
    for k, (u, dt) in enumerate(zip(sequences, hs)):
        torch.testing.assert_close(y_n[:, k], rnn(u, dt=dt)[1][0], **exact)
    with pytest.raises(ValueError, match="pack the steps as the input"):
        rnn(packed, dt=torch.full((5,), 0.5))


def test_packed_sequences_are_not_padded_out():
    """One long sequence and many of one step: the work is that of the entries, not of the rectangle around them."""
    calls = []
    rnn = LEM(2, 3)
    real = rnn._recursion
    rnn._recursion = lambda ode, scheme, u, y, z, dt: calls.append(tuple(u.shape)) or real(ode, scheme, u, y, z, dt)
    data = torch.randn(200 + 99, 2)
    packed = PackedSequence(data, torch.tensor([100] + [1] * 199))
    out, _ = rnn(packed)
    assert calls == [(1, 100, 2), (199, 1, 2)]
    assert out.data.shape == (299, 3)


@pytest.mark.parametrize("lengths", [[4] * 3, [1, 2, 3, 4, 5, 6], [6, 1, 1, 1]])
def test_batch_sizes_of_every_kind(lengths):
    rnn = LEM(2, 3, bidirectional=True, dtype=torch.float64)
    sequences, state = [double(n, 2) for n in lengths], tuple(double(2, len(lengths), 3) / 5 for _ in "yz")
    _, (y_n, z_n) = rnn(pack_sequence(sequences, enforce_sorted=False), state)
    for k, u in enumerate(sequences):
        _, (y, z) = rnn(u, tuple(s[:, k] for s in state))
        torch.testing.assert_close((y_n[:, k], z_n[:, k]), (y, z), **exact)


# fields ----------------------------------------------------------------------------------------------------------------------


def test_layers_of_fields_are_the_layers_one_after_the_other():
    net = ConvLEM(2, 3, num_layers=2, bidirectional=True, batch_first=True, **CONV)
    u = double(4, 5, 2, 6)
    out, (y_n, _) = net(u)
    x = u.transpose(0, 1)
    for layer in range(2):
        outs = []
        for direction in range(2):
            one = ConvLEM(x.shape[2], 3, **CONV)
            one.ode.load_state_dict(net.odes()[2 * layer + direction].state_dict())
            ys, (y, _) = one(x.flip(0) if direction else x)
            torch.testing.assert_close(y_n[2 * layer + direction], y, **exact)
            outs.append(ys.flip(0) if direction else ys)
        x = torch.cat(outs, 2)
    torch.testing.assert_close(out, x.transpose(0, 1), **exact)
    with pytest.raises(ValueError, match="one layer of one direction"):
        net.pointwise()
