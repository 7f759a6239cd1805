"""Derivatives of every kind, by every backend, of every scheme: right, or refused in a sentence; never silently zero."""

import pytest
import torch
from torch.autograd import forward_ad

from lemode import LEM, ConvLEM
from lemode.kernels import BACKENDS, backends, explain, run
from lemode.schemes import SCHEMES

ON_A_CPU = [b for b in BACKENDS if b != "triton"]  # which is "auto" there
RUNS = [(b, s) for b in ON_A_CPU for s in SCHEMES if b in ("auto", "reference") or s in backends.LEAKY]
FIELDS = {
    "pointwise, 1-d": {"kernel_size": 3},
    "wide, 1-d": {"kernel_size": 3, "recurrent_kernel_size": 3},
    "wide, zeros": {"kernel_size": 3, "recurrent_kernel_size": 3, "padding": "zeros"},
    "pointwise, 2-d": {"kernel_size": 3, "dim": 2},
    "wide, 2-d": {"kernel_size": (1, 3), "recurrent_kernel_size": (3, 1), "dim": 2},
}


def sequence(backend="auto", scheme="imex", **options):
    """A network as a function of its input, and the input."""
    torch.manual_seed(0)
    rnn = LEM(2, 3, num_layers=2, backend=backend, scheme=scheme, dtype=torch.float64, dt=0.7, **options)
    return rnn, torch.randn(4, 2, 2, dtype=torch.float64)


def field(kind, backend="auto", scheme="imex"):
    torch.manual_seed(0)
    rnn = ConvLEM(1, 2, backend=backend, scheme=scheme, dtype=torch.float64, **FIELDS[kind])
    grid = (4,) if rnn.ode.dim == 1 else (3, 3)
    return rnn, torch.randn(3, 1, 1, *grid, dtype=torch.float64)


def everything(rnn, u):
    """The outputs as a function of input, states and every parameter, and the point to differentiate at."""
    names = [name for name, _ in rnn.named_parameters()]
    _, (y, z) = rnn(u)
    leaves = [u, 0.1 * torch.randn_like(y), 0.1 * torch.randn_like(z), *(p.detach() for p in rnn.parameters())]

    def run(u, y, z, *parameters):
        out, (y_n, z_n) = torch.func.functional_call(rnn, dict(zip(names, parameters, strict=True)), (u, (y, z)))
        return out, y_n, z_n

    return run, [x.clone().requires_grad_() for x in leaves]


@pytest.mark.parametrize(("backend", "scheme"), RUNS)
def test_gradgradcheck_of_a_sequence(backend, scheme):
    """The second derivative by everything, against finite differences of the first (torch's tolerances for float64)."""
    function, leaves = everything(*sequence(backend, scheme))
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
def test_gradgradcheck_of_a_field(kind, backend):
    function, leaves = everything(*field(kind, backend))
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradgradcheck_of_a_wide_field_by_scheme(scheme):
    function, leaves = everything(*field("wide, 1-d", scheme=scheme))
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


def test_second_derivative_by_step_sizes():
    rnn, u = sequence()
    dt = 0.2 + 0.5 * torch.rand(4, 2, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda u, dt: rnn(u, dt=dt)[0], (u.requires_grad_(), dt.requires_grad_()))


def test_third_derivative():
    """In one variable, of a function that the plain loop differentiates three times: equal to rounding."""
    third = []
    for backend in ("native", "reference"):
        rnn, u = sequence(backend)
        s = torch.ones((), dtype=torch.float64, requires_grad=True)
        f = rnn(s * u)[0].sum()
        for _ in range(3):
            (f,) = torch.autograd.grad(f, s, create_graph=True)
        third.append(f.detach())
    assert third[1].abs() > 1e-3
    torch.testing.assert_close(*third, rtol=1e-9, atol=0)  # sums of some hundred terms of mixed sign


