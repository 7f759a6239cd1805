"""EigenAdam: its definition, what makes it better than Adam, and its manners."""

import pytest
import torch

from lemode.surrogate.optimizers import EigenAdam


def test_equals_adam_until_the_first_basis():
    torch.manual_seed(0)
    a, b = (torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    ours, adam = EigenAdam([a], lr=0.1, first=100, eps=1e-8), torch.optim.Adam([b], lr=0.1, betas=(0.95, 0.99), eps=1e-8)
    for _ in range(10):
        g = torch.randn(3, dtype=torch.float64)
        a.grad, b.grad = g.clone(), g.clone()
        ours.step()
        adam.step()
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_second_moment_is_the_exponential_average_and_the_basis_its_eigenvectors():
    p = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = EigenAdam([p], refresh=5, first=3, decay=0.9)
    C = torch.zeros(4, 4, dtype=torch.float64)
    for _ in range(8):  # refreshes after step 3 (first) and step 8 (five gradients later)
        p.grad = torch.randn(4, dtype=torch.float64)
        C = 0.9 * C + 0.1 * torch.outer(p.grad, p.grad)
        optimizer.step()
    state = optimizer.state[p]
    torch.testing.assert_close(state["C0"], C, rtol=1e-12, atol=1e-14)
    Q = state["Q0"].double()  # kept in float32
    torch.testing.assert_close(Q.T @ Q, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-6)
    rotated = Q.T @ C @ Q
    torch.testing.assert_close(rotated, torch.diag(rotated.diag()), rtol=0, atol=1e-6)
    # and v is what C says there: its eigenvalues, with Adam's bias correction in the place of C's
    expected = torch.linalg.eigvalsh(C) / (1 - 0.9**8) * (1 - 0.99**8)
    torch.testing.assert_close(state["v"], expected, rtol=1e-9, atol=1e-12)


def test_first_moment_is_kept_in_the_eigenbasis_through_every_change_of_it():
    torch.manual_seed(0)
    p = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
    optimizer = EigenAdam([p], refresh=4, first=3, block_size=4)
    m = torch.zeros(7, dtype=torch.float64)
    for _ in range(13):  # with changes after steps 3, 7 and 11
        p.grad = torch.randn(7, dtype=torch.float64)
        m.lerp_(p.grad, 0.05)
        optimizer.step()
    state = optimizer.state[p]
    back = torch.cat([state["Q0"].double() @ state["m"][:4], state["Q1"].double() @ state["m"][4:]])
    torch.testing.assert_close(back, m, rtol=0, atol=1e-6)  # the bases are in float32


def test_solves_a_rotated_ill_conditioned_problem_that_adam_does_not():
    """Linear regression on strongly correlated features, noisy gradients: condition number 1e6 off the axes."""
    errors = {}
    for name in ("eigen", "adam"):
        torch.manual_seed(1)
        R = torch.linalg.qr(torch.randn(10, 10, dtype=torch.float64))[0]
        scales = torch.logspace(0, -3, 10, dtype=torch.float64)
        target = torch.randn(10, dtype=torch.float64)
        w = torch.nn.Parameter(torch.zeros(10, dtype=torch.float64))
        opt = EigenAdam([w], lr=0.1) if name == "eigen" else torch.optim.Adam([w], lr=0.1, betas=(0.95, 0.99))
        for k in range(1000):
            opt.param_groups[0]["lr"] = 0.1 * (1 - k / 1000)
            X = torch.randn(32, 10, dtype=torch.float64) * scales @ R.T
            loss = (X @ (w - target)).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        errors[name] = (w - target).norm().item()
    assert errors["eigen"] < 0.01 * errors["adam"]


def test_blocks_are_optimizers_of_their_own():
    torch.manual_seed(0)
    start, gradients = torch.randn(11, dtype=torch.float64), torch.randn(12, 11, dtype=torch.float64)
    sizes = [4, 4, 3]  # the even split of 11 into blocks of at most 4
    whole = torch.nn.Parameter(start.clone())
    parts = [torch.nn.Parameter(part.clone()) for part in start.split(sizes)]
    ours = EigenAdam([whole], refresh=4, first=3, block_size=4)
    separate = [EigenAdam([part], refresh=4, first=3) for part in parts]
    for g in gradients:
        whole.grad = g.clone()
        ours.step()
        for part, g_part, optimizer in zip(parts, g.split(sizes), separate, strict=True):
            part.grad = g_part.clone()
            optimizer.step()
    assert torch.equal(whole, torch.cat(parts))


def test_a_gradient_that_is_not_finite_is_skipped():
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = EigenAdam([p])
    p.grad = torch.tensor([1.0, float("nan")])
    optimizer.step()
    assert torch.equal(p, torch.ones(2))
    assert not optimizer.state[p]


def test_state_can_be_saved_and_continued():
    def run(stop):
        torch.manual_seed(0)
        p = torch.nn.Parameter(torch.ones(5))
        opt = EigenAdam([p], refresh=4, first=3)
        gradients = torch.randn(20, 5)
        for k, g in enumerate(gradients):
            if k == stop:
                saved = opt.state_dict()
                opt = EigenAdam([p], refresh=4, first=3)
                opt.load_state_dict(saved)
            p.grad = g.clone()
            opt.step()
        return p.detach(), opt.state[p]["C0"]

    (p, C), (q, D) = run(None), run(11)
    assert torch.equal(p, q)
    assert D.dtype == torch.float64  # torch's own load_state_dict casts it to float32
    assert torch.equal(C, D)


def test_bad_hyperparameters():
    p = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="lr=-1"):
        EigenAdam([p], lr=-1)
    with pytest.raises(ValueError, match="block_size=0"):
        EigenAdam([p], block_size=0)
    with pytest.raises(ValueError, match="single parameter group"):
        EigenAdam([{"params": [p]}, {"params": [torch.nn.Parameter(torch.ones(1))]}])
