"""
A label for every series
========================

Series of unequal lengths with a label each, in scikit-learn's manner: fit, class probabilities, cross-validation, and a look at what the
network works with. The labels are rare in one class, and the series are measured in units of their own.

``python examples/series_classification.py`` needs scikit-learn and takes about half a minute.
"""

# %%
# The series
# ----------
# Made up, so that the truth is known: the vibration of a machine in two directions, recorded for 100 to 300 steps. A worn bearing gives a
# short shock somewhere in the first half of the record; after it the machine looks as before. One in six is worn.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split

import lemode

parser = argparse.ArgumentParser(description="Classify series of unequal lengths.")
parser.add_argument("--out", type=Path, default=Path("out/series_classification"), help="folder for the plot")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own
options.out.mkdir(parents=True, exist_ok=True)

rng = np.random.default_rng(0)


def record(worn):
    """(T, 2), in m/s^2."""
    T = rng.integers(100, 301)
    t, phase = np.arange(T), rng.uniform(0, 2 * np.pi)
    x = np.stack([np.sin(0.3 * t + phase), np.cos(0.3 * t + phase)], 1) + rng.normal(0, 0.5, (T, 2))
    if worn:
        since = t - rng.integers(10, T // 2)
        x += 2.0 * ((since >= 0) * np.exp(-np.clip(since, 0, None) / 6) * np.cos(1.4 * since))[:, None]
    return 9.81 * x


labels = np.where(rng.random(420) < 1 / 6, "worn", "sound")
series = [record(label == "worn") for label in labels]

# %%
# Fit and judge
# -------------
# A list of arrays (T, D) is all that is needed; lengths may differ. ``class_weight="balanced"`` makes an error on a worn one as dear as its
# rarity asks, ``init="timescales"`` spreads the units' memories over 2 to 300 steps. A part of the training series is held out to say
# when to stop.

X, X_test, y, y_test = train_test_split(series, labels, test_size=120, stratify=labels, random_state=0)
settings = {"hidden_size": 16, "lr": 0.01, "class_weight": "balanced", "init": "timescales", "verbose": 0}
model = lemode.LEMClassifier(steps=600, **settings).fit(X, y)
found = model.predict(X_test)
print(f"balanced accuracy on the test series: {balanced_accuracy_score(y_test, found):.0%}")
print("found (columns) of", *model.classes_)
print(confusion_matrix(y_test, found, labels=model.classes_))
print(f"the fit: {model.history_.stopped} at step {len(model.history_.loss)}, the best was step {model.history_.best_step}")

# %%
# scikit-learn's tools take it as their own.

short = lemode.LEMClassifier(steps=400, **settings)
folds = StratifiedKFold(2, shuffle=True, random_state=0)
print("cross-validation of a short fit:", cross_val_score(short, X, y, cv=folds, scoring="balanced_accuracy").round(2))

# %%
# What it sees
# ------------
# The probability of "worn" after every step of a record, from the same network, read before the end. It rises after the shock and stays
# up when that is long over: the network remembers. The time scales of its units, along such a record, reach from a few steps to the length
# of a record.


def along(x):
    """The probability of "worn" after each step of a series."""
    u = torch.tensor(model.scales_.normalise(x), dtype=torch.float32)
    with torch.no_grad():
        outputs = model.network_.head(model.network_.core(u)[0])
    return outputs.softmax(-1)[:, list(model.classes_).index("worn")]


worn = X_test[np.flatnonzero((y_test == "worn") & (found == "worn"))[0]]
sound = X_test[np.flatnonzero((y_test == "sound") & (found == "sound"))[0]]
figure, axes = plt.subplots(2, 2, figsize=(9, 4.2), sharex="col", layout="constrained")
for column, (name, x) in enumerate((("worn", worn), ("sound", sound))):
    axes[0, column].plot(x[:, 0], lw=0.8)
    axes[0, column].set(title=f"a {name} bearing", ylabel="m/s²")
    axes[1, column].plot(along(x), "C3")
    axes[1, column].set(ylim=(-0.03, 1.03), xlabel="step", ylabel="p(worn)")
figure.savefig(options.out / "along.png", dpi=150)

u = torch.tensor(model.scales_.normalise(worn), dtype=torch.float32)
scales = lemode.analysis.timescales(model.network_.core, u)
print(f"time scales of its units, steps: {np.quantile(scales.median, 0.05):.2g} to {np.quantile(scales.median, 0.95):.2g}")