@pytest.mark.parametrize("make", [lambda: sequence("native"), lambda: sequence("torch"), lambda: field("wide, 1-d")])
def test_functional_hessian_and_jvp_are_not_zero(make):
    rnn, u = make()

    def loss(x):
        return rnn(x)[0].square().sum()

    hessian = torch.autograd.functional.hessian(loss, u)
    backend, rnn.backend = rnn.backend, "reference"
    expected = torch.autograd.functional.hessian(loss, u)
    rnn.backend = backend
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(hessian, expected, rtol=1e-9, atol=1e-12)  # the same formula in another order
    v = torch.randn_like(u)
    _, product = torch.autograd.functional.jvp(lambda x: rnn(x)[0], u, v)
    rnn.backend = "reference"
    _, expected = torch.autograd.functional.jvp(lambda x: rnn(x)[0], u, v)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(product, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "backend"),
    [
        (k, b)
        for k in ("sequence", "wide, 1-d", "pointwise, 1-d")
        for b in ("auto", "torch", "native")
        if (k, b) != ("wide, 1-d", "native")
    ],
)
def test_transforms(kind, backend):
    """jacrev, jacfwd, vmap, per-sample gradients, jacobian(vectorize=True) and forward mode against plain reverse mode."""
    rnn, u = sequence(backend) if kind == "sequence" else field(kind, backend)
    expected = torch.autograd.functional.jacobian(lambda x: rnn(x)[0], u)
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(torch.func.jacrev(lambda x: rnn(x)[0])(u), expected, **close)
    torch.testing.assert_close(torch.func.jacfwd(lambda x: rnn(x)[0])(u), expected, **close)
    torch.testing.assert_close(torch.autograd.functional.jacobian(lambda x: rnn(x)[0], u, vectorize=True), expected, **close)
    many = torch.stack([u, 2 * u])
    torch.testing.assert_close(torch.func.vmap(lambda x: rnn(x)[0])(many), torch.stack([rnn(x)[0] for x in many]), **close)
    tangent = torch.randn_like(u)
    rnn.requires_grad_(False)
    with torch.no_grad(), forward_ad.dual_level():
        found = forward_ad.unpack_dual(rnn(forward_ad.make_dual(u, tangent))[0]).tangent
    assert found is not None
    torch.testing.assert_close(found, torch.tensordot(expected, tangent, tangent.dim()), **close)


def test_per_sample_gradients():
    rnn, u = sequence("native")
    parameters = {k: v.detach() for k, v in rnn.named_parameters()}

    def loss(p, x):
        return torch.func.functional_call(rnn, p, (x[:, None],))[0].square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, u)
    for name in parameters:
        for k in range(2):
            rnn.zero_grad()
            rnn(u[:, k : k + 1])[0].square().sum().backward()
            torch.testing.assert_close(each[name][k], rnn.get_parameter(name).grad, rtol=1e-9, atol=1e-12)


def test_gradient_penalty_trains():
    """WGAN-GP's pattern: a loss that holds a gradient, by every parameter, float32."""
    for make in (lambda: LEM(2, 4, backend="native"), lambda: ConvLEM(2, 4, 3, recurrent_kernel_size=3)):
        rnn = make()
        u = torch.randn(5, 3, 2) if isinstance(rnn, LEM) else torch.randn(5, 3, 2, 6)
        u.requires_grad_()
        (g,) = torch.autograd.grad(rnn(u)[0].sum(), u, create_graph=True)
        assert g.requires_grad
        ((g.norm() - 1) ** 2).backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in rnn.parameters())


def test_one_tensor_in_two_places():
    """y0 is z0: its gradient is the sum of both places, once."""
    first, second = [], []
    for backend in ("native", "torch", "reference"):
        rnn, u = sequence(backend)
        s = torch.full((2, 3), 0.3, dtype=torch.float64, requires_grad=True)
        cell = rnn.cells[0]
        ys, _ = run(cell.ode, cell.scheme, u, s, s, cell.dt, backend)
        (g,) = torch.autograd.grad(ys.square().sum(), s, create_graph=True)
        first.append(g.detach())
        second.append(torch.autograd.grad(g.square().sum(), s)[0])
    for found in (first, second):
        torch.testing.assert_close(found[0], found[2], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found[1], found[2], rtol=1e-9, atol=1e-12)


def test_private_names_of_torch_still_say_what_they_are_taken_for():
    """`lemode.kernels.backends` asks torch what it does not say publicly; this fails when a release changes it."""
    seen = []
    torch.func.vmap(lambda x: seen.append(backends.transformed()) or x)(torch.zeros(2))
    assert seen == [True]
    with forward_ad.dual_level():
        assert backends.transformed()
    assert not backends.transformed()


def test_explain_names_backend_and_reason():
    assert "asked for" in explain(LEM(1, 2, backend="torch"), torch.zeros(3, 1, 1))
    assert explain(LEM(1, 2, num_layers=2, scheme="strang"), torch.zeros(3, 1, 1)).count("no leak") == 2
    assert "join the points" in explain(ConvLEM(1, 2, 3, recurrent_kernel_size=3), torch.zeros(3, 1, 1, 4))
