"""The compiled core: its functions, its gradients at odd sizes on every instruction set, and its place in PyTorch."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lemode import LEM, kernels
from lemode.analysis.enclosure import ELEMENTARY
from lemode.kernels import core, native, pool, reference
from lemode.ode import MultiscaleODE
from lemode.schemes import SCHEMES, get_scheme

pytestmark = pytest.mark.skipif(not core.available(), reason="lemode was installed without its compiled core")

LEAKY = list(core.SCHEME_CODES)
ISAS = ("avx512", "avx2", "baseline")
TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-12}


@pytest.fixture(params=ISAS)
def isa(request):
    best = core.isa()
    if not core.select(request.param):
        pytest.skip(f"this machine has no {request.param}")
    yield request.param
    core.select(best)


@pytest.fixture
def three_threads(monkeypatch):
    monkeypatch.setattr(core, "threads", lambda work: 3)


def function(name, x):
    """tanh or sigmoid of the core, elementwise."""
    out = torch.empty_like(x)
    getattr(core.require(), f"lemode_{name}_{core.DTYPES[x.dtype]}")(x.data_ptr(), out.data_ptr(), x.numel())
    return out


# tanh and the logistic function -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tail"), [(torch.float32, 87), (torch.float64, 700)])
def test_functions_are_relatively_accurate_at_every_magnitude(isa, dtype, tail):
    """From the smallest normal numbers, where tanh(x) = x, to saturation; sigmoid also in its left tail, down to exp(-tail).

    Certified horizons take them to err by no more.
    """
    tolerance = ELEMENTARY * torch.finfo(dtype).eps / 2
    smallest = np.log10(torch.finfo(dtype).tiny) + 1
    size = np.concatenate([np.logspace(smallest, 2, 20_001), np.linspace(0.01, 12, 20_001)])
    x = torch.tensor(np.concatenate([size, -size]), dtype=dtype)
    exact = np.tanh(x.numpy().astype(np.longdouble))
    error = np.abs(function("tanh", x).numpy() / exact - 1)
    assert error.max() < tolerance

    x = torch.tensor(np.concatenate([size[size < tail], -size[size < tail], -np.linspace(1, tail, 20_001)]), dtype=dtype)
    exact = 1 / (1 + np.exp(-x.numpy().astype(np.longdouble)))
    error = np.abs(function("sigmoid", x).numpy() / exact - 1)
    assert error.max() < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_keep_their_ranges_and_special_values(isa, dtype):
    x = torch.cat([torch.linspace(-1000, 1000, 100_001, dtype=dtype), torch.randn(100_000, dtype=dtype) * 8])
    assert function("tanh", x).abs().max() <= 1
    assert function("sigmoid", x).min() >= 0
    assert function("sigmoid", x).max() <= 1
    inf, nan = float("inf"), float("nan")
    special = torch.tensor([0.0, -0.0, inf, -inf, nan], dtype=dtype)
    t, s = function("tanh", special), function("sigmoid", special)
    assert t[0] == 0
    assert not t[0].signbit()
    assert t[1].signbit()
    assert t[2:4].tolist() == [1, -1]
    assert s[:3].tolist() == [0.5, 0.5, 1]
    assert s[3] < 1e-37
    assert t[4].isnan()
    assert s[4].isnan()


# gradients against the float64 plain loop ---------------------------------------------------------------------------------


def problem(L, N, m, d, scheme, dt_kind, seed=0):
    """In float64: parameters, scheme, inputs, and the gradients that come from above."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape, low=-1.0, high=1.0):
        # numbers that both precisions represent
        x = low + (high - low) * torch.rand(*shape, dtype=torch.float64, generator=g)
        return x.to(torch.float32).to(torch.float64)

    ode = MultiscaleODE(m, d, dtype=torch.float64)
    with torch.no_grad():
        for p in ode.parameters():
            p.copy_(uniform(*p.shape) * 2 / d**0.5)
            p.copy_(p.float().double())
    dt = 0.625 if dt_kind == "number" else uniform(L, 1 if dt_kind == "step" else N, low=0.05, high=1)
    inputs = {"u": uniform(L, N, m, low=-2, high=2), "y0": uniform(N, d), "z0": uniform(N, d), "dt": dt}
    return ode, get_scheme(scheme), inputs, [uniform(L, N, d), uniform(L, N, d)]


