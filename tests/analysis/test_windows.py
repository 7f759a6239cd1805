"""A norm for windows: found on some, judged on others, and a no is a no."""

import numpy as np
import pytest
import torch

import lemode
from lemode.analysis import contraction_over_windows, step_jacobian
from lemode.analysis.windows import _norm_for, _plain_sizes


def cell(scale, d=3):
    made, generator = lemode.LEMCell(1, d, dt=0.9, dtype=torch.float64), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=generator))
    return made


U = torch.sin(0.4 * torch.arange(60, dtype=torch.float64))[:, None]


def test_windows_contract_where_single_steps_expand():
    found = contraction_over_windows(cell(1.5), U, window=10)
    assert found.step > 1 > found.factor
    assert found.holds
    assert str(found).startswith("2 held-out windows of 10 steps contract: by 0.")
    plain = contraction_over_windows(cell(1.5), U[:12], window=1)
    assert not plain.holds
    assert "do not all contract" in str(plain)


def test_the_factors_are_those_of_products_formed_anew():
    made, (y, z) = cell(1.0), torch.zeros(2, 1, 3, dtype=torch.float64)
    found, product, sizes = contraction_over_windows(made, U, window=10), np.eye(6), []
    for n, u in enumerate(U):
        product = step_jacobian(made, (y[0], z[0]), u).matrix().detach().numpy() @ product
        with torch.no_grad():
            y, z = made.scheme.step(made.ode, (y, z), u, made.dt)
        if n % 10 == 9:
            sizes.append(np.linalg.norm(found.L @ product @ np.linalg.inv(found.L), 2))
            product = np.eye(6)
    assert np.allclose([*found.found, *found.held_out], sizes, rtol=1e-9)


def test_the_norm_that_is_found_is_the_best_that_was_met():
    """Of shears, which the plain norm sees at their full size, and another one nearly at that of their eigenvalue."""
    shears = torch.tensor([[[0.5, 20.0], [0.0, 0.5]], [[0.5, 10.0], [0.0, 0.4]]], dtype=torch.float64)
    plain, found = (float(_plain_sizes(L, shears).max()) for L in (torch.eye(2, dtype=torch.float64), _norm_for(shears)))
    assert found < 2 < plain


def test_several_sequences_and_a_start():
    made = cell(1.0)
    y = torch.full((2, 3), 0.3, dtype=torch.float64)
    both = contraction_over_windows(made, torch.stack([U, -U], 1), (y, y), window=20)
    assert both.found.shape == (4,)
    assert both.held_out.shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cell": lemode.LEM(1, 3)}, TypeError, "give a lemode.LEMCell"),
        ({"u": U[:, 0]}, ValueError, r"u has shape \(60,\)"),
        ({"u": U * torch.nan}, ValueError, "finite numbers"),
        ({"state": (U[:2, 0], U[:2, 0])}, ValueError, r"state has a part of shape \(2,\)"),
        ({"window": 0}, ValueError, "window=0"),
        ({"window": 21}, ValueError, "60 steps: three windows of 21 need 63"),
    ],
)
def test_refused_in_a_sentence(arguments, error, message):
    given = {"cell": cell(1.0), "u": U} | arguments
    with pytest.raises(error, match=message):
        contraction_over_windows(**given)


def test_what_overflows_does_not_contract_and_is_no_error():
    made = cell(1e30)
    with torch.no_grad():
        made.ode.bias.zero_()  # at rest, where slopes are as large as the weights
    found = contraction_over_windows(made, 0 * U, window=10)
    assert np.isinf(found.factor)
    assert not found.holds
    assert found.L.tolist() == np.eye(6).tolist()
