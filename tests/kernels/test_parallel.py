"""Sweeps over a whole sequence: the same numbers as step by step, in no more sweeps than there are steps, or a warning."""

import itertools
import warnings

import pytest
import torch

from lemode import LEM, LEMCell
from lemode.analysis import promised_sweeps
from lemode.kernels import explain, parallel, run
from lemode.kernels.parallel import linear_scan, solve

F64 = torch.float64
SCHEMES = ["imex", "semi_implicit", "exponential"]


def problem(L=60, N=3, d=4, m=2, dt=0.7, scheme="imex", scale=1.0, dtype=F64):
    """A cell and its input, initial state included."""
    cell = LEMCell(m, d, dt=dt, scheme=scheme, dtype=dtype).requires_grad_(False)
    for p in cell.parameters():
        p.mul_(scale)
    return cell, torch.randn(L, N, m, dtype=dtype), *(2 * torch.rand(N, d, dtype=dtype) - 1 for _ in range(2))


def sequential(cell, u, y0, z0, dt=None):
    return run(cell.ode, cell.scheme, u, y0, z0, cell.dt if dt is None else dt, "reference")


def solved(cell, u, y0, z0, **options):
    return solve(cell.ode, cell.scheme, u, y0, z0, cell.dt, **options)


def distance(found, truth):
    return max(float((a - b).abs().max()) for a, b in zip(found[:2], truth, strict=True))


