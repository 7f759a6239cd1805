"""lemode.solve: gradients reach whatever the vector field depends on, or are refused; so are calls that it cannot answer."""

import math

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import lemode
from lemode import MultiscaleODE, Samples, solve

f64 = torch.float64
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
AGREE = 1e-6  # two solvers at TIGHT, whose local errors grow by less than 1e3 over these times


def both_ways(run, wanted):
    """Gradients by `wanted`, through the solver and by the adjoint method; none may be zero."""
    pair = [torch.autograd.grad(run(adjoint), wanted, allow_unused=True) for adjoint in (False, True)]
    for through, adjoint in zip(*pair):
        assert through is not None
        assert adjoint is not None
        assert through.abs().max() > 1e-3
        assert (through - adjoint).abs().max() < AGREE


# deprecated by torch, and what most published code uses
OLD_HOOKS = pytest.mark.filterwarnings("ignore:.*is deprecated in favor of:FutureWarning")


@pytest.mark.slow
@OLD_HOOKS
@pytest.mark.parametrize("name", ["weight_hh", "weight_zy"])
@pytest.mark.parametrize(
    "wrap",
    [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal],
    ids=["weight_norm hook", "spectral_norm hook", "weight_norm", "spectral_norm", "orthogonal"],
)
def test_adjoint_gradients_reach_what_weights_are_computed_from(wrap, name):
    ode = MultiscaleODE(2, 3, dtype=f64)
    wrap(ode, name)
    for _ in range(30):  # power iterations of the spectral norm, which goes on with them at every call
        ode(*torch.rand(2, 3, dtype=f64), torch.zeros(2, dtype=f64))
    u = torch.ones(2, dtype=f64)
    # (the gradient by the length of a weight whose direction is orthogonal may be small: all are asked for together)
    both_ways(lambda adjoint: solve(ode, [0.0, 1.0, 2.0], u, adjoint=adjoint, **TIGHT)[0].sum(), list(ode.parameters()))


def test_adjoint_gradients_reach_tensors_that_are_no_parameters():
    leaves = [torch.randn(*p.shape, dtype=f64, requires_grad=True) for p in MultiscaleODE(1, 3).parameters()]
    drive = torch.randn(1, dtype=f64, requires_grad=True)

    def run(adjoint):
        ode = MultiscaleODE.from_tensors(*(leaf.sin() for leaf in leaves))
        return solve(ode, [0.0, 1.0, 2.0], lambda t: (2 * drive).exp() * t.sin(), adjoint=adjoint, **TIGHT)[1].sum()

    both_ways(run, [*leaves, drive])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["constant", "linear", "cubic", None])
def test_a_tensor_that_acts_in_two_ways_is_counted_once(kind):
    """Shared by weights, their own functions, and the input: the adjoint method adds up, and must not add up twice."""
    w = torch.randn(3, 3, dtype=f64, requires_grad=True)
    other = [torch.randn(12, 1, dtype=f64), torch.randn(9, 3, dtype=f64)]

    def run(adjoint):
        ode = MultiscaleODE.from_tensors(other[0] * w[0, 0], torch.cat([w, w.T, 2 * w]), w, other[0][:, 0])
        values = w[:, :1].tanh()
        u = values[0] if kind is None else Samples(torch.tensor([0.0, 1.0, 2.0]), values, kind)
        return solve(ode, [0.0, 0.5, 2.0], u, (w[0], w[1]), adjoint=adjoint, **TIGHT)[0].square().sum()

    both_ways(run, [w])


def test_a_tensor_that_acts_later_only_is_refused_by_the_adjoint_method():
    early, late = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)

    def u(t):
        return early * t if t < 0.5 else 0.5 * early + late * (t - 0.5)

    ode = MultiscaleODE(1, 2)
    y, _ = solve(ode, [0.0, 1.0], u, adjoint=True)
    with pytest.raises(RuntimeError, match=r"u\(t\) uses a tensor at t=.* that it did not use at t=0.*adjoint=False"):
        y.sum().backward()
    solve(ode, [0.0, 1.0], u)[0].sum().backward()
    assert late.grad.abs() > 0


