"""Random LEM networks, inputs and targets for the property tests: hypothesis draws sizes and scales, numpy the arrays."""

from dataclasses import dataclass, field

import numpy as np
import torch
from hypothesis import strategies as st

from lemode import LEMCell
from lemode.analysis.network import GROUPS

# Measured quantities and bounds carry rounding errors of a few hundred float64 operations.
RTOL, ATOL = 1e-9, 1e-13
FAMILIES = ("gauss", "nonnegative", "sparse", "uniform")


@dataclass
class Case:
    d: int
    m: int
    N: int
    dt: float
    seed: int
    family: str
    scale: float
    bias: float
    input_scale: float
    target_scale: float
    scheme: str = "imex"
    cell: LEMCell = field(init=False, repr=False)

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.cell = cell_of(self.m, self.d, self.dt, self.scheme)
        shapes = {k: tuple(v.shape) for k, v in self.cell.ode.blocks()._asdict().items()}
        set_blocks(self.cell, **{k: self._draw(k, shape) for k, shape in shapes.items()})
        self.u = torch.from_numpy(self.rng.uniform(-1, 1, (self.N, self.m)) * self.input_scale)
        self.target = torch.from_numpy(self.rng.uniform(-1, 1, (self.N, self.d)) * self.target_scale)

    def _draw(self, name, shape):
        if name[0] == "b":
            # +-40 saturates a gate to within rounding
            return self.rng.choice([-40.0, 40.0], shape) if self.bias > 8 else self.rng.uniform(-self.bias, self.bias, shape)
        scale = 1.0 if name[0] == "V" else self.scale
        if self.family == "gauss":
            w = self.rng.standard_normal(shape) / np.sqrt(shape[1])
        elif self.family == "nonnegative":
            w = self.rng.uniform(0, 1, shape) / shape[1]
        elif self.family == "sparse":
            w = self.rng.standard_normal(shape) * (self.rng.uniform(size=shape) < 0.3)
        else:
            w = self.rng.uniform(-1, 1, shape)
        return scale * w

    def cube_states(self, n):
        """(y, z) in the unit cube, corners and insides mixed, each (n, d)."""
        x = self.rng.uniform(-1, 1, (2, n, self.d))
        return tuple(torch.from_numpy(a) for a in np.where(self.rng.uniform(size=x.shape) < 0.3, np.sign(x), x))

    def inputs(self, n):
        return torch.from_numpy(self.rng.uniform(-1, 1, (n, self.m)) * self.input_scale)

    def run(self, y0=None, z0=None, u=None):
        """States 0..N, each (N + 1, d)."""
        u = self.u if u is None else u
        zero = torch.zeros(self.d, dtype=torch.float64)
        states = [(zero if y0 is None else y0, zero if z0 is None else z0)]
        for u_n in u:
            states.append(self.cell.scheme.step(self.cell.ode, states[-1], u_n, self.cell.dt))
        ys, zs = zip(*states)
        return torch.stack(ys), torch.stack(zs)


def cases(max_d=8, max_N=40, dts=None, schemes=("imex",), max_scale=8.0, max_bias=9.0, min_d=1):
    """A strategy of `Case`; a bias above 8 means +-40."""
    step = st.floats(1e-3, 1.0) | st.sampled_from([1.0, 0.5, 0.999]) if dts is None else dts
    return st.builds(
        Case,
        d=st.integers(min_d, max_d),
        m=st.integers(1, 3),
        N=st.integers(1, max_N),
        dt=step,
        seed=st.integers(0, 2**32 - 1),
        family=st.sampled_from(FAMILIES),
        scale=st.floats(0.0, max_scale),
        bias=st.floats(0.0, max_bias),
        input_scale=st.sampled_from([0.0, 1.0, 30.0]),
        target_scale=st.sampled_from([0.5, 3.0, 1e3]),
        scheme=st.sampled_from(schemes),
    )


def cell_of(m, d, dt, scheme):
    cell = LEMCell(m, d, dt=min(dt, 1.0), scheme=scheme, dtype=torch.float64)
    cell._dt = dt  # statement S3 and the time-scale tests look beyond what LEMCell admits
    return cell


def network(d, m=1, dt=1.0, scheme="imex", **blocks):
    """A float64 cell whose blocks are zero but for the given ones (a number fills the block)."""
    cell = cell_of(m, d, dt, scheme)
    set_blocks(cell, **dict.fromkeys(GROUPS, 0.0) | blocks)
    return cell


def set_blocks(cell, **blocks):
    with torch.no_grad():
        for name, value in blocks.items():
            block = getattr(cell.ode.blocks(), name)
            block.copy_(torch.as_tensor(np.asarray(value, dtype=np.float64)).expand_as(block))
    cell.requires_grad_(False)  # tests that differentiate by parameters turn it on


def logit(p):
    return np.log(p) - np.log1p(-p)


def assert_bounded(actual, bound, rtol=RTOL, atol=ATOL):
    """actual <= bound, entrywise, up to rounding."""
    actual, bound = (x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x) for x in (actual, bound))
    with np.errstate(invalid="ignore"):
        allowed = bound + rtol * np.abs(bound) + atol
        holds = (actual <= bound) | (actual <= allowed)  # the first for bounds of +-inf
    assert holds.all(), f"measured {actual[~holds] if actual.ndim else actual}, bound {bound}, allowed {allowed}"


def numeric_max(f):
    """Maximiser (g, h) in [0, 1]^2 of f by a grid that zooms in: an independent check of closed forms."""
    # maxima can lie at very small g: the first grid is logarithmic there
    g, h = np.unique(np.concatenate([np.linspace(0, 1, 41), np.geomspace(1e-5, 1, 41)])), np.linspace(0, 1, 41)
    for _ in range(40):  # halves the window, keeping two cells on each side of the best point: ridges are oblique
        values = f(g[:, None], h[None, :])
        i, j = np.unravel_index(np.argmax(values), values.shape)
        best = g[i], h[j]
        g, h = (np.linspace(x[max(k - 2, 0)], x[min(k + 2, len(x) - 1)], 9) for x, k in ((g, i), (h, j)))
    return np.array(best)