@pytest.mark.parametrize("L", [1, 2, 3, 7, 8, 13])
def test_a_scan_is_the_recurrence(L):
    matrices, diagonals, b = (
        torch.randn(L, 2, 3, 3, dtype=F64),
        torch.randn(L, 2, 3, dtype=F64),
        torch.randn(L, 2, 3, dtype=F64),
    )
    for A in (matrices, diagonals):
        x, expected = torch.zeros(2, 3, dtype=F64), []
        for n in range(L):
            x = ((A[n] @ x.unsqueeze(-1)).squeeze(-1) if A is matrices else A[n] * x) + b[n]
            expected.append(x)
        # sums of at most 13 products in another order, of numbers that grow to 1e5
        torch.testing.assert_close(linear_scan(A, b), torch.stack(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("newton", [True, False])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_solution_is_the_sequence(scheme, newton):
    made = problem(scheme=scheme, dt=0.7 if scheme == "imex" else 3.0)
    truth = sequential(*made)
    for tol in (1e-4, 1e-7, 1e-10):
        found = solved(*made, tol=tol, newton=newton)
        assert found.converged
        assert distance(found, truth) <= tol


@pytest.mark.parametrize("newton", [True, False])
def test_blocks_join(newton):
    made = problem(L=50)
    found = solved(*made, newton=newton, block=7)
    assert len(found.sweeps) == 8
    assert distance(found, sequential(*made)) <= 1e-10


@pytest.mark.parametrize("newton", [True, False])
def test_as_many_sweeps_as_steps_are_always_enough(newton):
    """9.1 (b): after k sweeps the first k states are exact, of weights that no norm bounds by one, and outside the cube, too."""
    cell, u, y0, z0 = problem(L=12, scale=30.0)
    for start in (1.0, 5.0):
        initial = start * y0, start * z0
        steps = parallel._Steps(cell.ode, cell.scheme, u, *initial, cell.dt)
        truth = sequential(cell, u, *initial)
        ys, zs = (torch.zeros_like(x) for x in truth)
        for k in range(1, 13):
            y, z = (torch.cat([s[None], x[:-1]]) for s, x in zip(initial, (ys, zs), strict=True))
            part = slice(0, 12)
            ys, zs = steps.newton(part, y, z) if newton else steps.leaky(part, initial, y)
            # rounding of 1e-16 each step, amplified by at most (dt |W| = 200)^(steps in which the network is not saturated)
            assert distance((ys[:k], zs[:k]), [x[:k] for x in truth]) < 1e-8


def test_a_good_guess_saves_sweeps():
    made = problem(L=200)
    cold = solved(*made)
    warm = solved(*made, guess=tuple(x + 1e-6 * torch.randn_like(x) for x in cold[:2]))
    assert warm.sweeps[0] < cold.sweeps[0]
    assert distance(warm, sequential(*made)) <= 1e-10


def test_ten_thousand_steps():
    made = problem(L=10_000, N=1, d=3, m=1, dt=0.5)
    truth = run(made[0].ode, made[0].scheme, *made[1:], 0.5)
    for tol in (1e-6, 1e-10):
        assert distance(solved(*made, tol=tol), truth) <= tol


def results(rnn, u, state, dt):
    """Outputs and gradients of a loss that weighs all of them differently."""
    leaves = [x.clone().requires_grad_() for x in (u, *state, dt)]
    out, (y_n, z_n) = rnn(leaves[0], tuple(leaves[1:3]), dt=leaves[3])
    loss = (torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out) * out).sum() + (y_n**2).sum() + z_n.sin().sum()
    return [out, y_n, z_n, *torch.autograd.grad(loss, [*leaves, *rnn.parameters()])]


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_backend_agrees_with_the_reference(scheme, per_sample, monkeypatch):
    monkeypatch.setattr(parallel, "BLOCK", 4 * 16 * 3 * 9)  # several blocks, forwards and backwards
    options = {"num_layers": 2, "scheme": scheme, "dtype": F64, "dt": 0.8}
    fast, plain = LEM(2, 4, backend="parallel", **options), LEM(2, 4, backend="reference", **options)
    plain.load_state_dict(fast.state_dict())
    u, state = torch.randn(21, 3, 2, dtype=F64), [torch.rand(2, 3, 4, dtype=F64) for _ in range(2)]
    dt = 0.1 + 0.8 * torch.rand(21, 3, dtype=F64) if per_sample else torch.tensor(0.6, dtype=F64)
    for got, expected in zip(results(fast, u, state, dt), results(plain, u, state, dt), strict=True):
        # the states are within 1e-10, the sums over 63 states of their derivatives, a few each
        assert (got - expected).abs().max() <= 1e-7 * max(1.0, float(expected.detach().abs().max()))


def made_diagonal(ode):
    with torch.no_grad():
        for W in (*ode.weight_hh.chunk(3), ode.weight_zy):
            W.mul_(torch.eye(len(W), dtype=W.dtype))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_diagonal_blocks_are_the_jacobians(scheme):
    cell, u, y0, z0 = problem(L=1, d=5, scheme=scheme, scale=3.0)
    made_diagonal(cell.ode)
    assert parallel.diagonal(cell.ode)
    narrow, full = (parallel._Steps(cell.ode, cell.scheme, u, y0, z0, cell.dt) for _ in range(2))
    full.diagonal = False
    (*new, blocks), (*expected, J) = (steps.jacobians(slice(0, 1), y0[None], z0[None]) for steps in (narrow, full))
    assert all(torch.equal(a, b) for a, b in zip(new, expected, strict=True))
    # entry (i, j) of block k is J[i d + k, j d + k]; all others are zero
    k = torch.arange(5)
    rebuilt = torch.zeros_like(J)
    for i in range(2):
        for j in range(2):
            rebuilt[..., 5 * i + k, 5 * j + k] = blocks[..., i, j]
    torch.testing.assert_close(rebuilt, J, rtol=1e-14, atol=1e-15)  # products of four numbers, in another order


def test_diagonal_networks_take_newton_sweeps_for_any_number_of_units(monkeypatch):
    monkeypatch.setattr(parallel, "NEWTON_UP_TO", 3)
    made = problem(L=200, d=6, scale=3.0, dt=1.0)
    made_diagonal(made[0].ode)
    truth, found, leaky = sequential(*made), solved(*made), solved(*made, newton=False)
    assert found.converged
    assert distance(found, truth) <= 1e-10
    assert found.sweeps[0] < leaky.sweeps[0]


def test_the_adjoint_of_a_diagonal_network(monkeypatch):
    monkeypatch.setattr(parallel, "BLOCK", 4 * 4 * 3 * 9)  # several blocks
    monkeypatch.setattr(parallel, "ADJOINT_UP_TO", 3)
    monkeypatch.setattr(parallel.native, "operator_gradients", None)  # which would be step by step
    fast, plain = LEM(2, 4, backend="parallel", dtype=F64, dt=0.8), LEM(2, 4, backend="reference", dtype=F64, dt=0.8)
    made_diagonal(fast.cells[0].ode)
    plain.load_state_dict(fast.state_dict())
    u, state = torch.randn(21, 3, 2, dtype=F64), [torch.rand(1, 3, 4, dtype=F64) for _ in range(2)]
    dt = 0.1 + 0.8 * torch.rand(21, 3, dtype=F64)
    for got, expected in zip(results(fast, u, state, dt), results(plain, u, state, dt), strict=True):
        # as above
        assert (got - expected).abs().max() <= 1e-7 * max(1.0, float(expected.detach().abs().max()))


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_what_is_promised_holds_for_diagonal_networks(scale):
    made = problem(L=40, N=1, d=20, scale=scale, dt=0.3)
    made_diagonal(made[0].ode)
    promised = promised_sweeps(made[0], made[1], 1e-6, made[2:]).sweeps
    assert distance(solved(*made, sweeps=promised), sequential(*made)) <= 1e-6


def test_gradcheck():
    rnn = LEM(1, 2, backend="parallel", dtype=F64, tol=1e-13)
    names = [name for name, _ in rnn.named_parameters()]

    def function(u, y, z, dt, *parameters):
        out, (y_n, z_n) = torch.func.functional_call(rnn, dict(zip(names, parameters, strict=True)), (u, (y, z)), {"dt": dt})
        return out, y_n, z_n

    leaves = [torch.randn(3, 1, 1), torch.rand(1, 1, 2), torch.rand(1, 1, 2), 0.2 + 0.7 * torch.rand(3, 1)]
    leaves = [x.double().requires_grad_() for x in leaves] + [p.detach().clone().requires_grad_() for p in rnn.parameters()]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


def test_only_what_is_asked_for_gets_a_gradient():
    rnn = LEM(2, 3, backend="parallel")
    rnn.cells[0].ode.weight_hh.requires_grad_(False)
    rnn(torch.randn(5, 4, 2))[1][1].sum().backward()  # nothing flows through the output
    assert rnn.cells[0].ode.weight_hh.grad is None
    assert rnn.cells[0].ode.weight_ih.grad.abs().max() > 0


def test_many_units_have_a_sequential_adjoint(monkeypatch):
    monkeypatch.setattr(parallel, "ADJOINT_UP_TO", 3)
    fast, plain = LEM(2, 4, backend="parallel", dtype=F64), LEM(2, 4, backend="reference", dtype=F64)
    plain.load_state_dict(fast.state_dict())
    u = torch.randn(9, 2, 2, dtype=F64)
    for rnn in (fast, plain):
        rnn(u)[0].square().sum().backward()
    for got, expected in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad, rtol=1e-7, atol=1e-9)  # the states are within 1e-10


