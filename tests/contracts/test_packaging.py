"""The lock and the conda recipe say what pyproject.toml says."""

import re
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ["test", "dev", "baselines", "tune", "onnx", "docs"]
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # what conda-forge calls them


def wanted():
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines + (ROOT / "packaging" / "build.in").read_text().splitlines()[1:]]


def locked():
    text = (ROOT / "packaging" / "lock.txt").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.M)), text


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_the_lock_has_a_version_that_is_allowed(requirement):
    versions, _ = locked()
    assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)], prereleases=True), "make lock"


def test_every_package_of_the_lock_has_hashes_and_torch_is_that_of_the_constraints():
    versions, text = locked()
    entries = re.split(r"\n(?=[a-z0-9])", text.split("\n", 2)[2])
    assert len(entries) == len(versions)
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]
    (pinned,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert versions["torch"].split("+")[0] == pinned


def test_the_conda_recipe_needs_what_the_project_needs():
    recipe = (ROOT / "packaging" / "recipe.yaml").read_text()
    run = re.search(r"^  run:\n((?:    - .*\n)+)", recipe, re.M)[1].replace(
        "${{ python_min }}", re.search(r'python_min: "(.*)"', recipe)[1]
    )
    found = dict(re.findall(r"- (\S+) (\S+)", run))
    expected = {CONDA.get(r.name, r.name): str(r.specifier) for r in map(Requirement, PROJECT["dependencies"])}
    assert found == {"python": PROJECT["requires-python"]} | expected
    assert f'version: "{PROJECT["version"]}"' in recipe