def everything(run, ode, scheme, inputs, weights):
    """States and the gradients by u, y0, z0, dt where it is a tensor, and every parameter."""
    inputs = {name: x.detach().requires_grad_() if isinstance(x, torch.Tensor) else x for name, x in inputs.items()}
    ys, zs = run(ode, scheme, *inputs.values())
    loss = sum((w * s).sum() for w, s in zip(weights, (ys, zs), strict=True) if w is not None)
    leaves = {name: x for name, x in inputs.items() if isinstance(x, torch.Tensor)} | dict(ode.named_parameters())
    grads = torch.autograd.grad(loss, list(leaves.values()))
    return {"ys": ys, "zs": zs, **{f"d{name}": g for name, g in zip(leaves, grads, strict=True)}}


def assert_same(got, expected, tolerance):
    """Each result against the greatest of its kind: a single entry may be a difference of almost equal terms."""
    assert got.keys() == expected.keys()
    kinds = [["ys", "zs"], ["du", "dy0", "dz0", "ddt"], ["dweight_ih", "dweight_hh", "dweight_zy", "dbias"]]
    for names in kinds:
        scale = max(expected[name].abs().max() for name in names if name in expected)
        for name in expected.keys() & set(names):
            assert got[name].shape == expected[name].shape
            error = (got[name].double() - expected[name]).abs().max() / scale
            assert error < tolerance, f"{name}: {error:.1e}"


def check(case, dtype, layout="plain", **options):
    """The core in `dtype` against the plain loop in float64."""
    ode, scheme, inputs, weights = case
    expected = everything(reference.run, ode, scheme, inputs, weights)
    low = MultiscaleODE(ode.input_size, ode.hidden_size, dtype=dtype)
    low.load_state_dict(ode.state_dict())
    inputs = {name: arranged(x.to(dtype), layout) if isinstance(x, torch.Tensor) else x for name, x in inputs.items()}
    weights = [arranged(w.to(dtype), layout) for w in weights]
    got = everything(lambda *args: native.run(*args, **options), low, scheme, inputs, weights)
    assert_same(got, expected, TOLERANCE[dtype])


