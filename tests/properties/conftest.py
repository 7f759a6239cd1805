"""Hypothesis profiles: 20 examples a property in every run, 100 in `make slow`, 300 drawn anew with HYPOTHESIS_PROFILE=nightly."""

import os

import torch
from hypothesis import HealthCheck, Phase, settings

torch.set_num_threads(1)
settings.register_profile(
    "default",
    max_examples=20,
    deadline=None,
    derandomize=True,  # the same examples in every run: a failure is found again
    suppress_health_check=[HealthCheck.too_slow],
    phases=[p for p in Phase if p is not Phase.explain],  # explaining a failure takes minutes here
)
settings.register_profile("full", parent=settings.get_profile("default"), max_examples=100)
settings.register_profile(
    "nightly", parent=settings.get_profile("default"), max_examples=300, derandomize=False, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
