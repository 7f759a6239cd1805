"""Prints the lowest versions that pyproject.toml claims, as constraints for pip: of lemode, of the layers' peers and of the tests."""

import re
import sys
from pathlib import Path

import tomllib

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
claims = project["dependencies"] + [r for name in sys.argv[1:] for r in project["optional-dependencies"][name]]
for claim in dict.fromkeys(claims):
    if claim.startswith(("torch>", "sympy")):
        continue  # constraints.txt says which torch, as any other pulls gigabytes of CUDA; and torch says which sympy
    name, version = re.fullmatch(r"([\w.-]+)\s*>=\s*([\d.]+)", claim).groups()
    print(f"{name}=={version}")
