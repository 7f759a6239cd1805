# mypy: disable-error-code="untyped-decorator, no-untyped-def"
"""The time loop of a layer in Triton: one launch forward, one backward, a program for each tile of the batch.

A program goes through its units in tiles, so that any number of them fits. The states live in memory, where a step reads what the one
before has written; barriers keep the tiles apart. Sums are float32, with products that are not rounded to fewer bits.

Imported only where triton is there. Triton's compiler reads annotations, and knows none but its own.
"""

import triton
import triton.language as tl

__all__ = ["backward", "forward"]


@triton.jit
def _tanh(x):
    # the closed form has no digits left near zero; the series has
    s = x * x
    series = x * (1 - s / 3 * (1 - 2 * s / 5 * (1 - 17 * s / 42)))
    return tl.where(tl.abs(x) < 0.1, series, 2 * tl.sigmoid(2 * x) - 1)


@triton.jit
def _leak(x, SCHEME: tl.constexpr):
    if SCHEME == 0:
        found = x
    elif SCHEME == 1:
        found = x / (1 + x)
    else:
        series = x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5))))
        found = tl.where(x < 0.1, series, 1 - tl.exp(-x))
    return found


@triton.jit
def _slope(x, SCHEME: tl.constexpr):
    if SCHEME == 0:
        found = x * 0 + 1
    elif SCHEME == 1:
        found = 1 / ((1 + x) * (1 + x))
    else:
        found = tl.exp(-x)
    return found


@triton.jit
def _dot(x, w):
    return tl.dot(x, w, input_precision="ieee")


@triton.jit
def _times(total, x, w, at_row, at_col, here, d, D: tl.constexpr, TURNED: tl.constexpr):
    """``total (B, D)`` plus x times the rows of w that belong to the columns `at_col`, or, if not TURNED, times those columns."""
    k = tl.arange(0, D)
    for start in range(0, d, D):
        at_k = start + k
        block = (at_k < d)[:, None] & (at_col < d)[None, :]
        part = tl.load(x + at_row + at_k[None, :], mask=here & (at_k < d)[None, :], other=0.0)
        if TURNED:
            weights = tl.load(w + at_col[None, :] * d + at_k[:, None], mask=block, other=0.0)
        else:
            weights = tl.load(w + at_k[:, None] * d + at_col[None, :], mask=block, other=0.0)
        total += _dot(part, weights)
    return total


