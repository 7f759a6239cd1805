"""The fast backends return the numbers and the gradients of the plain loop."""

import pytest
import torch

from lemode import LEM

FAST = ["auto", "torch"]
# float64: the same sums in another order; float32: 40 steps of rounding at 6e-8, amplified by the recursion
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def results(rnn, u, state, dt):
    """Outputs and every gradient of a loss that weighs all of them differently."""
    u, state = u.clone().requires_grad_(), [s.clone().requires_grad_() for s in state]
    steps = dt.clone().requires_grad_() if isinstance(dt, torch.Tensor) else dt
    out, (y_n, z_n) = rnn(u, tuple(state), dt=steps)
    weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    loss = (weights * out).sum() + (y_n**2).sum() + (z_n * z_n.detach().cos()).sum()
    inputs = {"u": u, "y_0": state[0], "z_0": state[1], **dict(rnn.named_parameters())}
    if isinstance(steps, torch.Tensor):
        inputs["dt"] = steps
    grads = torch.autograd.grad(loss, list(inputs.values()))
    return {"output": out, "y_n": y_n, "z_n": z_n, **{f"d{k}": g for k, g in zip(inputs, grads, strict=True)}}


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scheme", ["imex", "semi_implicit", "exponential"])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (3, False), (2, True)])
def test_agrees_with_the_reference(backend, dtype, scheme, layers, bidirectional):
    options = {"num_layers": layers, "bidirectional": bidirectional, "scheme": scheme, "dtype": dtype, "dt": 0.8}
    reference = LEM(3, 6, backend="reference", **options)
    fast = LEM(3, 6, backend=backend, **options)
    fast.load_state_dict(reference.state_dict())
    k = layers * (1 + bidirectional)
    u, state = torch.randn(40, 6, 3, dtype=dtype), [torch.rand(k, 6, 6, dtype=dtype) for _ in range(2)]
    for dt in (None, torch.rand(40, dtype=dtype), torch.rand(40, 6, dtype=dtype)):
        expected, got = results(reference, u, state, dt), results(fast, u, state, dt)
        assert expected.keys() == got.keys()
        for name, value in expected.items():
            error = (got[name] - value).abs().max() / value.abs().max()
            assert error < TOLERANCE[dtype], f"{name}: {error:.1e}"


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("scheme", ["imex", "semi_implicit", "exponential"])
def test_gradcheck_of_everything(backend, scheme):
    """Against finite differences: input, both initial states, the step sizes, every parameter, two stacked layers."""
    rnn = LEM(2, 3, num_layers=2, scheme=scheme, backend=backend, dtype=torch.float64)
    names = [name for name, _ in rnn.named_parameters()]

    def run(u, y, z, dt, *parameters):
        out, (y_n, z_n) = torch.func.functional_call(rnn, dict(zip(names, parameters, strict=True)), (u, (y, z)), {"dt": dt})
        return out, y_n, z_n

    inputs = [torch.randn(4, 2, 2), torch.rand(2, 2, 3), torch.rand(2, 2, 3), 0.2 + 0.7 * torch.rand(4, 2)]
    inputs = [x.double().requires_grad_() for x in inputs] + [p.detach().clone().requires_grad_() for p in rnn.parameters()]
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("backend", FAST)
def test_gradient_of_the_initial_state_alone(backend):
    """A single step: dy_1/dy_0 and dy_1/dz_0 are what the recursion says, and not zero."""
    rnn = LEM(1, 4, backend=backend, dtype=torch.float64)
    reference = LEM(1, 4, backend="reference", dtype=torch.float64)
    reference.load_state_dict(rnn.state_dict())
    u, grads = torch.randn(1, 2, 1, dtype=torch.float64), []
    y0, z0 = torch.rand(1, 2, 4, dtype=torch.float64), torch.rand(1, 2, 4, dtype=torch.float64)
    for net in (rnn, reference):
        y, z = y0.clone().requires_grad_(), z0.clone().requires_grad_()
        net(u, (y, z))[0].sum().backward()
        grads.append((y.grad, z.grad))
    for fast, plain in zip(*grads, strict=True):
        assert plain.abs().min() > 0
        torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("backend", FAST)
def test_only_what_is_asked_for_gets_a_gradient(backend):
    rnn = LEM(2, 3, backend=backend)
    rnn.cells[0].ode.weight_hh.requires_grad_(False)
    _, (_, z_n) = rnn(torch.randn(5, 4, 2))
    z_n.sum().backward()  # nothing flows through the output
    assert rnn.cells[0].ode.weight_hh.grad is None
    assert rnn.cells[0].ode.weight_zy.grad is None or rnn.cells[0].ode.weight_zy.grad.abs().max() > 0
    assert rnn.cells[0].ode.weight_ih.grad.abs().max() > 0


def test_zero_size_batch():
    for backend in ("auto", "torch", "reference"):
        out, (y_n, _) = LEM(2, 3, backend=backend)(torch.empty(5, 0, 2))
        assert out.shape == (5, 0, 3)
        assert y_n.shape == (1, 0, 3)
