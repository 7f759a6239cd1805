"""How a surrogate is trained: the numbers, the budgets, the stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..schemes import get_scheme
from .optimizers import EigenAdam
from .parameters import check_count, check_number, names_of

__all__ = [
    "BUDGETS",
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
STAGES = ("one-step", "noise", "closed-loop")
SHARE, FINE = 0.15, 0.1

# Input noise does not fall below this multiple of the one-step error reached: with less, free runs leave the attractor
LEAST_NOISE = 1.25

# Free runs with less or more of the power of the truth are leaving its attractor. On it power differed by some 5 per cent between runs; with 1.2
# forecasts were half as long.
FREE_POWER = (0.9, 1.1)

# EigenAdam keeps b numbers for each parameter and decomposes b x b matrices. Small blocks cost little accuracy: the ablation has those
# of 100; above the last limit memory decides, and Adam is left.
FULL_MATRIX_LIMIT, BLOCK, MOST_NUMBERS = 3000, 360, 100_000_000


@dataclass(frozen=True)
class Recipe:
    """The numbers of a fit. Steps are gradient steps; window, washout and horizon count samples.

    Attributes
    ----------
    stages : the first is 'one-step' (teacher forcing); 'noise' and 'closed-loop' fine-tune, and are undone unless they improve
        the free run on the validation series
    noise : standard deviation of the input noise of its stage, in units of the one-step error reached
    horizon : samples of the free runs of the closed-loop stage
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
    warmup: int = 50
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


def checked_recipe(params: dict[str, Any], T: int, names: tuple[str, ...]) -> Recipe:
    """The recipe for hyper-parameters, T samples and these variables; ValueError for one out of range.

    Examples
    --------
    >>> params = lemode.Surrogate(steps=200, weights={"v": 3.0}).get_params()
    >>> recipe = checked_recipe(params, 1000, ("v", "w"))
    >>> recipe.steps, recipe.weights
    (200, (3.0, 1.0))
    >>> try:
    ...     checked_recipe({**params, "washout": 300}, 1000, ("v", "w"))
    ... except ValueError as error:
    ...     print(error)
    washout=300: give a number of samples below window=250.
    """
    p: dict[str, Any] = {"delays": 0, "continuous": False, "weights": None, "num_layers": 1, **params}
    for name in ("hidden_size", "num_layers", "steps", "batch_size", "window", "horizon"):
        if (name, p[name]) != ("steps", None):
            p[name] = check_count(name, p[name])
    check_seed(p["seed"])
    check_count("delays", p["delays"], 0, ": a number of previous values")
    p["noise"] = check_number("noise", p["noise"], zero=True)
    for name in ("lr", "max_time"):
        if p[name] is not None:
            p[name] = check_number(name, p[name], hint=", or None")
    scheme = get_scheme(p["scheme"])
    if check_number("dt", p["dt"]) > scheme.max_dt:
        raise ValueError(
            f"dt={p['dt']!r}: scheme {scheme.name!r} admits up to {scheme.max_dt:g} in a surrogate; use a smaller dt, or "
            "scheme='exponential', which admits every dt."
        )
    if p["train"] not in ("all", "readout"):
        raise ValueError(f"train={p['train']!r}: give 'all', or 'readout' for the head alone.")
    if p["train"] == "readout" and p["continuous"]:
        raise ValueError("train='readout' is for continuous=False: choose one of the two.")
    if check_count("washout", p["washout"], 0, ": a number of samples") >= p["window"]:
        raise ValueError(f"washout={p['washout']!r}: give a number of samples below window={p['window']}.")
    stages = names_of("stages", p["stages"])
    if not stages or stages[0] != "one-step" or any(s not in STAGES[1:] for s in stages[1:]):
        raise ValueError(f"stages={stages}: 'one-step' comes first, then any of 'noise', 'closed-loop'.")
    if T < 3:
        raise ValueError(f"the training or validation series have {T} samples: a surrogate needs at least 3.")
    weights = p["weights"]
    if weights is not None:
        message = f"weights={weights}: give positive numbers for variables among {', '.join(names)}, as a dict."
        if not isinstance(weights, dict) or set(weights) - set(names):
            raise ValueError(message)
        try:
            weights = tuple(check_number("", weights.get(name, 1.0)) for name in names)
        except ValueError:
            raise ValueError(message) from None
        if p["train"] == "readout":
            raise ValueError("weights: train='readout' solves for every variable on its own; leave them out.")
    steps, max_time = resolve_budget(p["budget"], p["steps"], p["max_time"])
    return Recipe(
        steps=steps, batch_size=p["batch_size"], window=p["window"], washout=p["washout"], optimizer=p["optimizer"],
        lr=p["lr"], max_time=max_time, stages=stages, noise=p["noise"], horizon=p["horizon"], weights=weights,
    )  # fmt: skip


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
    lr = 1e-2 if recipe.lr is None else recipe.lr
    if name == "eigenadam":
        return EigenAdam(parameters, lr=lr, block_size=block)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=lr)
    raise ValueError(f"optimizer={name!r}: choose 'auto', 'eigenadam' or 'adam'.")
