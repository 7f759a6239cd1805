"""A U-Net and a Fourier neural operator for the Kuramoto-Sivashinsky protocol of ks_protocol.py, with the interval and spacing as inputs.

Both predict the difference to the next sample, divided by its standard deviation, and are trained with Adam on its mean square for
so many seconds by the clock, under a cosine schedule over the same clock; the weights with the best free runs on the validation
series are kept. Every batch is shifted along the circle by a random number of points, and half of them are mirrored, u(x) -> -u(-x).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class Block(nn.Module):
    """Two circular convolutions, the second one scaled and shifted by what is known of the series, beside a way around them."""

    def __init__(self, inputs: int, outputs: int, known: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, inputs), nn.GroupNorm(8, outputs)
        self.conv1 = nn.Conv1d(inputs, outputs, 3, padding=1, padding_mode="circular")
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=1, padding_mode="circular")
        self.scale = nn.Linear(known, 2 * outputs)
        self.around = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        scale, shift = self.scale(known)[..., None].chunk(2, 1)
        h = self.norm2(self.conv1(gelu(self.norm1(x)))) * (1 + scale) + shift
        return self.around(x) + self.conv2(gelu(h))


class UNet(nn.Module):
    """Levels of so many channels, each with half the points of the one before.

    >>> UNet((8, 16))(torch.randn(3, 32), torch.randn(3, 2)).shape
    torch.Size([3, 32])
    """

    def __init__(self, channels: tuple[int, ...] = (32, 64, 96, 128), blocks: int = 1) -> None:
        super().__init__()
        known = 2 * channels[0]
        self.known = nn.Sequential(nn.Linear(2, known), nn.GELU(), nn.Linear(known, known), nn.GELU())
        self.first = nn.Conv1d(1, channels[0], 5, padding=2, padding_mode="circular")
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.halve, self.widen = nn.ModuleList(), nn.ModuleList()
        for c, after in pairwise(channels):
            self.down.append(nn.ModuleList(Block(c, c, known) for _ in range(blocks)))
            self.halve.append(nn.Conv1d(c, after, 4, stride=2, padding=1, padding_mode="circular"))
            self.widen.append(nn.Conv1d(after, c, 1))
            self.up.append(nn.ModuleList(Block(2 * c if i == 0 else c, c, known) for i in range(blocks)))
        self.middle = nn.ModuleList(Block(channels[-1], channels[-1], known) for _ in range(2))
        self.norm, self.last = nn.GroupNorm(8, channels[0]), nn.Conv1d(channels[0], 1, 5, padding=2, padding_mode="circular")

    def forward(self, u: Tensor, about: Tensor) -> Tensor:
        known, h, kept = self.known(about), self.first(u[:, None]), []
        for blocks, halve in zip(self.down, self.halve):
            for block in blocks:
                h = block(h, known)
            kept.append(h)
            h = halve(h)
        for block in self.middle:
            h = block(h, known)
        for blocks, widen in zip(reversed(self.up), reversed(self.widen)):
            h = torch.cat([widen(h).repeat_interleave(2, -1), kept.pop()], 1)
            for block in blocks:
                h = block(h, known)
        return self.last(gelu(self.norm(h)))[:, 0]


class FNO(nn.Module):
    """Fourier layers of the lowest wavenumbers beside pointwise ones, each with a way around it.

    >>> FNO(8, 4, 2)(torch.randn(3, 32), torch.randn(3, 2)).shape
    torch.Size([3, 32])
    """

    def __init__(self, width: int = 48, modes: int = 40, layers: int = 4) -> None:
        super().__init__()
        self.modes = modes
        self.first = nn.Conv1d(3, width, 1)
        self.spectral = nn.ParameterList(
            torch.randn(modes, width, width, 2) / math.sqrt(2 * width * width) for _ in range(layers)
        )
        self.inside = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.outside = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.last = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.GELU(), nn.Conv1d(2 * width, 1, 1))

    def forward(self, u: Tensor, about: Tensor) -> Tensor:
        points = u.shape[-1]
        h = self.first(torch.cat([u[:, None], about[..., None].expand(-1, -1, points)], 1))
        for weight, inside, outside in zip(self.spectral, self.inside, self.outside):
            v = torch.fft.rfft(h)[..., : self.modes].permute(2, 0, 1)
            v = torch.bmm(v, torch.view_as_complex(weight)).permute(1, 2, 0)
            h = h + outside(gelu(torch.fft.irfft(v, points) + inside(h)))
        return self.last(h)[:, 0]


MAKE = {"U-Net": UNet, "FNO": FNO}


class Stepper:
    """One prediction step of fields ``(n, points)`` of series with lengths L and intervals dt."""

    def __init__(self, network: nn.Module, scale: float) -> None:
        self.network, self.scale = network, scale

    @torch.no_grad()
    def __call__(self, u: Tensor, L: Tensor, dt: Tensor) -> Tensor:
        out = self.network(u.float(), about(L, dt))
        return u + self.scale * out.to(u.dtype)


def about(L: Tensor, dt: Tensor) -> Tensor:
    """What is known of a series, of order one."""
    return torch.stack([(L - 64) / 6.4, (dt - 0.2) / 0.02], -1).float()


def train(
    name: str,
    u: Tensor,
    L: Tensor,
    dt: Tensor,
    stride: int,
    seconds: float,
    judge: Callable[[Stepper], float],
    batch: int,
    lr: float,
    seed: int = 0,
    judged: int = 12,
    **size: object,
) -> tuple[Stepper, dict[str, float]]:
    """Series u ``(n, T, points)``, float32; `judge` says how long a free run is good, and is asked so many times."""
    torch.manual_seed(seed)
    begin, network = time.process_time(), MAKE[name](**size)
    n, T, _ = u.shape
    which = torch.randint(0, n * (T - stride), (4096,))
    i, k = which // (T - stride), which % (T - stride)
    scale = float((u[i, k + stride] - u[i, k]).std())
    stepper, known = Stepper(network, scale), about(L, dt)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    best, kept, steps, losses = -1.0, copy.deepcopy(network.state_dict()), 0, 0.0
    due = [seconds * (j + 1) / judged for j in range(judged)]
    while due:
        spent = time.process_time() - begin
        if spent < seconds:
            share = spent / seconds
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (steps + 1) / 200) * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
            which = torch.randint(0, n * (T - stride), (batch,))
            i, k = which // (T - stride), which % (T - stride)
            both = torch.stack([u[i, k], u[i, k + stride]]).roll(int(torch.randint(0, 8, ())), -1)
            if torch.rand(()) < 0.5:
                both = -both.flip(-1)
            loss = (network(both[0], known[i]) - (both[1] - both[0]) / scale).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps, losses = steps + 1, 0.99 * losses + 0.01 * float(loss.detach())
        if time.process_time() - begin >= due[0]:
            network.eval()
            score = judge(stepper)
            network.train()
            if score >= best:
                best, kept = score, copy.deepcopy(network.state_dict())
            now = time.process_time() - begin
            print(f"{name} {now:.0f} s, {steps} steps, loss {losses:.2e}, {score:.1f}", flush=True)
            due = [t for t in due if t > now]
    network.load_state_dict(kept)
    network.eval()
    return stepper, {"seconds": time.process_time() - begin, "steps": steps, "validation": best}
