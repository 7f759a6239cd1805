"""ConvLEM is the paper's step with convolutions for its blocks, in every backend, and keeps what a field's model should keep."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transcription import sigma

from lemode import LEM, ConvLEM, ConvODE, MultiscaleODE
from lemode.kernels import conv_adjoint, explain
from lemode.schemes import SCHEMES, get_scheme

LEAKS = {
    "imex": lambda x: x,
    "semi_implicit": lambda x: x / (1 + x),
    "exponential": lambda x: 1 - math.exp(-x),
    "explicit": lambda x: x,
}
# grid and widths of V, of W1, W2, Wz, and of Wy
LINE = {"dim": 1, "kernel_size": 5, "recurrent_kernel_size": 3, "z_kernel_size": 5}
PLANE = {"dim": 2, "kernel_size": (3, 1), "recurrent_kernel_size": (1, 3), "z_kernel_size": 3}
NARROW_LINE = {"dim": 1, "kernel_size": 5}
NARROW_PLANE = {"dim": 2, "kernel_size": (3, 5)}
GRIDS = {1: (7,), 2: (3, 5)}
CASES = [LINE, PLANE, NARROW_LINE, NARROW_PLANE]
BACKENDS = [(c, b) for c in CASES for b in ("auto", "torch", "reference")] + [(NARROW_LINE, "native"), (NARROW_PLANE, "native")]
PADDINGS = ["circular", "zeros"]


def network(case, m=2, d=3, dtype=torch.float64, **options):
    return ConvLEM(m, d, **case, dtype=dtype, **options)


def data(case, T=4, n=2, m=2, d=3, grid=None, dtype=torch.float64):
    """An input and a state in the unit cube."""
    grid = grid or GRIDS[case["dim"]]
    u = torch.randn(T, n, m, *grid, dtype=dtype)
    return u, (2 * torch.rand(n, d, *grid, dtype=dtype) - 1, 2 * torch.rand(n, d, *grid, dtype=dtype) - 1)


def neighbour(x, offset, grid, circular):
    """The index x + offset, or None beyond the edge."""
    moved = tuple(i + o for i, o in zip(x, offset, strict=True))
    if circular:
        return tuple(i % g for i, g in zip(moved, grid, strict=True))
    return moved if all(0 <= i < g for i, g in zip(moved, grid, strict=True)) else None


def convolve(W, field, circular):
    """sum_j,s W_ij(s) field_j(x + s), entry by entry, s counted from the middle of the kernel."""
    kernel, grid = W.shape[2:], field.shape[1:]
    out = np.zeros((len(W), *grid))
    for i, j, s, x in (
        (i, j, s, x)
        for i in range(W.shape[0])
        for j in range(W.shape[1])
        for s in np.ndindex(*kernel)
        for x in np.ndindex(*grid)
    ):
        at = neighbour(x, tuple(a - k // 2 for a, k in zip(s, kernel, strict=True)), grid, circular)
        if at is not None:
            out[(i, *x)] += W[(i, j, *s)] * field[(j, *at)]
    return out


def transcribed_step(p, y, z, u, dt, circular, scheme):
    """One step of one sample, by the paper's letters: no code of lemode."""
    leak = np.vectorize(lambda a: LEAKS[scheme](dt * sigma(a)))

    def block(k, state):
        bias = p[f"b{k}"].reshape(-1, *[1] * (y.ndim - 1))
        return convolve(p[f"W{k}"], state, circular) + convolve(p[f"V{k}"], u, circular) + bias

    lz, ly = leak(block(1, y)), leak(block(2, y))
    new_z = (1 - lz) * z + lz * np.tanh(block("z", y))
    new_y = (1 - ly) * y + ly * np.tanh(block("y", z if scheme == "explicit" else new_z))
    return new_y, new_z


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("n", [3, 2])  # the hidden size, and not
@pytest.mark.parametrize(("case", "backend"), BACKENDS)
def test_a_sequence_equals_the_transcription(case, backend, n, padding):
    rnn = network(case, padding=padding, dt=0.7, backend=backend)
    u, state = data(case, T=2, n=n)
    out, (y_n, z_n) = rnn(u, state)
    p = {name: value.detach().numpy() for name, value in rnn.blocks()._asdict().items()}
    for k in range(n):
        y, z = state[0][k].numpy(), state[1][k].numpy()
        for step in range(2):
            y, z = transcribed_step(p, y, z, u[step, k].numpy(), 0.7, padding == "circular", "imex")
            np.testing.assert_allclose(out[step, k].detach(), y, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(y_n[k].detach(), y, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(z_n[k].detach(), z, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("case", [LINE, PLANE])
@pytest.mark.parametrize("scheme", LEAKS)
def test_other_schemes_equal_the_transcription(scheme, case, padding):
    rnn = network(case, padding=padding, dt=0.7, scheme=scheme)
    u, (y, z) = data(case, T=1, n=1)
    _, got = rnn(u, (y, z))
    p = {name: value.detach().numpy() for name, value in rnn.blocks()._asdict().items()}
    expected = transcribed_step(p, y[0].numpy(), z[0].numpy(), u[0, 0].numpy(), 0.7, padding == "circular", scheme)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a[0].detach(), b, rtol=1e-13, atol=1e-13)


def toeplitz(W, grid, circular):
    """The matrix of a convolution on the flattened field, by its action on unit vectors."""
    m, points = W.shape[1], math.prod(grid)
    columns = [convolve(W, unit.reshape(m, *grid), circular).ravel() for unit in np.eye(m * points)]
    return torch.from_numpy(np.stack(columns, 1))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("case", [LINE, PLANE])
def test_every_scheme_is_that_of_the_dense_ode_with_these_matrices(case, padding):
    grid = (5,) if case["dim"] == 1 else (3, 3)
    points = math.prod(grid)
    u, (y, z) = data(case, T=3, n=2, grid=grid)
    first = network(case, padding=padding)
    p = {name: value.detach().numpy() for name, value in first.blocks()._asdict().items()}
    W, V = ({k: toeplitz(p[f"{letter}{k}"], grid, padding == "circular") for k in "12zy"} for letter in "WV")
    b = torch.cat([torch.from_numpy(p[f"b{k}"]).repeat_interleave(points) for k in "12zy"])
    dense = MultiscaleODE.from_tensors(torch.cat([*V.values()]), torch.cat([W[k] for k in "12z"]), W["y"], b)
    for scheme in SCHEMES:
        rnn = network(case, padding=padding, dt=0.6, scheme=scheme)
        rnn.load_state_dict(dict(first.state_dict()))  # the weights alone: dt and the scheme are others
        _, got = rnn(u, (y, z))
        state = (y.flatten(1), z.flatten(1))
        for inputs in u:
            state = get_scheme(scheme).step(dense, state, inputs.flatten(1), 0.6)
        for a, expected in zip(got, state, strict=True):
            torch.testing.assert_close(a.flatten(1), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", [NARROW_LINE, NARROW_PLANE])
def test_width_one_is_a_dense_lem_at_every_point(case, scheme):
    """Also what the wide path computes if the wide kernels are zero but for their middle."""
    rnn = network(case, dt=0.9, scheme=scheme)
    u, (y, z) = data(case)
    out, (_, z_n) = rnn(u, (y, z))
    grid, kernel = u.shape[3:], rnn.ode.weight_ih.shape[2:]
    dense = LEM(2 * math.prod(kernel), 3, dt=0.9, scheme=scheme, dtype=torch.float64)
    for name, parameter in dense.cells[0].ode.named_parameters():
        parameter.data.copy_(rnn.ode.get_parameter(name).reshape(parameter.shape))
    middle = [k // 2 for k in kernel]
    axes = tuple(range(3, u.dim()))
    around = torch.stack([u.roll([h - i for h, i in zip(middle, s)], axes) for s in np.ndindex(*kernel)], 3).flatten(2, 3)
    for x in np.ndindex(*grid):
        there = (..., *x)
        expected, (_, z_x) = dense(around[there], (y[there][None], z[there][None]))
        torch.testing.assert_close(out[there], expected, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(z_n[there], z_x[0], rtol=1e-13, atol=1e-13)
    wide = network({**case, "recurrent_kernel_size": 3}, dt=0.9, scheme=scheme)
    with torch.no_grad():
        for name, p in wide.ode.named_parameters():
            if name in ("weight_hh", "weight_zy"):
                p.zero_()
                p[(..., *[1] * case["dim"])] = rnn.ode.get_parameter(name).flatten(1)
            else:
                p.copy_(rnn.ode.get_parameter(name))
    torch.testing.assert_close(wide(u, (y, z))[0], out, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("padding", "width"), [("zeros", 5), ("circular", 1)])
def test_one_point_is_a_dense_lem(padding, width):
    rnn = network({"dim": 1, "kernel_size": width, "recurrent_kernel_size": width}, padding=padding)
    dense = LEM(2, 3, dtype=torch.float64)
    for name, parameter in dense.cells[0].ode.named_parameters():
        full = rnn.ode.get_parameter(name)
        parameter.data.copy_(full if name == "bias" else full[..., width // 2])
    u, (y, z) = data(LINE, grid=(1,))
    out, (y_n, z_n) = rnn(u, (y, z))
    expected, state = dense(u[..., 0], (y[None, ..., 0], z[None, ..., 0]))
    for a, b in ((out, expected), (y_n, state[0][0]), (z_n, state[1][0])):
        torch.testing.assert_close(a[..., 0], b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("case", "backend"), BACKENDS)
def test_gradcheck_of_everything(case, backend, padding, monkeypatch):
    """Against finite differences: input, both initial states, every parameter; the torch backend in two groups of samples."""
    monkeypatch.setattr(conv_adjoint, "POINTS", 1)
    rnn = network(case, m=1, d=2, dt=0.8, padding=padding, backend=backend)
    names = [name for name, _ in rnn.named_parameters()]

    def run(u, y, z, *parameters):
        out, (y_n, z_n) = torch.func.functional_call(rnn, dict(zip(names, parameters, strict=True)), (u, (y, z)))
        return out, y_n, z_n

    u, (y, z) = data(case, T=2, m=1, d=2, grid=(5,) if case["dim"] == 1 else (3, 5))
    inputs = [x.requires_grad_() for x in (u, y, z)] + [p.detach().clone().requires_grad_() for p in rnn.parameters()]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=case["dim"] == 2 or backend == "reference")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("scheme", ["imex", "semi_implicit", "exponential"])
@pytest.mark.parametrize("case", CASES)
def test_backends_agree(case, scheme, padding, dtype, monkeypatch):
    grid = (9,) if case["dim"] == 1 else (4, 5)
    monkeypatch.setattr(conv_adjoint, "POINTS", 2 * math.prod(grid))  # five samples in groups of two, two and one
    options = {"dt": 0.8, "scheme": scheme, "padding": padding, "dtype": dtype}
    reference = network(case, backend="reference", **options)
    u, state = data(case, T=12, n=5, grid=grid, dtype=dtype)

    def results(rnn):
        inputs = [x.clone().requires_grad_() for x in (u, *state)]
        out, (y_n, z_n) = rnn(inputs[0], tuple(inputs[1:]))
        weights = torch.linspace(-1, 2, out.numel(), dtype=dtype).view(out.shape)
        loss = (weights * out).sum() + (y_n**2).sum() + (z_n * z_n.detach().cos()).sum()
        return [out, y_n, z_n, *torch.autograd.grad(loss, [*inputs, *rnn.parameters()])]

    expected = results(reference)
    for backend in ("auto", "torch") + (() if "recurrent_kernel_size" in case else ("native",)):
        rnn = network(case, backend=backend, **options)
        rnn.load_state_dict(reference.state_dict())
        for a, b in zip(results(rnn), expected, strict=True):
            assert a.shape == b.shape
            # the same sums in another order, over 12 steps
            assert (a - b).abs().max() <= (1e-12 if dtype == torch.float64 else 1e-5) * b.abs().max()
        with torch.no_grad():
            torch.testing.assert_close(rnn(u, state)[0], expected[0], rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-5)


@settings(max_examples=40, deadline=None)
@given(
    case=st.sampled_from(CASES),
    scheme=st.sampled_from(sorted(SCHEMES)),
    padding=st.sampled_from(PADDINGS),
    backend=st.sampled_from(["auto", "reference"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    dt=st.just(1.0) | st.floats(0.01, 1),  # at 1 with open gates nothing is left to spare
    size=st.sampled_from([0.1, 1.0, 30.0, 1e4]),
    seed=st.integers(0, 2**31),
)
def test_S4_states_stay_in_the_unit_cube_exactly(case, scheme, padding, backend, dtype, dt, size, seed):
    """|y|, |z| <= 1 with no tolerance, from any state in the cube, for weights of any size (theory/floating_point.py)."""
    torch.manual_seed(seed)
    rnn = network(case, dt=dt, scheme=scheme, padding=padding, backend=backend, dtype=dtype)
    u, state = data(case, T=20, dtype=dtype)
    with torch.no_grad():
        for p in rnn.parameters():
            p.normal_(0, size)
        out, (y_n, z_n) = rnn(10 * u, tuple(s.sign() if seed % 2 else s for s in state))
    assert out.abs().max() <= 1
    assert y_n.abs().max() <= 1
    assert z_n.abs().max() <= 1


@pytest.mark.parametrize(("case", "backend"), BACKENDS)
def test_commutes_with_translations_of_a_periodic_grid(case, backend):
    rnn = network(case, backend=backend)
    u, state = data(case, T=10)
    axes = tuple(range(-case["dim"], 0))
    out, (y_n, z_n) = rnn(u, state)
    for shift in [(1,) * case["dim"], (2, -1)[: case["dim"]]]:
        moved, (y_m, z_m) = rnn(u.roll(shift, axes), tuple(s.roll(shift, axes) for s in state))
        for a, b in ((moved, out), (y_m, y_n), (z_m, z_n)):
            torch.testing.assert_close(a, b.roll(shift, axes), rtol=0, atol=1e-14)
    zeros = network(case, backend=backend, padding="zeros")
    assert not torch.allclose(zeros(u.roll(1, -1))[0], zeros(u)[0].roll(1, -1), atol=1e-3)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("case", CASES)
def test_reflected_kernels_and_input_give_the_reflected_output(case, padding):
    rnn = network(case, padding=padding)
    mirror = copy.deepcopy(rnn)
    axes = tuple(range(-case["dim"], 0))
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "weight_zy"):
            mirror.ode.get_parameter(name).copy_(rnn.ode.get_parameter(name).flip(axes))
    u, state = data(case, T=10)
    out, _ = rnn(u, state)
    flipped, _ = mirror(u.flip(axes), tuple(s.flip(axes) for s in state))
    torch.testing.assert_close(flipped.flip(axes), out, rtol=0, atol=1e-14)
    assert not torch.allclose(rnn(u.flip(axes))[0].flip(axes), rnn(u)[0], atol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_a_sequence_in_two_pieces_and_samples_that_do_not_mix(case):
    rnn = network(case)
    u, state = data(case, T=7, n=3)
    whole, end = rnn(u, state)
    first, middle = rnn(u[:3], state)
    second, last = rnn(u[3:], middle)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(last, end, rtol=0, atol=1e-14)
    for k in range(3):
        alone, _ = rnn(u[:, k : k + 1], tuple(s[k : k + 1] for s in state))
        torch.testing.assert_close(alone[:, 0], whole[:, k], rtol=0, atol=1e-14)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("case", [LINE, NARROW_LINE])
def test_only_what_is_asked_for_gets_a_gradient(case, backend):
    rnn = network(case, backend=backend)
    rnn.ode.weight_hh.requires_grad_(False)
    u, _ = data(case)
    _, (_, z_n) = rnn(u)
    z_n.sum().backward()  # nothing flows through the output
    assert rnn.ode.weight_hh.grad is None
    assert rnn.ode.weight_ih.grad.abs().max() > 0
    frozen = network(case, backend=backend).requires_grad_(False)
    inputs = u.clone().requires_grad_()
    assert torch.autograd.grad(frozen(inputs)[0].sum(), inputs)[0].abs().max() > 0


def test_second_derivatives_are_those_of_the_reference():
    for case, backend in ((LINE, "auto"), (NARROW_LINE, "auto"), (NARROW_LINE, "torch")):
        rnn = network(case, backend=backend)
        plain = network(case, backend="reference")
        plain.load_state_dict(rnn.state_dict())
        u, found = data(case)[0].requires_grad_(), []
        for net in (rnn, plain):
            (g,) = torch.autograd.grad(net(u)[0].square().sum(), u, create_graph=True)
            found.append(torch.autograd.grad(g.square().sum(), u)[0])
        torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
    reference = network(LINE, m=1, d=1, backend="reference")
    u = data(LINE, T=2, n=1, m=1, grid=(5,))[0].requires_grad_()
    assert torch.autograd.gradgradcheck(lambda u: reference(u)[0], u)


def test_functions_of_torch_func():
    rnn = network(LINE)
    u, _ = data(LINE, T=2, n=1)
    (tangent,) = torch.randn(1, *u.shape, dtype=u.dtype)
    _, product = torch.func.jvp(lambda u: rnn(u)[0], (u,), (tangent,))
    h = 1e-6
    difference = (rnn(u + h * tangent)[0] - rnn(u - h * tangent)[0]) / (2 * h)
    torch.testing.assert_close(product, difference, rtol=1e-6, atol=1e-8)


def test_saved_copied_and_pickled(tmp_path):
    rnn = network(LINE, dt=0.5, scheme="exponential")
    u, state = data(LINE)
    out, _ = rnn(u, state)
    torch.save(rnn.state_dict(), tmp_path / "rnn.pt")
    other = network(LINE, dt=0.5, scheme="exponential")
    assert not torch.equal(other(u, state)[0], out)
    other.load_state_dict(torch.load(tmp_path / "rnn.pt", weights_only=True))
    for same in (other, copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert torch.equal(same(u, state)[0], out)
    assert list(rnn.state_dict()) == ["ode.weight_ih", "ode.weight_hh", "ode.weight_zy", "ode.bias"]


def test_parameters_and_blocks():
    rnn = ConvLEM(2, 5, (3, 7), dim=2, recurrent_kernel_size=3, z_kernel_size=(1, 9))
    shapes = {name.split(".")[-1]: tuple(p.shape) for name, p in rnn.named_parameters()}
    assert shapes == {"weight_ih": (20, 2, 3, 7), "weight_hh": (15, 5, 3, 3), "weight_zy": (5, 5, 1, 9), "bias": (20,)}
    blocks = rnn.blocks()
    with torch.no_grad():
        blocks.Wz[0, 0] = 42.0
        blocks.by[1] = 43.0
    assert (rnn.ode.weight_hh[10, 0] == 42.0).all()
    assert rnn.ode.bias[16] == 43.0
    assert rnn.ode.weight_ih.abs().max() <= (2 * 3 * 7) ** -0.5
    assert rnn.ode.bias[:16].abs().max() <= 5**-0.5
    assert rnn.ode.weight_zy.abs().max() > 0.9 * (5 * 9) ** -0.5


def test_the_step_is_consistent_with_the_field_of_the_ode():
    ode = ConvODE(2, 3, **LINE, dtype=torch.float64)
    u, (y, z) = data(LINE, T=1)
    field, errors = ode(y, z, u[0]), []
    for dt in (1e-3, 5e-4):
        new = get_scheme("imex").step(ode, (y, z), u[0], dt)
        errors.append(max(((b - a) / dt - f).abs().max().item() for a, b, f in zip((y, z), new, field, strict=True)))
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.01)
    with pytest.raises(NotImplementedError, match=r"torch\.func"):
        ode.jacobian(y, z, u[0])


@pytest.mark.parametrize("case", [LINE, PLANE, NARROW_LINE])
def test_zero_size_batch(case):
    for backend in ("auto", "torch"):
        u, _ = data(case, n=0)
        out, (y_n, z_n) = network(case, backend=backend)(u)
        assert out.shape == (4, 0, 3, *GRIDS[case["dim"]])
        assert y_n.shape == z_n.shape == (0, 3, *GRIDS[case["dim"]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvLEM(1, 3, 4), r"kernel_size=4: give an odd"),
        (lambda: ConvLEM(1, 3, 3, recurrent_kernel_size=2), r"recurrent_kernel_size=2"),
        (lambda: ConvLEM(1, 3, 3, z_kernel_size=-1), r"z_kernel_size=-1"),
        (lambda: ConvLEM(1, 3, (3, 3)), r"kernel_size=\(3, 3\): give a number"),
        (lambda: ConvLEM(1, 3, 3.0), r"kernel_size=3\.0"),
        (lambda: ConvLEM(1, 3, 3, dim=3), r"dim=3"),
        (lambda: ConvLEM(1, 3, 3, padding="same"), r"padding='same'"),
        (lambda: ConvLEM(0, 3, 3), r"channels=0"),
        (lambda: ConvLEM(1, 0, 3), r"hidden_size=0"),
        (lambda: ConvLEM(1, 3, 3, dt=1.5), r"dt=1\.5.*0 < dt <= 1"),
        (lambda: ConvLEM(1, 3, 3, scheme="rk4"), r"known schemes"),
        (lambda: ConvLEM(1, 3, 3, backend="gpu"), r"known backends"),
        (lambda: ConvLEM(1, 3, 3)(torch.zeros(2, 1, 8)), r"3 dimensions.*\(T, n, channels, length\)"),
        (lambda: ConvLEM(1, 3, 3)(torch.zeros(2, 1, 2, 8)), r"2 channels.*channels=1"),
        (lambda: ConvLEM(1, 3, 3)(torch.zeros(0, 1, 1, 8)), r"at least one time step"),
        (lambda: ConvLEM(1, 3, 3)(torch.zeros(2, 1, 1, 0)), r"one point"),
        (lambda: ConvLEM(1, 3, 3)(torch.zeros(2, 1, 1, 8).double()), r"float64.*float32"),
        (lambda: ConvLEM(1, 3, 9)(torch.zeros(2, 1, 1, 8)), r"width 9 is wider than the periodic grid \(8,\)"),
        (lambda: ConvLEM(1, 3, 1, dim=2, recurrent_kernel_size=(1, 5))(torch.zeros(2, 1, 1, 8, 4)), r"width \(1, 5\)"),
        (lambda: ConvLEM(1, 3, 3)(torch.zeros(2, 1, 1, 8), (torch.zeros(1, 3, 8), torch.zeros(1, 3, 7))), r"initial z.*\(1, 3, 7\)"),
        (lambda: ConvLEM(1, 3, 3, recurrent_kernel_size=3, backend="native")(torch.zeros(2, 1, 1, 8)), r"wider than 1"),
        (lambda: ConvLEM(1, 3, 3, recurrent_kernel_size=3, backend="torch", scheme="strang")(torch.zeros(2, 1, 1, 8)), r"'reference'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_not_a_tensor():
    with pytest.raises(TypeError, match="input is list"):
        ConvLEM(1, 3, 3)([[0.0]])


def test_a_field_of_pointwise_recurrence_is_a_dense_lem_at_every_point():
    torch.manual_seed(0)
    rnn = ConvLEM(2, 3, (3, 5), dim=2, padding="zeros", dt=0.3, scheme="exponential", dtype=torch.float64, backend="reference")
    u = torch.randn(6, 2, 2, 4, 5, dtype=torch.float64)
    dense = rnn.pointwise()
    ys, _ = dense(rnn.windows(u))
    # the plain convolution in another order of summation
    torch.testing.assert_close(ys.view(6, 2, 4, 5, 3).movedim(-1, 2), rnn(u)[0], rtol=1e-12, atol=1e-14)
    with torch.no_grad():
        next(dense.parameters()).zero_()
    assert next(rnn.parameters()).abs().min() > 0  # a copy
    with pytest.raises(ValueError, match="no LEM for each"):
        ConvLEM(1, 2, 3, recurrent_kernel_size=3).pointwise()


@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
def test_explain_names_each_field_once_and_what_runs_it(backend):
    u = torch.zeros(3, 1, 1, 4)
    assert explain(ConvLEM(1, 2, 3, backend=backend), u).count(": ") == 1
    wide = ConvLEM(1, 2, 3, recurrent_kernel_size=3, backend=backend)
    assert explain(wide, u).startswith("reference" if backend == "reference" else "torch")
    assert explain(wide, u, dt=torch.ones(3)).startswith("reference")
