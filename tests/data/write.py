"""Writes the golden files of the format of the lemode that runs it: a model, a checkpoint, an ensemble, and what the two models forecast.

    python tests/data/write.py tests/data

Each was written by the last commit of its format; ensembles are there since format 4. Run it when `lemode.surrogate.storage.FORMAT_VERSION` has risen, and never again for
that format.
"""

import inspect
import json
import sys
import warnings
from pathlib import Path

import numpy as np

import lemode
from lemode.surrogate import storage


def data():
    t = 0.3 * np.arange(60)
    return np.stack([np.stack([np.sin(t + p), np.cos(0.5 * t + p)], -1) for p in range(5)])


def settings():
    known = inspect.signature(lemode.Surrogate).parameters
    wanted = {
        "hidden_size": 3,
        "delays": 1,
        "steps": 6,
        "window": 20,
        "washout": 5,
        "verbose": 0,
        "train": "all",
        "optimizer": "adam",
    }
    return {name: value for name, value in wanted.items() if name in known}


def main(folder):
    warnings.simplefilter("ignore")
    name = f"format-{storage.FORMAT_VERSION}"
    model = lemode.Surrogate(**settings()).fit(data(), checkpoint=folder / f"{name}.ckpt")
    model.save(folder / f"{name}.lem")
    expected = {"forecast": model.forecast(data()[0, :30], 8).tolist(), "loss": model.history_.loss}
    (folder / f"{name}.json").write_text(json.dumps(expected) + "\n")
    ensemble = ensemble_of(data())
    ensemble.save(folder / f"ensemble-{storage.FORMAT_VERSION}.lem")
    (folder / f"ensemble-{storage.FORMAT_VERSION}.json").write_text(json.dumps(said(ensemble)) + "\n")


def ensemble_of(x):
    """Three members, bands, horizons, what they were worth, and scores that have come since."""
    model = lemode.Ensemble(3, {**settings(), "delays": 0}, horizon=4).fit(x, calibration=[*x[:, ::-1], *-x])
    return model.adapted(x[0, :40], begin=20, rate=0.01)


def said(ensemble):
    """What a forecast consists of."""
    found = ensemble.forecast(data()[0, :30])
    return {name: np.asarray(getattr(found, name)).tolist() for name in ("values", "lower", "upper", "spread", "trust")}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
