"""EigenAdam: its definition, what makes it better than Adam, and its manners."""

import numpy as np
import pytest
import torch

from lemode import Surrogate
from lemode.surrogate.optimizers import EigenAdam, trust_bound


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


def _falling(P, seen, fall, dtype, seed):
    """Gradients along few directions, which shrink as the loss does; some weights have none at all."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(seen, P, generator=generator, dtype=dtype)
    directions[:, : P // 4] = 0
    return [fall**k * torch.randn(seen, generator=generator, dtype=dtype) @ directions for k in range(90)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("betas", [(0.95, 0.99), (0.9, 0.999)])
@pytest.mark.parametrize(("seen", "fall"), [(1, 0.7), (3, 0.9), (60, 1.0)])
def test_no_step_is_longer_than_the_trust_bound(seen, fall, betas, dtype):
    K = trust_bound(betas)
    for seed in range(3):
        p = torch.nn.Parameter(torch.zeros(40, dtype=dtype))
        optimizer = EigenAdam([p], lr=1.0, betas=betas, refresh=30)
        for t, g in enumerate(_falling(40, seen, fall, dtype, seed)):
            Q = optimizer.state[p].get("Q0", torch.eye(40)).to(dtype)
            p.data.zero_()
            p.grad = g.clone()
            optimizer.step()
            if t * (1 - betas[0]) >= 1:
                assert (Q.T @ p.detach()).abs().max() <= K * (1 + 1e-4)  # the basis is orthogonal to float32's rounding


def test_the_trust_bound_is_reached_by_gradients_that_fall_as_the_moments_forget():
    """So it is the smallest one there is: equality in Cauchy and Schwarz's inequality, for g_k = (beta1 / beta2)^(t - k)."""
    ago = torch.arange(400, dtype=torch.float64)
    for beta1, beta2 in ((0.95, 0.99), (0.5, 0.9)):
        g = (beta1 / beta2) ** ago
        m, v = ((1 - beta1) * beta1**ago * g).sum(), ((1 - beta2) * beta2**ago * g**2).sum()
        assert (m / v.sqrt()).item() == pytest.approx(trust_bound((beta1, beta2)), rel=1e-9)


def test_directions_without_a_gradient_stand_still():
    """What rounding leaves of the first moment there is no reason for a step."""
    p = torch.nn.Parameter(torch.zeros(40))
    optimizer = EigenAdam([p], refresh=30)
    for g in _falling(40, 2, 0.8, torch.float32, 0)[:20]:
        p.grad = g.clone()
        optimizer.step()
    state = optimizer.state[p]
    assert (state["v"] == 0).sum() > 5
    assert (state["m"][state["v"] == 0] == 0).all()


def test_a_fit_does_not_depend_on_the_order_of_memory():
    t = 0.2 * np.arange(120)
    x = np.stack([np.stack([np.sin(t + p), np.cos(t + p)], -1) for p in range(3)])
    layouts = [x, np.asfortranarray(x), np.ascontiguousarray(x[::-1, ::-1, ::-1])[::-1, ::-1, ::-1], np.repeat(x, 2, 1)[:, ::2]]
    settings = {"hidden_size": 4, "steps": 30, "verbose": 0, "window": 40, "washout": 5}
    first, *others = (Surrogate(train="all", **settings).fit(layout).predict(x) for layout in layouts)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_a_fit_does_not_hang_on_the_last_bit_of_its_gradients(monkeypatch):
    """Nor on the order in which they are summed up, which is that of memory."""
    w, step, generator = np.sin(0.2 * np.arange(150))[:, None], EigenAdam.step, torch.Generator().manual_seed(0)

    def rounded_otherwise(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.grad.mul_(1 + 1e-15 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        return step(self, closure)

    for seed in range(4):
        model = Surrogate(hidden_size=4, steps=30, seed=seed, verbose=0, train="all")
        before = model.fit(w).predict(w)
        with monkeypatch.context() as m:
            m.setattr(EigenAdam, "step", rounded_otherwise)
            # along directions without a gradient so far the basis is a matter of rounding, and ten small steps are made in it
            np.testing.assert_allclose(model.fit(w).predict(w), before, rtol=0, atol=2e-3)


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
    with pytest.raises(ValueError, match=r"betas=\(0.9, 0.5\): no step is bounded"):
        EigenAdam([p], betas=(0.9, 0.5))
    with pytest.raises(ValueError, match="single parameter group"):
        EigenAdam([{"params": [p]}, {"params": [torch.nn.Parameter(torch.ones(1))]}])
