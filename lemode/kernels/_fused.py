# mypy: disable-error-code="untyped-decorator, no-untyped-def"
"""The time loop of a layer in Triton: one launch forward, one backward, a program for each tile of the batch.

For as many units as registers hold; more are for `_tiled`. Imported only where triton is there. Triton's compiler reads annotations, and
knows none but its own. Sums are float32, with products that are not rounded to fewer bits.
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
def forward(
    from_input, weight_hh, weight_zy, dt, ys, zs, L, N, d, dt_n, dt_b,
    SCHEME: tl.constexpr, D: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """ys and zs ``(L + 1, N, d)``, whose first entries are the initial state, from ``from_input (L, N, 4 d)``."""
    row, col = tl.program_id(0) * B + tl.arange(0, B), tl.arange(0, D)
    there = (row < N)[:, None] & (col < d)[None, :]
    block = (col < d)[:, None] & (col < d)[None, :]
    turned = col[None, :] * d + col[:, None]
    at = row[:, None] * d + col[None, :]
    y = tl.load(ys + at, mask=there, other=0.0)
    z = tl.load(zs + at, mask=there, other=0.0)
    a = from_input + row[:, None] * 4 * d + col[None, :]
    ys += at + N * d
    zs += at + N * d
    dt += row * dt_b
    for _ in range(0, L):
        h = tl.load(dt, mask=row < N, other=0.0)[:, None]
        a1 = tl.load(a, mask=there, other=0.0) + _dot(y, tl.load(weight_hh + turned, mask=block, other=0.0))
        a2 = tl.load(a + d, mask=there, other=0.0) + _dot(y, tl.load(weight_hh + d * d + turned, mask=block, other=0.0))
        az = tl.load(a + 2 * d, mask=there, other=0.0) + _dot(y, tl.load(weight_hh + 2 * d * d + turned, mask=block, other=0.0))
        z += _leak(h * tl.sigmoid(a1), SCHEME) * (_tanh(az) - z)
        ay = tl.load(a + 3 * d, mask=there, other=0.0) + _dot(z, tl.load(weight_zy + turned, mask=block, other=0.0))
        y += _leak(h * tl.sigmoid(a2), SCHEME) * (_tanh(ay) - y)
        tl.store(ys, y, mask=there)
        tl.store(zs, z, mask=there)
        a += N * 4 * d
        ys += N * d
        zs += N * d
        dt += dt_n


@triton.jit
def backward(
    from_input, weight_hh, weight_zy, dt, ys, zs, grad_ys, grad_zs, grad_a,
    grad_dt, grad_y0, grad_z0, L, N, d, dt_n, dt_b,
    SCHEME: tl.constexpr, D: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    """The adjoint of `lemode.kernels.adjoint`: gradients by the four arguments ``(L, N, 4 d)``, by dt and by the initial state.

    All pointers but those of weights and results at the end are to the last step, and go backwards.
    """
    row, col = tl.program_id(0) * B + tl.arange(0, B), tl.arange(0, D)
    there = (row < N)[:, None] & (col < d)[None, :]
    block = (col < d)[:, None] & (col < d)[None, :]
    straight, turned = col[:, None] * d + col[None, :], col[None, :] * d + col[:, None]
    at = row[:, None] * d + col[None, :]
    wide = row[:, None] * 4 * d + col[None, :]
    from_input += wide
    grad_a += wide
    ys += at
    zs += at
    grad_ys += at
    grad_zs += at
    dt += row * dt_b
    grad_dt += row
    dy = tl.zeros((B, D), tl.float32)
    dz = tl.zeros((B, D), tl.float32)
    for _ in range(0, L):
        h = tl.load(dt, mask=row < N, other=0.0)[:, None]
        y = tl.load(ys - N * d, mask=there, other=0.0)
        z = tl.load(zs - N * d, mask=there, other=0.0)
        z_new = tl.load(zs, mask=there, other=0.0)
        a1 = tl.load(from_input, mask=there, other=0.0) + _dot(y, tl.load(weight_hh + turned, mask=block, other=0.0))
        a2 = tl.load(from_input + d, mask=there, other=0.0) + _dot(
            y, tl.load(weight_hh + d * d + turned, mask=block, other=0.0)
        )
        az = tl.load(from_input + 2 * d, mask=there, other=0.0) + _dot(
            y, tl.load(weight_hh + 2 * d * d + turned, mask=block, other=0.0)
        )
        ay = tl.load(from_input + 3 * d, mask=there, other=0.0) + _dot(
            z_new, tl.load(weight_zy + turned, mask=block, other=0.0)
        )
        g1, g2, zh, yh = tl.sigmoid(a1), tl.sigmoid(a2), _tanh(az), _tanh(ay)
        l1, l2 = _leak(h * g1, SCHEME), _leak(h * g2, SCHEME)
        span1 = (zh - z) * _slope(h * g1, SCHEME) * g1
        span2 = (yh - y) * _slope(h * g2, SCHEME) * g2
        dy += tl.load(grad_ys, mask=there, other=0.0)
        dz += tl.load(grad_zs, mask=there, other=0.0)
        by = dy * l2 * (1 - yh * yh)
        dz += _dot(by, tl.load(weight_zy + straight, mask=block, other=0.0))
        b1, b2, bz = dz * h * span1 * (1 - g1), dy * h * span2 * (1 - g2), dz * l1 * (1 - zh * zh)
        tl.store(grad_a, b1, mask=there)
        tl.store(grad_a + d, b2, mask=there)
        tl.store(grad_a + 2 * d, bz, mask=there)
        tl.store(grad_a + 3 * d, by, mask=there)
        tl.store(grad_dt, tl.sum(tl.where(there, dz * span1 + dy * span2, 0.0), 1), mask=row < N)
        dz *= 1 - l1
        dy = dy * (1 - l2) + _dot(b1, tl.load(weight_hh + straight, mask=block, other=0.0))
        dy += _dot(b2, tl.load(weight_hh + d * d + straight, mask=block, other=0.0))
        dy += _dot(bz, tl.load(weight_hh + 2 * d * d + straight, mask=block, other=0.0))
        from_input -= N * 4 * d
        grad_a -= N * 4 * d
        ys -= N * d
        zs -= N * d
        grad_ys -= N * d
        grad_zs -= N * d
        dt -= dt_n
        grad_dt -= N
    tl.store(grad_y0 + at, dy, mask=there)
    tl.store(grad_z0 + at, dz, mask=there)