@triton.jit
def forward(
    from_input, weight_hh, weight_zy, dt, ys, zs, L, N, d, dt_n, dt_b,
    SCHEME: tl.constexpr, D: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """ys and zs ``(L + 1, N, d)``, whose first entries are the initial state, from ``from_input (L, N, 4 d)``."""
    row = tl.program_id(0) * B + tl.arange(0, B)
    here = (row < N)[:, None]
    at_row, wide = row[:, None] * d, row[:, None] * 4 * d
    dt += row * dt_b
    for _ in range(0, L):
        h = tl.load(dt, mask=row < N, other=0.0)[:, None]
        new_ys, new_zs = ys + N * d, zs + N * d
        for start in range(0, d, D):
            col = start + tl.arange(0, D)
            there, at, a = here & (col < d)[None, :], at_row + col[None, :], from_input + wide + col[None, :]
            a1 = _times(tl.load(a, mask=there, other=0.0), ys, weight_hh, at_row, col, here, d, D, True)
            az = _times(tl.load(a + 2 * d, mask=there, other=0.0), ys, weight_hh + 2 * d * d, at_row, col, here, d, D, True)
            z = tl.load(zs + at, mask=there, other=0.0)
            tl.store(new_zs + at, z + _leak(h * tl.sigmoid(a1), SCHEME) * (_tanh(az) - z), mask=there)
        tl.debug_barrier()
        for start in range(0, d, D):
            col = start + tl.arange(0, D)
            there, at, a = here & (col < d)[None, :], at_row + col[None, :], from_input + wide + col[None, :]
            a2 = _times(tl.load(a + d, mask=there, other=0.0), ys, weight_hh + d * d, at_row, col, here, d, D, True)
            ay = _times(tl.load(a + 3 * d, mask=there, other=0.0), new_zs, weight_zy, at_row, col, here, d, D, True)
            y = tl.load(ys + at, mask=there, other=0.0)
            tl.store(new_ys + at, y + _leak(h * tl.sigmoid(a2), SCHEME) * (_tanh(ay) - y), mask=there)
        tl.debug_barrier()
        from_input += N * 4 * d
        ys, zs = new_ys, new_zs
        dt += dt_n


@triton.jit
def backward(
    from_input, weight_hh, weight_zy, dt, ys, zs, grad_ys, grad_zs, grad_a,
    grad_dt, grad_y, grad_z, L, N, d, dt_n, dt_b,
    SCHEME: tl.constexpr, D: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """The adjoint of `lemode.kernels.adjoint`: gradients by the four arguments ``(L, N, 4 d)``, by dt and by the initial state.

    All pointers but those of weights and of grad_y and grad_z are to the last step, and go backwards. These two, zero before, carry the
    adjoint from step to step.
    """
    row = tl.program_id(0) * B + tl.arange(0, B)
    here = (row < N)[:, None]
    at_row, wide = row[:, None] * d, row[:, None] * 4 * d
    dt += row * dt_b
    grad_dt += row
    for _ in range(0, L):
        h = tl.load(dt, mask=row < N, other=0.0)[:, None]
        old_ys, old_zs = ys - N * d, zs - N * d
        by_dt = tl.zeros((B,), tl.float32)
        for start in range(0, d, D):
            col = start + tl.arange(0, D)
            there, at, at_a = here & (col < d)[None, :], at_row + col[None, :], wide + col[None, :]
            a = from_input + at_a
            a2 = _times(tl.load(a + d, mask=there, other=0.0), old_ys, weight_hh + d * d, at_row, col, here, d, D, True)
            ay = _times(tl.load(a + 3 * d, mask=there, other=0.0), zs, weight_zy, at_row, col, here, d, D, True)
            g2, yh = tl.sigmoid(a2), _tanh(ay)
            l2, y = _leak(h * g2, SCHEME), tl.load(old_ys + at, mask=there, other=0.0)
            span2 = (yh - y) * _slope(h * g2, SCHEME) * g2
            dy = tl.load(grad_y + at, mask=there, other=0.0) + tl.load(grad_ys + at, mask=there, other=0.0)
            tl.store(grad_a + at_a + d, dy * h * span2 * (1 - g2), mask=there)
            tl.store(grad_a + at_a + 3 * d, dy * l2 * (1 - yh * yh), mask=there)
            tl.store(grad_y + at, dy * (1 - l2), mask=there)
            by_dt += tl.sum(tl.where(there, dy * span2, 0.0), 1)
        tl.debug_barrier()
        for start in range(0, d, D):
            col = start + tl.arange(0, D)
            there, at, at_a = here & (col < d)[None, :], at_row + col[None, :], wide + col[None, :]
            a = from_input + at_a
            a1 = _times(tl.load(a, mask=there, other=0.0), old_ys, weight_hh, at_row, col, here, d, D, True)
            az = _times(tl.load(a + 2 * d, mask=there, other=0.0), old_ys, weight_hh + 2 * d * d, at_row, col, here, d, D, True)
            g1, zh = tl.sigmoid(a1), _tanh(az)
            l1, z = _leak(h * g1, SCHEME), tl.load(old_zs + at, mask=there, other=0.0)
            span1 = (zh - z) * _slope(h * g1, SCHEME) * g1
            dz = tl.load(grad_z + at, mask=there, other=0.0) + tl.load(grad_zs + at, mask=there, other=0.0)
            dz = _times(dz, grad_a + 3 * d, weight_zy, wide, col, here, d, D, False)
            tl.store(grad_a + at_a, dz * h * span1 * (1 - g1), mask=there)
            tl.store(grad_a + at_a + 2 * d, dz * l1 * (1 - zh * zh), mask=there)
            tl.store(grad_z + at, dz * (1 - l1), mask=there)
            by_dt += tl.sum(tl.where(there, dz * span1, 0.0), 1)
        tl.store(grad_dt, by_dt, mask=row < N)
        tl.debug_barrier()
        for start in range(0, d, D):
            col = start + tl.arange(0, D)
            there, at = here & (col < d)[None, :], at_row + col[None, :]
            dy = tl.load(grad_y + at, mask=there, other=0.0)
            dy = _times(dy, grad_a, weight_hh, wide, col, here, d, D, False)
            dy = _times(dy, grad_a + d, weight_hh + d * d, wide, col, here, d, D, False)
            dy = _times(dy, grad_a + 2 * d, weight_hh + 2 * d * d, wide, col, here, d, D, False)
            tl.store(grad_y + at, dy, mask=there)
        tl.debug_barrier()
        from_input -= N * 4 * d
        grad_a -= N * 4 * d
        ys, zs = old_ys, old_zs
        grad_ys -= N * d
        grad_zs -= N * d
        dt -= dt_n
        grad_dt -= N