def test_what_does_not_converge_is_run_step_by_step(monkeypatch):
    """Too few sweeps, and numbers that are none: a warning, and the numbers of 'auto'."""
    rnn = LEM(1, 8, backend="parallel", dt=1.0)
    u = torch.randn(300, 2, 1)
    monkeypatch.setattr(parallel, "MAX_SWEEPS", 2)
    with pytest.warns(RuntimeWarning, match="2 sweeps over the 300 steps are not enough"):
        out, _ = rnn(u)
    rnn.backend, rnn.tol = "auto", None
    assert torch.equal(out, rnn(u)[0])


def test_a_missing_number_is_not_sought_for_long():
    cell, u, y0, z0 = problem()
    u[17] = torch.nan
    found = solved(cell, u, y0, z0)
    assert not found.converged
    assert found.sweeps == (1,)


def test_chaos_is_given_up_or_right():
    """Where neighbours part, sweeps gain a state each: the solution is right, or said not to be one."""
    cell, u, y0, z0 = problem(L=400, N=2, d=8, m=1, dt=1.0, scale=12.0)
    found = solved(cell, u, y0, z0, tol=1e-6)
    truth = sequential(cell, u, y0, z0)
    assert not found.converged or distance(found, truth) <= 1e-6


def test_slow_convergence_is_not_taken_for_convergence():
    """Candidates with slopes of 0.95 make a sweep shrink an error to 0.9 only: much is left when little moves."""
    cell, u, y0, z0 = problem(L=600, N=1, d=1, m=1, dt=1.0, scale=0.0)
    cell.ode.weight_hh[2:], cell.ode.weight_zy[:] = 0.95, 0.95
    cell.ode.weight_ih[2:] = 1e-3
    u = torch.ones_like(u)
    found = solved(cell, u, 0 * y0, 0 * z0, tol=1e-5, newton=False, max_sweeps=300)
    assert found.converged
    assert distance(found, sequential(cell, u, 0 * y0, 0 * z0)) <= 1e-5


def test_a_newton_sweep_that_overflows_is_thrown_away(monkeypatch):
    made = problem()
    monkeypatch.setattr(parallel._Steps, "newton", lambda self, part, y, z: (y + torch.nan, z))
    found = solved(*made, newton=True)
    assert found.converged
    assert distance(found, sequential(*made)) <= 1e-10