def arranged(x, layout):
    """The same numbers laid out otherwise in memory."""
    if layout == "transposed" and x.dim() == 3:  # as a batch-first input
        return x.transpose(0, 1).contiguous().transpose(0, 1).detach()
    if layout == "sliced":  # every other column of a wider tensor
        wide = x.new_full((*x.shape[:-1], 2 * x.shape[-1]), float("nan"))
        wide[..., ::2] = x
        return wide[..., ::2].detach()
    return x.clone()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    L=st.sampled_from([1, 2, 7, 40]),
    N=st.sampled_from([1, 2, 5, 8, 33]),
    m=st.sampled_from([1, 2, 5, 17]),
    d=st.sampled_from([1, 3, 8, 16, 17, 31, 48, 100]),
    scheme=st.sampled_from(LEAKY),
    dt_kind=st.sampled_from(["number", "step", "sample"]),
    layout=st.sampled_from(["plain", "transposed", "sliced"]),
    memory=st.sampled_from(["full", "low"]),
    isa=st.sampled_from(ISAS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_gradients_at_odd_sizes(L, N, m, d, scheme, dt_kind, layout, memory, isa, dtype, seed):
    best = core.isa()
    if core.select(isa):
        try:
            check(problem(L, N, m, d, scheme, dt_kind, seed), dtype, layout, memory=memory)
        finally:
            core.select(best)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory", ["full", "low"])
def test_more_samples_than_a_tile_and_more_steps_than_a_chunk(isa, dtype, memory):
    check(problem(6, 300, 3, 20, "imex", "sample"), dtype, memory=memory)
    check(problem(300, 3, 1, 8, "imex", "step"), dtype, memory=memory)


@pytest.mark.parametrize("N", [1, 2, 3, 50])
def test_threads_change_nothing_but_rounding(three_threads, N):
    case = problem(9, N, 2, 17, "imex", "sample")
    check(case, torch.float64)
    ode, scheme, inputs, weights = case
    first, again = (everything(native.run, ode, scheme, inputs, weights) for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, again[name])  # the order of the sums does not depend on which thread is first


@pytest.mark.parametrize("scheme", LEAKY)
def test_gradcheck(scheme):
    ode, scheme, inputs, _ = problem(3, 2, 2, 3, scheme, "sample")

    def run(u, y0, z0, dt, *parameters):
        changed = MultiscaleODE(2, 3, dtype=torch.float64)
        for name, p in zip(("weight_ih", "weight_hh", "weight_zy", "bias"), parameters, strict=True):
            delattr(changed, name)
            setattr(changed, name, p)
        return native.run(changed, scheme, u, y0, z0, dt)

    leaves = [x.clone().requires_grad_() for x in (*inputs.values(), *(p.detach() for p in ode.parameters()))]
    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("which", [0, 1])
def test_a_loss_on_one_state_alone(which):
    ode, scheme, inputs, weights = problem(5, 4, 2, 6, "imex", "number")
    weights[which] = None
    assert_same(*(everything(run, ode, scheme, inputs, weights) for run in (native.run, reference.run)), 1e-12)


@pytest.mark.parametrize("strides", [(0, 0, 0), (0, 0, 1), (0, 1, 0), (6, 0, 1)])
def test_expanded_incoming_gradients(strides):
    ode, scheme, inputs, _ = problem(5, 4, 2, 6, "imex", "number")
    weight = torch.randn(40, dtype=torch.float64).as_strided((5, 4, 6), strides)
    got, expected = (
        torch.autograd.grad(run(ode, scheme, *inputs.values())[0], list(ode.parameters()), weight)
        for run in (native.run, reference.run)
    )
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_only_the_gradients_asked_for():
    rnn = LEM(2, 5, backend="native")
    rnn.requires_grad_(False)
    u = torch.randn(6, 3, 2, requires_grad=True)
    rnn(u)[0].sum().backward()
    assert u.grad.abs().max() > 0
    assert all(p.grad is None for p in rnn.parameters())
    rnn.cells[0].ode.weight_zy.requires_grad_()
    rnn(u.detach())[0].sum().backward()
    assert rnn.cells[0].ode.weight_zy.grad.abs().max() > 0
    assert rnn.cells[0].ode.weight_ih.grad is None


@pytest.mark.parametrize("shape", [(1000, 32, 1, 16), (1000, 32, 1, 64), (200, 64, 64, 256)])
def test_float32_gradients_of_long_sums(shape):
    """The shapes of benchmarks/layer.py: 32,000 rows summed in float32, against the core in float64."""
    L, N, m, d = shape
    ode, u, z = MultiscaleODE(m, d), torch.randn(L, N, m), torch.zeros(N, d)
    weights = torch.randn(L, N, d), torch.randn(L, N, d)

    def gradients(dtype):
        model = MultiscaleODE(m, d, dtype=dtype)
        model.load_state_dict(ode.state_dict())
        ys, zs = native.run(model, get_scheme("imex"), u.to(dtype), z.to(dtype), z.to(dtype), 1.0)
        loss = (weights[0].to(dtype) * ys).sum() + (weights[1].to(dtype) * zs).sum()
        return torch.autograd.grad(loss, list(model.parameters()))

    for a, b in zip(gradients(torch.float32), gradients(torch.float64), strict=True):
        assert (a.double() - b).norm() / b.norm() < 3e-6


# bounds -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scheme", LEAKY)
def test_states_stay_in_the_unit_cube_exactly(isa, dtype, scheme):
    """No tolerance: large weights saturate gates and candidates, and the state starts at corners of the cube."""
    L, N, m, d = 60, 40, 3, 33
    ode = MultiscaleODE(m, d, dtype=dtype)
    u = torch.randn(L, N, m, dtype=dtype) * 5
    y0, z0 = (torch.randn(N, d, dtype=dtype).sign() for _ in range(2))
    for scale in (0.1, 3.0, 30.0):
        with torch.no_grad():
            for p in ode.parameters():
                p.uniform_(-scale, scale)
            for dt in (1.0, 1 - 2**-24, 0.3, torch.rand(L, N, dtype=dtype)):
                ys, zs = native.run(ode, get_scheme(scheme), u, y0, z0, dt)
                assert ys.abs().max() <= 1
                assert zs.abs().max() <= 1


def test_nan_stays_in_its_sample():
    ode, u, z = MultiscaleODE(2, 5), torch.randn(4, 3, 2), torch.zeros(3, 5)
    u[1, 1, 0] = float("nan")
    ys, _ = native.run(ode, get_scheme("imex"), u, z, z, 1.0)
    assert ys[1:, 1].isnan().all()
    assert ys[:, [0, 2]].isfinite().all()


# PyTorch ------------------------------------------------------------------------------------------------------------------


def test_zero_size_batch_has_zero_gradients():
    rnn = LEM(2, 3, backend="native")
    out, _ = rnn(torch.empty(5, 0, 2))
    out.sum().backward()
    assert out.shape == (5, 0, 3)
    assert all((p.grad == 0).all() for p in rnn.parameters())


def operator_arguments():
    ode, _, inputs, _ = problem(3, 4, 2, 5, "imex", "step")
    return [x.requires_grad_() for x in inputs.values()] + [p.detach().clone().requires_grad_() for p in ode.parameters()]


@pytest.mark.parametrize("save", [True, False])
def test_opcheck(save):
    args = operator_arguments()
    torch.library.opcheck(native._sequence, (*args, "imex", save))
    with torch.no_grad():
        ys, zs, saved = native._sequence(*args, "imex", save)
    args = [a.detach() for a in (*args, ys, zs, saved)]
    for need in ([True, True, True], [False, False, True]):
        torch.library.opcheck(native._sequence_backward, (torch.ones_like(ys), None, *args, "imex", need))


def test_operator_and_autograd_function_agree():
    args = operator_arguments()
    weight = torch.randn(3, 4, 5, dtype=torch.float64)
    direct, operator = native._Sequence.apply(*args, "imex", True), native._sequence(*args, "imex", True)
    for a, b in zip(torch.autograd.grad(direct[1], args, weight), torch.autograd.grad(operator[1], args, weight), strict=True):
        assert torch.equal(a, b)


def compiled_agrees(backend):
    torch._dynamo.reset()
    rnn, u = LEM(2, 4, num_layers=2), torch.randn(3, 4, 2)
    fast = torch.compile(rnn, fullgraph=True, backend=backend)
    gradients = []
    for run in (rnn, fast):
        rnn.zero_grad()
        output = run(u)[0]
        output.square().sum().backward()
        gradients.append([output.detach(), *(p.grad.clone() for p in rnn.parameters())])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_torch_compile_of_the_whole_graph():
    compiled_agrees("aot_eager")


@pytest.mark.slow
def test_torch_compile_with_its_default_backend():
    compiled_agrees("inductor")


def test_torch_export():
    rnn, u = LEM(2, 4), torch.randn(3, 4, 2)
    program = torch.export.export(rnn, (u,))
    assert any("lemode.sequence" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(u)[0], rnn(u)[0])


def test_torch_func_sees_the_reference():
    rnn, u = LEM(1, 3, dtype=torch.float64), torch.randn(4, 2, 1, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda x: rnn(x)[0])(u)
    torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(lambda x: rnn(x)[0], u))


