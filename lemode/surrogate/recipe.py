"""How a surrogate is trained: the numbers, their defaults and their checks; the budgets, the stages. Nothing here knows a surrogate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from .optimizers import EigenAdam
from .parameters import check_count, check_number, names_of

__all__ = [
    "BUDGETS",
    "FIELD_RECIPE",
    "FINE",
    "FREE_POWER",
    "FULL_MATRIX_LIMIT",
    "LEAST_NOISE",
    "STAGES",
    "Recipe",
    "check_seed",
    "checked_recipe",
    "make_optimizer",
    "resolve_budget",
]

# gradient steps, and the seconds that end them on a machine that is too slow
BUDGETS: dict[str, tuple[int, float]] = {"quick": (5000, 45.0), "standard": (30000, 180.0), "thorough": (150000, 1200.0)}

# the later stages fine-tune: their share of the steps, and of the peak learning rate
STAGES = ("one-step", "noise", "closed-loop", "forced")
SHARE, FINE = 0.15, 0.1

# of the cosine schedule
PEAK = 1e-2

# Of a continuous fit, the part that trains the differential equation: its share of the steps and of the peak, and its window
FLOW_SHARE, FLOW_FINE, FLOW_WINDOW = 0.4, 0.5, 20

# Input noise does not fall below this multiple of the one-step error reached: with less, free runs leave the attractor
LEAST_NOISE = 1.25

# Free runs with less or more of the power of the truth are leaving its attractor. On it power differed by some 5 per cent between runs;
# with 1.2 forecasts were half as long.
FREE_POWER = (0.9, 1.1)

# EigenAdam keeps b numbers for each parameter and decomposes b x b matrices. Small blocks cost little accuracy: the ablation has those
# of 100; above the last limit memory decides, and Adam is left.
FULL_MATRIX_LIMIT, BLOCK, MOST_NUMBERS = 3000, 360, 100_000_000


@dataclass(frozen=True)
class Recipe:
    """The numbers of a fit. Steps are gradient steps; window, washout and horizon count samples.

    Attributes
    ----------
    stages : the first is 'one-step' (teacher forcing); 'noise', 'closed-loop' and 'forced' fine-tune, and are undone unless they improve
        the free run on the validation series
    noise : standard deviation of the input noise of its stage, in units of the one-step error reached
    horizon : samples of the free runs of the closed-loop stage; those of the forced stage are longer by the washout
    lr : peak learning rate; None for `PEAK`
    lr_rise : steps in which the learning rate rises to its peak, at the beginning of a stage
    weights : per variable, in the loss; equal by default
    noisy : share of the series of a batch that get input noise
    input_noise : standard deviation of white noise on what is read of these series in the one-step stage, in increments: it falls
        geometrically from the first number to the second, but not below LEAST_NOISE of the one-step error reached. The targets are the
        true values: the network learns to return to the attractor.
    start_counts : a true start has no past to wash out, and what follows it is to be learned; not so where series were cut
    free_steps : weights whose free runs of so many steps on the validation series keep the power of the truth, within FREE_POWER, are kept
        before others whose one-step error is smaller, if theirs is below half of that of persistence; 0 not to look
    average : decay of a running average of the weights, which is then what is validated and kept; 0 for none

    Examples
    --------
    >>> recipe = Recipe(steps=1000, stages=("one-step", "noise"))
    >>> [recipe.steps_of(stage) for stage in range(2)]
    [850, 150]
    """

    steps: int = 5000
    batch_size: int = 32
    window: int = 250
    washout: int = 50
    optimizer: str = "auto"
    lr: float | None = None
    lr_rise: int = 50
    max_time: float | None = None
    validate_every: int = 50
    stages: tuple[str, ...] = ("one-step",)
    noise: float = 2.0
    horizon: int = 20
    weights: tuple[float, ...] | None = None
    input_noise: tuple[float, float] = (0.0, 0.0)
    noisy: float = 1.0
    start_counts: bool = True
    average: float = 0.0
    free_steps: int = 0

    def steps_of(self, stage: int) -> int:
        """Gradient steps of a stage: a fixed share for each that fine-tunes, the rest for the first."""
        fine = round(SHARE * self.steps)
        return self.steps - fine * (len(self.stages) - 1) if stage == 0 else fine

    @property
    def peak(self) -> float:
        """The peak learning rate."""
        return PEAK if self.lr is None else self.lr

    def discrete_part(self) -> Recipe:
        """Of a continuous fit: the map from sample to sample, from where the differential equation begins."""
        return replace(self, max_time=self._half(), stages=STAGES[:1])

    def continuous_part(self) -> Recipe:
        """Of a continuous fit: the differential equation. Its steps cost more; windows are short, as it is solved sample by sample."""
        return replace(
            self, max_time=self._half(), steps=max(1, round(FLOW_SHARE * self.steps)), window=min(FLOW_WINDOW, self.window),
            lr=FLOW_FINE * self.peak, validate_every=100,
        )  # fmt: skip

    def _half(self) -> float | None:
        return None if self.max_time is None else self.max_time / 2


# A field's series are many and alike, its windows short: a pass over the series for stored states costs as much as many steps
FIELD_RECIPE = Recipe(
    steps=30000, batch_size=12, window=16, washout=15, input_noise=(0.15, 0.003), noisy=0.5, average=0.995, start_counts=False,
    validate_every=500, free_steps=500,
)  # fmt: skip


def resolve_budget(budget: str | float, steps: int | None, max_time: float | None) -> tuple[int, float | None]:
    """Steps and seconds of a budget: a name in BUDGETS, or seconds. An explicit `steps` or `max_time` takes precedence.

    Examples
    --------
    >>> resolve_budget("quick", None, None), resolve_budget("quick", 200, None), resolve_budget(60, 200, None)
    ((5000, 45.0), (200, None), (200, 60.0))
    """
    if isinstance(budget, str):
        if budget not in BUDGETS:
            raise ValueError(f"budget={budget!r}: choose {', '.join(map(repr, BUDGETS))} or a number of seconds.")
        named_steps, named_time = BUDGETS[budget]
        if steps is not None:  # asked for so many steps: they are all done
            return steps, max_time
        return (named_steps, named_time) if max_time is None else (10**9, max_time)
    try:
        seconds = check_number("budget", budget)
    except ValueError:
        raise ValueError(
            f"budget={budget!r}: choose {', '.join(map(repr, BUDGETS))} or a positive number of seconds."
        ) from None
    return (10**9 if steps is None else steps), seconds if max_time is None else max_time


def checked_recipe(
    names: tuple[str, ...],
    default: Recipe = Recipe(),
    *,
    budget: str | float = "quick",
    steps: int | None = None,
    max_time: float | None = None,
    weights: dict[str, float] | None = None,
    **numbers: Any,
) -> Recipe:
    """The default with these numbers in it, for variables of these names; ValueError for one out of range.

    Examples
    --------
    >>> recipe = checked_recipe(("v", "w"), steps=200, weights={"v": 3.0}, lr=0.1)
    >>> recipe.steps, recipe.weights, recipe.batch_size
    (200, (3.0, 1.0), 32)
    >>> try:
    ...     checked_recipe(("v", "w"), washout=300)
    ... except ValueError as error:
    ...     print(error)
    washout=300: give a number of samples below window=250.
    """
    if steps is not None:
        steps = check_count("steps", steps)
    if max_time is not None:
        max_time = check_number("max_time", max_time, hint=", or None")
    steps, max_time = resolve_budget(budget, steps, max_time)
    r = replace(default, steps=steps, max_time=max_time, **numbers)
    return replace(
        r,
        batch_size=check_count("batch_size", r.batch_size),
        window=check_count("window", r.window),
        horizon=check_count("horizon", r.horizon),
        washout=_washout(r),
        lr=None if r.lr is None else check_number("lr", r.lr, hint=", or None"),
        noise=check_number("noise", r.noise, zero=True),
        stages=_stages(r.stages),
        weights=None if weights is None else _weights(weights, names),
        input_noise=_input_noise(r.input_noise),
        noisy=_share("noisy", r.noisy),
        average=_decay("average", r.average),
    )


def _washout(r: Recipe) -> int:
    washout = check_count("washout", r.washout, 0, ": a number of samples")
    if washout >= r.window:
        raise ValueError(f"washout={washout!r}: give a number of samples below window={r.window}.")
    return washout


def _stages(value: object) -> tuple[str, ...]:
    stages = names_of("stages", value)
    if not stages or stages[0] != "one-step" or any(s not in STAGES[1:] for s in stages[1:]):
        raise ValueError(f"stages={stages}: 'one-step' comes first, then any of 'noise', 'closed-loop', 'forced'.")
    return stages


def _weights(weights: object, names: tuple[str, ...]) -> tuple[float, ...]:
    message = f"weights={weights}: give positive numbers for variables among {', '.join(names)}, as a dict."
    if not isinstance(weights, dict) or set(weights) - set(names):
        raise ValueError(message)
    try:
        return tuple(check_number("", weights.get(name, 1.0)) for name in names)
    except ValueError:
        raise ValueError(message) from None


def _input_noise(noise: object) -> tuple[float, float]:
    try:
        first, last = (check_number("", n, zero=True) for n in (noise if isinstance(noise, (tuple, list)) else (noise, noise)))
    except ValueError:
        first, last = -1.0, 0.0
    if not (first >= last >= 0 and (last > 0 or first == 0)):
        raise ValueError(f"input_noise={noise!r}: give one number, 0 for none, or two positive ones, the larger first.")
    return first, last


def _share(name: str, value: object) -> float:
    share = check_number(name, value, hint="; no noise at all is input_noise=0")
    if share > 1:
        raise ValueError(f"{name}={value!r}: give a share above 0, up to 1; no noise at all is input_noise=0.")
    return share


def _decay(name: str, value: object) -> float:
    decay = check_number(name, value, zero=True)
    if decay >= 1:
        raise ValueError(f"{name}={value!r}: give a number from 0 to below 1.")
    return decay


def check_seed(seed: object) -> int:
    """The seed as an int; ValueError for what is none.

    Examples
    --------
    >>> check_seed(None)
    Traceback (most recent call last):
    ValueError: seed=None: give an integer, 0 or more; for another model every time, seed=int(np.random.default_rng().integers(2**32)).
    """
    return check_count("seed", seed, 0, "; for another model every time, seed=int(np.random.default_rng().integers(2**32))")


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer by name; 'auto' is EigenAdam, in blocks from FULL_MATRIX_LIMIT parameters on, while it fits in memory.

    Examples
    --------
    >>> small, large = lemode.LEM(3, 16), lemode.LEM(3, 300)
    >>> [type(make_optimizer(network, Recipe())).__name__ for network in (small, large)]
    ['EigenAdam', 'Adam']
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    size, name = sum(p.numel() for p in parameters), recipe.optimizer
    block = FULL_MATRIX_LIMIT if size <= FULL_MATRIX_LIMIT else BLOCK
    if name == "auto":
        name = "eigenadam" if size * block <= MOST_NUMBERS else "adam"
    if name == "eigenadam":
        return EigenAdam(parameters, lr=recipe.peak, block_size=block)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=recipe.peak)
    raise ValueError(f"optimizer={name!r}: choose 'auto', 'eigenadam' or 'adam'.")