@pytest.mark.parametrize("scale", [4.0, 8.0])
def test_newton_is_tried_near_the_solution_and_where_leaky_sweeps_do_not_get_on(monkeypatch, scale):
    """The damping: Newton after a sweep that moved at most NEAR; else the other kind after one that moved more than half of the last."""
    read = []
    for kind in ("leaky", "newton"):
        sweep = getattr(parallel._Steps, kind)

        def spied(self, part, *states, kind=kind, sweep=sweep):
            found = sweep(self, part, *states)
            read.append((kind, found))
            return found

        monkeypatch.setattr(parallel._Steps, kind, spied)
    _, _, y0, z0 = made = problem(L=100, N=1, dt=1.0, scale=scale)
    assert solved(*made, newton=True).converged
    guess = tuple(s.expand(100, *s.shape) for s in (y0, z0))
    states = [guess, *(found for _, found in read)]
    moved = [distance(new, old) for old, new in itertools.pairwise(states)]
    kinds, expected = [kind for kind, _ in read], ["leaky"]
    for k, m in enumerate(moved[:-1]):
        other = k > 0 and m > moved[k - 1] / 2
        newton = m <= parallel.NEAR or other != (kinds[k] == "newton")
        expected.append("newton" if newton else "leaky")
    assert kinds == expected
    assert set(kinds) == {"leaky", "newton"}


def test_where_leaky_sweeps_go_astray_newton_is_tried():
    """Units that turn: leaky sweeps make an error grow by up to |W_z W_y| = 4 each, and gain a state a sweep (theory, 9.1)."""
    cell, u, y0, z0 = problem(L=400, N=1, d=1, m=1, dt=0.2, scale=0.0)
    cell.ode.weight_hh[2], cell.ode.weight_zy[0] = 2.0, -2.0
    cell.ode.weight_ih[2] = 1.0
    made = cell, u, y0, z0
    leaky, found = (solved(*made, newton=newton) for newton in (False, True))
    assert found.converged
    assert 3 * found.sweeps[0] < leaky.sweeps[0]
    assert distance(found, sequential(*made)) <= 1e-10


def test_the_errors_of_blocks_add_up_to_the_tolerance(monkeypatch):
    """What is left at the end of one goes on into the next: each has its share."""
    shares, block = [], parallel._solve_block
    monkeypatch.setattr(parallel, "_solve_block", lambda *args, **options: shares.append(args[4]) or block(*args, **options))
    assert solved(*problem(L=50), tol=1e-6, block=7).converged
    assert len(shares) == 8
    assert sum(shares) == pytest.approx(1e-6, rel=1e-12)  # eight additions


def test_weights_for_which_newton_alone_goes_astray():
    made = problem(L=300, N=1, dt=1.0, scale=10.0)
    found = solved(*made, newton=True)
    assert found.converged
    assert distance(found, sequential(*made)) <= 1e-10


def test_float32_is_as_close_as_it_says():
    made = problem(L=500, dtype=torch.float32)
    found = solved(*made)
    assert found.converged
    assert distance(found, sequential(*made)) <= 1e-5


def test_what_is_no_sequence_is_handed_on():
    rnn, u = LEM(2, 4, backend="parallel"), torch.randn(9, 3, 2)
    assert explain(rnn, u) == "parallel: asked for"
    assert explain(rnn, u[:1]).startswith("native")
    assert torch.func.vmap(lambda x: rnn(x[:, None])[0])(u.transpose(0, 1)).shape == (3, 9, 1, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rnn(torch.zeros(5, 0, 2))[0].shape == (5, 0, 4)


def test_refusals():
    with pytest.raises(ValueError, match=r"tol=0\.001 is for backend='parallel'"):
        LEM(1, 2, tol=1e-3)
    with pytest.raises(ValueError, match="use backend='reference' for 'strang'"):
        LEM(1, 2, scheme="strang", backend="parallel")(torch.zeros(3, 1, 1))
    with pytest.raises(ValueError, match=r"tol=1e-09: in torch\.float32 sums are rounded; give a number of at least 4e-06"):
        LEM(1, 2, backend="parallel", tol=1e-9)(torch.zeros(3, 1, 1))
    cell, *rest = problem()
    with pytest.raises(ValueError, match="max_sweeps=0: give a positive integer"):
        solved(cell, *rest, max_sweeps=0)
    cell = LEMCell(2, 4, scheme="explicit", dtype=F64)
    with pytest.raises(ValueError, match="scheme='explicit' has no leak"):
        solved(cell, *rest)
