"""Every room is known by its name: no function hides its module, and what has moved is found by its old name, with a warning."""

import importlib
import pkgutil
from operator import attrgetter
from types import ModuleType

import pytest

import lemode

MODULES = [
    info.name
    for info in pkgutil.walk_packages(lemode.__path__, "lemode.")
    if not info.name.endswith((".lemode_core", ".__main__", "._fused"))  # _fused: in Triton, an extra
]


@pytest.mark.parametrize("name", MODULES)
def test_no_function_hides_its_module(name):
    importlib.import_module(name)
    parent, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(parent), attribute)
    assert isinstance(found, ModuleType), f"{name} is hidden by {found!r}"


def test_solve_is_a_function_and_no_module():
    assert callable(lemode.solve)
    with pytest.raises(ModuleNotFoundError, match=r"lemode\.solve"):
        importlib.import_module("lemode.solve")
    assert importlib.import_module("lemode.continuous.solve").solve is lemode.solve


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lemode.inputs.Samples", "lemode.continuous.inputs.Samples"),
        ("lemode.solvers.ADAPTIVE", "lemode.continuous.integrators.ADAPTIVE"),
        ("lemode.systems.currents.Smooth", "lemode.systems.currents.SmoothCurrent"),
        ("lemode.kernels.rollout.rollout", "lemode.kernels.free_run.rollout"),
        ("lemode.surrogate.fit.fit", "lemode.surrogate.fit_system.fit"),
        ("lemode.analysis.report.Row", "lemode.analysis.audit_report.Row"),
    ],
)
def test_old_names_work_and_name_the_new_one(old, new):
    (module, name), (home, attribute) = old.rsplit(".", 1), new.rsplit(".", 1)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}".replace(".", r"\.")):
        thing = getattr(importlib.import_module(module), name)
    assert thing is getattr(importlib.import_module(home), attribute)
    with pytest.raises(AttributeError, match="no attribute"):
        attrgetter("absent")(importlib.import_module(module))