@pytest.mark.parametrize("grad", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(("method", "adjoint"), [("dopri5", False), ("dopri5", True), ("Radau", False)])
def test_an_input_may_differentiate_inside(grad, method, adjoint):
    def u(t):  # minus the slope of a potential
        x = t.detach().requires_grad_()
        return torch.autograd.grad(x.sin(), x)[0][None]

    ode = MultiscaleODE(1, 3, dtype=f64)
    expected = solve(ode, [0.0, 1.0], lambda t: t.cos()[None], **TIGHT)[0]
    with grad():
        y, _ = solve(ode, [0.0, 1.0], u, method=method, adjoint=adjoint, **TIGHT)
    assert (y - expected).abs().max() < AGREE


def test_second_derivatives_are_right_or_refused():
    ode, zero = MultiscaleODE(1, 3, dtype=f64), torch.zeros(3, dtype=f64)

    def total(y, adjoint):
        return solve(ode, [0.0, 1.0], None, (y, zero), adjoint=adjoint, **TIGHT)[0].sum()

    hessian = torch.autograd.functional.hessian(lambda y: total(y, False), zero)
    shift = 1e-4 * torch.eye(3, dtype=f64)
    slopes = [
        (torch.autograd.functional.jacobian(lambda y: total(y, False), sign * e) * sign) for e in shift for sign in (1, -1)
    ]
    by_differences = torch.stack([(a + b) / 2e-4 for a, b in zip(slopes[::2], slopes[1::2])])
    assert hessian.abs().max() > 1e-3
    assert (hessian - by_differences).abs().max() < 1e-5  # central differences: 1e-8 of truncation, 1e-9 / 1e-4 of the solver
    with pytest.raises(RuntimeError, match=r"adjoint=True gives first derivatives only.*adjoint=False"):
        torch.autograd.functional.hessian(lambda y: total(y, True), zero)
    with pytest.raises(RuntimeError, match="adjoint=True takes one gradient at a time"):
        torch.autograd.functional.jacobian(
            lambda y: solve(ode, [0.0, 1.0], None, (y, zero), adjoint=True)[0][-1], zero, vectorize=True
        )


def test_forward_mode_is_right_with_a_fixed_step_and_refused_otherwise():
    ode, zero, one = MultiscaleODE(1, 3, dtype=f64), torch.zeros(3, dtype=f64), torch.ones(3, dtype=f64)

    def tangent(**options):
        with forward_ad.dual_level():
            y, _ = solve(ode, [0.0, 1.0], None, (forward_ad.make_dual(zero, one), zero), **options)
            return forward_ad.unpack_dual(y[-1]).tangent

    J = torch.autograd.functional.jacobian(lambda y: solve(ode, [0.0, 1.0], None, (y, zero), **TIGHT)[0][-1], zero)
    fixed = tangent(method="rk4", options={"step_size": 0.01})
    assert (fixed - J @ one).abs().max() < AGREE
    for options in ({}, {"adjoint": True}, {"method": "Radau"}, {"method": "rk4", "adjoint": True}):
        with pytest.raises(RuntimeError, match="no forward-mode derivative: use method='rk4'"):
            tangent(**options)


@pytest.mark.parametrize("transform", ["jvp", "jacrev", "jacfwd", "grad", "vmap"])
def test_transforms_of_torch_func_are_refused_by_name(transform):
    ode, zero = MultiscaleODE(1, 3), torch.zeros(3)

    def run(y):
        return solve(ode, [0.0, 1.0], None, (y, zero))[0].sum()

    calls = {"jvp": lambda: torch.func.jvp(run, (zero,), (zero,)), "vmap": lambda: torch.func.vmap(run)(torch.zeros(4, 3))}
    call = calls.get(transform, lambda: getattr(torch.func, transform)(run)(zero))
    with pytest.raises(RuntimeError, match=r"not run inside vmap, jvp.*batch \(N, d\).*torch\.autograd"):
        call()


@OLD_HOOKS
@pytest.mark.parametrize("method", ["dopri5", "Radau"])
@pytest.mark.parametrize("wrap", [weight_norm, lambda ode, name: prune.l1_unstructured(ode, name, amount=3)])
def test_solvers_read_the_weights_of_now(wrap, method):
    """Hooks write the weight before a call: one that was written before the last optimizer step is not used."""
    ode = MultiscaleODE(1, 3, dtype=f64)
    wrap(ode, "weight_zy")
    source = ode.weight_zy_g if hasattr(ode, "weight_zy_g") else ode.weight_zy_orig
    source.data.mul_(3.0)
    y, _ = solve(ode, [0.0, 1.0], torch.ones(1, dtype=f64), method=method, **TIGHT)
    plain = MultiscaleODE(1, 3, dtype=f64)
    ode(y[0], y[0], torch.ones(1, dtype=f64))
    plain.load_state_dict({name: getattr(ode, name).detach() for name in ("weight_ih", "weight_hh", "weight_zy", "bias")})
    assert (solve(plain, [0.0, 1.0], torch.ones(1, dtype=f64), **TIGHT)[0] - y).abs().max() < AGREE


def test_a_late_clock_costs_no_digits():
    """t near 1e6 in float32 is told apart by 1/16 only; the solver counts from the last break, and samples are read in float64."""
    ode, t, values = MultiscaleODE(1, 3), torch.linspace(0, 2, 9, dtype=f64), torch.randn(9, 1)
    for kind in ("constant", "linear", "cubic"):
        early, late = (solve(ode, t + shift, Samples(t + shift, values, kind))[0] for shift in (0.0, 1e6))
        assert (early - late).abs().max() < 1e-5  # float32, and tolerances of 1e-7 a step
    with pytest.raises(ValueError, match=r"t reaches 1e\+06, where torch\.float32 .* apart.*ode\.double\(\).*Samples"):
        solve(ode, t + 1e6, lambda s: s.sin()[None])
    y, _ = solve(MultiscaleODE(1, 3, dtype=f64), t + 1e6, lambda s: s.sin()[None])
    assert bool(torch.isfinite(y).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bits_are_refused_where_errors_are_estimated(dtype):
    ode, u = MultiscaleODE(1, 3, dtype=dtype), torch.ones(1, dtype=dtype)
    with pytest.raises(ValueError, match=rf"the ode is in {dtype}, whose \d digits .* copy\.deepcopy\(ode\)\.float\(\)"):
        solve(ode, [0.0, 1.0], u)
    exact = solve(MultiscaleODE.from_tensors(*(p.detach().float() for p in ode.parameters())), [0.0, 1.0], u.float())[0]
    for method in ("rk4", "Radau"):
        y, _ = solve(ode, [0.0, 1.0], u, method=method)
        assert (y.float() - exact).abs().max() < 8 * torch.finfo(dtype).eps


class Leaky(MultiscaleODE):
    def forward(self, y, z, u):
        dy, dz = super().forward(y, z, u)
        return dy - y, dz


ODE = MultiscaleODE(1, 3)
NAN = math.nan


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: solve(lemode.conv.ConvODE(1, 2, 3), [0, 1]), TypeError, r"ode is ConvODE: .* fields.*dt="),
        (lambda: solve(None, [0, 1]), TypeError, r"ode is NoneType: give a lemode.MultiscaleODE"),
        (lambda: solve(Leaky(1, 3), [0, 1], method="Radau"), TypeError, r"Leaky defines its own vector field.*use 'dopri5'"),
        (lambda: solve(ODE, [0, 1], torch.ones(0, 1)), ValueError, r"u holds a batch of size 0"),
        (lambda: solve(ODE, [0, 1], torch.ones(0, 1), method="Radau"), ValueError, r"u holds a batch of size 0"),
        (lambda: solve(ODE, [0, 1], None, (torch.ones(0, 3),) * 2), ValueError, r"state0 holds a batch of size 0"),
        (lambda: solve(ODE, None), TypeError, r"t is NoneType .*give times"),
        (lambda: solve(ODE, "soon"), TypeError, r"t is str .*give times"),
        (lambda: solve(ODE, []), ValueError, r"t has shape \(0,\)"),
        (lambda: solve(ODE, torch.tensor([0, 1j])), TypeError, r"t is complex"),
        (lambda: solve(ODE, [0, 1], rtol=None), ValueError, r"rtol=None: give a positive number"),
        (lambda: solve(ODE, [0, 1], atol=[1e-3]), ValueError, r"atol=\[0\.001\]: give a positive number"),
        (lambda: solve(ODE, [0, 1], max_evaluations="many"), ValueError, r"max_evaluations='many'"),
        (lambda: solve(ODE, [0, 1], options=[0.1]), TypeError, r"options=\[0\.1\]: give a dict"),
        (lambda: solve(ODE, [0, 1], options={"h": 0.1}), ValueError, r"options=\{'h': 0\.1\}.*'dopri5' does not know"),
        (lambda: solve(ODE, [0, 1], options={"h": 0.1}, method="BDF"), ValueError, r"options=\{'h': 0\.1\}.*no effect.*'BDF'"),
        (lambda: solve(ODE, [0, 1], options={"step_size": -1.0}, method="rk4"), ValueError, r"step_size=-1\.0: give a positive"),
        (lambda: solve(ODE, [0, 1], torch.ones(1).numpy()), TypeError, r"u is ndarray"),
        (lambda: solve(ODE, [0, 1], event_times=None), TypeError, r"event_times=None .*give a list"),
        (lambda: solve(ODE, [0, 1], lambda t: t[None] * NAN), ValueError, r"u\(t\) is not finite at t=0"),
        (lambda: solve(ODE, [0, 1], lambda t: (0.53 - t[None]).sqrt()), RuntimeError, r"near t=0\.5.*u\(t\) is not finite"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::lemode.DiscontinuityWarning")  # a square root that ends looks like a jump
def test_what_cannot_be_solved_is_refused_with_its_cause(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_weights_that_are_not_finite_are_named():
    ode = MultiscaleODE(1, 3)
    ode.weight_zy.data[0, 0] = NAN
    for method in ("dopri5", "Radau"):
        with pytest.raises(RuntimeError, match="weight_zy of the ode is not finite"):
            solve(ode, [0.0, 1.0], torch.ones(1), method=method)