def test_without_the_core_auto_works_and_says_so_once(monkeypatch):
    monkeypatch.setattr(core, "_library", None)
    monkeypatch.setattr(core, "_warned", False)
    rnn, u = LEM(1, 2), torch.randn(3, 1, 1)
    with pytest.warns(RuntimeWarning, match=r"compiled core.*install"):
        rnn(u)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rnn(u)
    with pytest.raises(RuntimeError, match="g\\+\\+"):
        LEM(1, 2, backend="native")(u)


def test_what_native_does_not_run_it_names():
    cell = LEM(1, 2, dtype=torch.bfloat16).cells[0]
    u, zero = torch.zeros(2, 1, 1, dtype=torch.bfloat16), torch.zeros(1, 2, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="float32 or float64"):
        kernels.run(cell.ode, cell.scheme, u, zero, zero, 1.0, "native")
    assert LEM(1, 2, dtype=torch.bfloat16)(torch.zeros(2, 1, 1, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
    with pytest.raises(ValueError, match="reference"):
        LEM(1, 2, backend="native", scheme="explicit")(torch.zeros(2, 1, 1))
    with pytest.raises(ValueError, match="memory='little'"):
        LEM(1, 2, memory="little")


# memory -------------------------------------------------------------------------------------------------------------------


def test_pool_reuses_memory_but_never_shares_it():
    pool.clear()
    shape = (1 << 18,)
    first = pool.empty(shape, torch.float32)
    address, view = first.data_ptr(), first[5:10]
    assert pool.empty(shape, torch.float32).data_ptr() != address
    del first
    assert pool.empty(shape, torch.float32).data_ptr() != address  # the view still needs it
    del view
    pool.clear()  # the other block
    again = pool.empty(shape, torch.float32)
    other = pool.empty(shape, torch.float32)
    again.fill_(1), other.fill_(2)
    assert again.eq(1).all()


# rollout ------------------------------------------------------------------------------------------------------------------


def network(m, D, d, layers, scheme, dtype, N):
    rnn = LEM(m, d, num_layers=layers, dt=0.5, scheme=scheme, dtype=dtype)
    stack = [
        kernels.Layer(c.ode.weight_ih, c.ode.weight_hh, c.ode.weight_zy, c.ode.stacked_bias(), c.dt, scheme) for c in rnn.cells
    ]
    states = [(torch.rand(N, d, dtype=dtype) * 2 - 1, torch.rand(N, d, dtype=dtype) * 2 - 1) for _ in range(layers)]
    return (
        rnn,
        stack,
        0.1 * torch.randn(D, d, dtype=dtype),
        0.1 * torch.randn(D, dtype=dtype),
        torch.randn(N, D, dtype=dtype),
        states,
    )


@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("residual", [True, False])
def test_rollout_is_the_layer_fed_with_its_own_readout(scheme, residual):
    rnn, stack, C, c, x, states = network(3, 2, 5, 2, scheme, torch.float64, 4)
    e = torch.randn(6, 4, 1, dtype=torch.float64)
    with torch.no_grad():
        got = kernels.rollout(stack, C, c, x, states, 6, residual=residual, exogenous=e)
        state = tuple(torch.stack(s) for s in zip(*states, strict=True))
        for k in range(6):
            out, state = rnn(torch.cat([x, e[k]], -1)[None], state)
            x = (x if residual else 0) + out[0] @ C.T + c
            torch.testing.assert_close(got[k], x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("inputs", [0, 1])
@pytest.mark.parametrize("delays", [0, 1, 3])
def test_rollout_of_a_head_that_reads_everything(isa, residual, inputs, delays):
    """From the formula: the values before, their differences, what is known, and y and z of every layer."""
    D, d, N, steps = 3, 5, 4, 7
    rnn, stack, _, c, x, states = network(D * (1 + delays) + inputs, D, d, 2, "imex", torch.float64, N)
    C = 0.1 * torch.randn(D, D * (1 + delays) + inputs + 4 * d, dtype=torch.float64)
    e = torch.randn(steps, N, inputs, dtype=torch.float64)
    past = torch.randn(delays, N, D, dtype=torch.float64)
    with torch.no_grad():
        state, values, expected = tuple(torch.stack(s) for s in zip(*states, strict=True)), [*past, x], []
        for k in range(steps):
            read = values[::-1][: delays + 1]
            layers = rnn.states(torch.cat([*read, e[k]], -1)[None], state)
            state = tuple(torch.stack([layer[i][0] for layer in layers]) for i in (0, 1))
            differences = [read[j] - read[j + 1] for j in range(delays)]
            g = torch.cat([values[-1], *differences, e[k], *(s[0] for layer in layers for s in layer)], -1)
            expected.append((values[-1] if residual else 0) + g @ C.T + c)
            values.append(expected[-1])
        for backend in ("native", "torch"):
            got = kernels.rollout(
                stack, C, c, x, states, steps, residual, e if inputs else None, past=past if delays else None, whole=True,
                backend=backend,
            )  # fmt: skip
            torch.testing.assert_close(got, torch.stack(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 0, 1, 1, 1), (2, 1, 16, 1, 1), (20, 3, 33, 3, 9), (17, 0, 5, 2, 300)])
@pytest.mark.parametrize(("delays", "whole"), [(0, True), (2, False), (2, True)])
def test_rollout_with_delays_and_of_everything_in_the_core_is_that_of_torch(isa, dtype, sizes, delays, whole):
    D, extra, d, layers, N = sizes
    m = D * (1 + delays) + extra
    for scheme in LEAKY:
        _, stack, C, c, x, states = network(m, D, d, layers, scheme, dtype, N)
        C = C if not whole else 0.1 * torch.randn(D, m + 2 * layers * d, dtype=dtype) / (m + layers * d) ** 0.5
        past = {"past": torch.randn(delays, N, D, dtype=dtype)} if delays else {}
        bounds = {"lower": x.mean(0) - 0.3, "upper": x.mean(0) + torch.linspace(-0.2, 0.5, D, dtype=dtype)}
        e = torch.randn(9, N, extra, dtype=dtype) if extra else None
        for residual, held in ((True, {}), (False, {}), (True, bounds)):
            with torch.no_grad():
                runs = [
                    kernels.rollout(stack, C, c, x, states, 9, residual, e, **held, **past, whole=whole, backend=b)
                    for b in ("native", "torch")
                ]
            torch.testing.assert_close(*runs, rtol=1e-12 if dtype == torch.float64 else 1e-5, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(1, 0, 1, 1, 1), (2, 1, 16, 1, 1), (20, 3, 33, 3, 9), (17, 0, 5, 2, 300)])
def test_rollout_of_the_core_is_that_of_torch(isa, dtype, sizes):
    D, extra, d, layers, N = sizes
    for scheme in LEAKY:
        _, stack, C, c, x, states = network(D + extra, D, d, layers, scheme, dtype, N)
        e = torch.randn(9, N, extra, dtype=dtype) if extra else None
        bounds = {"lower": x.mean(0) - 0.3, "upper": x.mean(0) + torch.linspace(-0.2, 0.5, D, dtype=dtype)}
        for residual, held in ((True, {}), (False, {}), (True, bounds), (False, {"upper": bounds["upper"]})):
            with torch.no_grad():
                runs = [
                    kernels.rollout(stack, C, c, x, states, 9, residual=residual, exogenous=e, **held, backend=b)
                    for b in ("native", "torch")
                ]
            if residual and held:  # something is to be held
                ends = torch.stack(list(held.values()))[:, None, None]
                assert all((run <= held["upper"]).all() for run in runs)
                assert all((run == ends).any() for run in runs)
            torch.testing.assert_close(*runs, rtol=1e-12 if dtype == torch.float64 else 1e-5, atol=TOLERANCE[dtype])


def test_what_is_no_number_is_not_held(isa):
    _, stack, C, c, x, states = network(2, 2, 5, 1, "imex", torch.float64, 3)
    x[1, 0] = torch.nan
    bound = torch.ones(2, dtype=torch.float64)
    with torch.no_grad():
        for b in ("native", "torch"):
            run = kernels.rollout(stack, C, c, x, states, 2, lower=-bound, upper=bound, backend=b)
            assert run[0, 1, 0].isnan()
            assert run[1, 1].isnan().all()
            assert run[:, [0, 2]].isfinite().all()


def test_rollout_in_threads_and_without_steps_or_samples(three_threads):
    _, stack, C, c, x, states = network(2, 2, 5, 1, "imex", torch.float64, 7)
    with torch.no_grad():
        runs = [kernels.rollout(stack, C, c, x, states, 4, backend=b) for b in ("native", "torch")]
        torch.testing.assert_close(*runs, rtol=1e-12, atol=1e-12)
        assert kernels.rollout(stack, C, c, x, states, 0).shape == (0, 7, 2)
        nobody = [(y[:0], z[:0]) for y, z in states]
        assert kernels.rollout(stack, C, c, x[:0], nobody, 3).shape == (3, 0, 2)


def test_rollout_is_differentiable_where_it_must_be():
    _, stack, C, c, x, states = network(2, 2, 5, 2, "imex", torch.float64, 3)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: kernels.rollout(stack, C, c, x, states, 3), (x,))
    with pytest.raises(ValueError, match="no_grad"):
        kernels.rollout(stack, C, c, x, states, 3, backend="native")


def test_rollout_names_the_size_that_does_not_fit():
    _, stack, C, c, x, states = network(2, 2, 5, 1, "imex", torch.float32, 3)
    for wrong, message in [
        ({"state": []}, "1 layers and 0 states"),
        ({"steps": -1}, "steps=-1"),
        ({"x0": x[:, :1]}, "reads 2 features but is given 1"),
        ({"readout": C[:, 1:]}, "readout of shape"),
        ({"exogenous": torch.zeros(2, 3, 1)}, "exogenous of shape"),
        ({"upper": torch.zeros(3)}, r"upper of shape \(3,\)"),
        ({"backend": "gpu"}, "backend='gpu'"),
        ({"past": torch.zeros(1, 3, 2)}, "reads 2 features but is given 4"),
        ({"past": torch.zeros(1, 2)}, "past of shape"),
        ({"whole": True}, r"give \(2, 12\), as x0 has 2 features and what it reads is so wide"),
        ({"state": [(s[0][:2], s[1]) for s in states]}, "state of layer 0"),
    ]:
        arguments = {"layers": stack, "readout": C, "readout_bias": c, "x0": x, "state": states, "steps": 4} | wrong
        with pytest.raises(ValueError, match=message):
            kernels.rollout(**arguments)
