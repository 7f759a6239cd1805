"""The readout for the Kuramoto-Sivashinsky protocol of ks_protocol.py: random LEMs around each point, and a head that is solved for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lemode.surrogate.least_squares import StreamingQR

Step = Callable[[Tensor, Tensor, Tensor], Tensor]


class Readout:
    r"""One step of fields ``(n, points)``, of series with lengths L and intervals dt.

    .. math::

        \hat u' = W u + s\, D g, \qquad
        g(x) = \sum_j a_j(\delta) \big(w_j - w_{-j}\big)(x) + \sum_{i, q} c_{iq}(\delta) \big(f_i(x + q) + f_i(x - q)\big)

    with :math:`w_j(x) = (W u)(x + jh)`, :math:`\delta = (dt - 0.2) / 0.02`, and :math:`f = \varphi(w) + \varphi(-Rw)`, R the window
    backwards, where :math:`\varphi` are y and z of random LEMs after one step from rest. D is the difference over h, so that the mean is
    conserved, and as g is even where u is odd, the equation's mirror u(x) -> -u(-x) is the model's. a is quadratic in :math:`\delta` and
    c linear. All shifts are exact for waves on the grid; nothing but them depends on L.

    Parameters
    ----------
    units, block : LEMs of so many units each
    h, reach, far : the spacing, and how many values on each side the LEMs, and the linear part, read
    shifts : q, distances at which the head reads LEMs beside those of the point
    read : standard deviation of what the LEMs read of a field of variance one
    cut : standard deviation of the white noise that W is the Wiener filter for
    """

    DELTAS = (3, 2)  # powers of delta, with the linear part and with the LEMs

    def __init__(
        self,
        units: int = 160,
        block: int = 8,
        h: float = 0.45,
        reach: int = 6,
        far: int = 22,
        shifts: tuple[float, ...] = (0.0, 0.8, 1.6, 2.4, 3.2, 4.0),
        read: float = 0.15,
        cut: float = 1e-2,
        seed: int = 0,
    ) -> None:
        self.units, self.block, self.h, self.reach, self.far, self.shifts, self.cut = units, block, h, reach, far, shifts, cut
        generator, width = torch.Generator().manual_seed(seed), 2 * reach + 1
        normal = partial(torch.randn, generator=generator, dtype=torch.float64)
        # in the order of LEM's own blocks: 1, 2, z, y
        self.V, self.V_delta = normal(width, 4 * units) * read / math.sqrt(width), normal(4 * units) * 0.3 * read
        self.b = 2 * torch.rand(4 * units, generator=generator, dtype=torch.float64) - 1
        self.b[: 2 * units] += 2
        self.W_y = normal(units // block, block, block) * 0.1 / math.sqrt(block)
        self.linear = far * self.DELTAS[0]
        self.columns = self.linear + 2 * units * self.DELTAS[1] * len(shifts)
        self.C, self.scale = torch.zeros(self.columns, dtype=torch.float64), 1.0

    def parameters(self) -> int:
        """All numbers of it, the random ones and the filter's spectrum, too."""
        return sum(t.numel() for t in (self.V, self.V_delta, self.b, self.W_y, self.C, self.power)) + 1

    def set_scales(self, u: Tensor, L: Tensor, increment: Tensor) -> None:
        """The size of increments, and the power of fields by wavenumber."""
        power = (torch.fft.rfft(u).abs() / u.shape[-1]).square().flatten()
        edges = torch.linspace(0, 6.3, 64, dtype=torch.float64)
        which = torch.bucketize(wavenumbers(u, L).flatten(), edges)
        total, count = (torch.zeros(65, dtype=torch.float64).index_add(0, which, v) for v in (power, torch.ones_like(power)))
        there = count[1:64] > 0  # between them, it is interpolated
        self.power, self.middle = (total[1:64] / count[1:64])[there], ((edges[1:] + edges[:-1]) / 2)[there]
        self.scale = float(increment.square().mean().sqrt())

    def base(self, u: Tensor, L: Tensor) -> Tensor:
        """The waves of W u."""
        k = wavenumbers(u, L)
        P = torch.from_numpy(np.interp(k.numpy(), self.middle.numpy(), self.power.log().numpy())).exp()
        W = P / (P + self.cut**2 / u.shape[-1])
        W[:, 0] = 1.0
        return torch.fft.rfft(u) * W

    def window(self, v: Tensor, k: Tensor, points: int) -> Tensor:
        """Of waves v, the values at all distances, ``(n, points, 2 far + 1)``."""
        j = torch.arange(-self.far, self.far + 1, dtype=torch.float64)
        return torch.fft.irfft(v[:, None] * torch.exp(1j * k[:, None] * (self.h * j)[:, None]), points).transpose(1, 2)

    def known(self, v: Tensor, k: Tensor, points: int, dt: Tensor) -> tuple[Tensor, Tensor]:
        """The columns of the linear part, and the f, at each point."""
        delta = ((dt - 0.2) / 0.02)[:, None, None]
        w = self.window(v, k, points)
        straight = w[..., self.far + 1 :] - w[..., : self.far].flip(-1)
        w = w[..., self.far - self.reach : self.far + self.reach + 1]
        given = self.b + delta * self.V_delta
        f = self.states(w @ self.V + given) + self.states(-w.flip(-1) @ self.V + given)
        return tuple(torch.cat([part * delta**i for i in range(count)], -1) for part, count in zip((straight, f), self.DELTAS))

    def states(self, a: Tensor) -> Tensor:
        """y and z of LEMs after a step of 1 from rest, where their recurrent weights do not count, for V u + b."""
        first, second, az, ay = a.split(self.units, -1)
        z = first.sigmoid() * az.tanh()
        told = torch.bmm(z.reshape(-1, len(self.W_y), self.block).transpose(0, 1), self.W_y).transpose(0, 1)
        return torch.cat([second.sigmoid() * (ay + told.reshape(ay.shape)).tanh(), z], -1)

    def features(self, u: Tensor, L: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """D of all columns ``(n, points, columns)``, and W u."""
        v, k, points = self.base(u, L), wavenumbers(u, L), u.shape[-1]
        straight, f = (torch.fft.rfft(part, dim=1) * self.D(k)[..., None] for part in self.known(v, k, points, dt))
        parts = [straight, *(f * (k * q).cos()[..., None] for q in self.shifts)]
        return torch.cat([torch.fft.irfft(part, points, dim=1) for part in parts], -1), torch.fft.irfft(v, points)

    def D(self, k: Tensor) -> Tensor:
        return 2j * (k * self.h / 2).sin()

    def __call__(self, u: Tensor, L: Tensor, dt: Tensor) -> Tensor:
        return torch.cat([self._step(*part) for part in zip(u.split(16), L.split(16), dt.split(16))])

    def _step(self, u: Tensor, L: Tensor, dt: Tensor) -> Tensor:
        v, k, points = self.base(u, L), wavenumbers(u, L), u.shape[-1]
        straight, f = self.known(v, k, points, dt)
        g = torch.fft.rfft(straight @ self.C[: self.linear])
        # the head before the shifts: it leaves few numbers to shift
        apart = torch.fft.rfft(f @ self.C[self.linear :].reshape(len(self.shifts), -1).T, dim=1)
        for i, q in enumerate(self.shifts):
            g = g + apart[..., i] * (k * q).cos()
        return torch.fft.irfft(v + self.scale * self.D(k) * g, points)


def wavenumbers(u: Tensor, L: Tensor) -> Tensor:
    return 2 * math.pi * torch.arange(u.shape[-1] // 2 + 1, dtype=torch.float64) / L[:, None]


class Rows:
    """The two least-squares problems of a head: rows along the data, and the response to white noise, in increments, on what is read."""

    FRAMES, EPS = 16, 1e-3

    def __init__(self, net: Readout, u: Tensor, L: Tensor, dt: Tensor, stride: int, seed: int = 0) -> None:
        self.net, self.u, self.L, self.dt, self.stride = net, u, L, dt, stride
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.data, self.noise = (StreamingQR(net.columns, 1, net.linear) for _ in range(2))
        now, then, lengths, _ = self.frames(500)
        net.set_scales(now, lengths, then - now)

    def frames(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pairs of frames a step apart, drawn from all, with L and dt."""
        draw = partial(torch.randint, size=(count,), generator=self.generator)
        i, k = draw(high=len(self.u)), draw(high=self.u.shape[1] - self.stride)
        return self.u[i, k].double(), self.u[i, k + self.stride].double(), self.L[i], self.dt[i]

    def fill(self, rows: int, deadline: float = math.inf) -> None:
        """So many rows along the data, and a quarter as many responses; less where CPU time runs out."""
        for problem, part, share in ((self.data, self.along, 0.75), (self.noise, self.responses, 1.0)):
            begin, done = time.process_time(), 0
            while done < (rows if problem is self.data else rows / 4) and time.process_time() - begin < share * (
                deadline - begin
            ):
                f, t = part()
                # neighbours know much the same: every second point is as good
                o = int(torch.randint(0, 2, (), generator=self.generator))
                f, t = f[:, o::2].flatten(0, 1), t[:, o::2].flatten()
                problem.add(f.numpy(), t[:, None].numpy())
                done += len(t)

    def along(self) -> tuple[Tensor, Tensor]:
        now, then, L, dt = self.frames(self.FRAMES)
        f, base = self.net.features(now, L, dt)
        return f, (then - base) / self.net.scale

    def responses(self) -> tuple[Tensor, Tensor]:
        """What noise adds to the features, and what the head should answer: that it is taken away."""
        now, _, L, dt = self.frames(self.FRAMES)
        xi = torch.randn(now.shape, generator=self.generator, dtype=torch.float64)
        (up, above), (down, below) = (self.net.features(now + s * self.EPS * self.net.scale * xi, L, dt) for s in (1, -1))
        return (up - down) / (2 * self.EPS), -(above - below) / (2 * self.EPS * self.net.scale)

    def head(self, noise: float) -> Tensor:
        problem = self.data.plus(self.noise, noise) if noise else self.data
        return torch.from_numpy(problem.solve([1e-23])[0].coefficients[:, 0])


def repeated(step: Step, times: int) -> Step:
    def all_of_them(u: Tensor, L: Tensor, dt: Tensor) -> Tensor:
        for _ in range(times):
            u = step(u, L, dt)
        return u

    return all_of_them


NOISES = (1e-3, 3e-3)
ROWS = 24  # for each column


def fit(
    u: Tensor,
    L: Tensor,
    dt: Tensor,
    stride: int,
    minutes: float,
    judge: Callable[[Step], float],
    parts: int = 1,
    **settings: object,
) -> tuple[Step, dict[str, object]]:
    """A prediction step in so many equal parts; the noise is chosen by `judge`, how long a free run is good."""
    begin = time.process_time()
    net = Readout(**settings)
    rows = Rows(net, u, L, dt, stride // parts)
    rows.fill(ROWS * net.columns, begin + 30 * minutes)
    step, tried = repeated(net, parts), {}
    for noise in NOISES:
        net.C = rows.head(noise)
        tried[noise] = judge(step), net.C
    best = max(tried, key=lambda noise: tried[noise][0])
    net.C = tried[best][1]
    return step, {
        "parameters": net.parameters(),
        "seconds": time.process_time() - begin,
        "validation": tried[best][0],
        "noise": best,
        "columns": net.columns,
        "parts": parts,
        **settings,
    }
