"""Prints the packages of the extra `docs`: they are added to an environment that has lemode, which is not built again."""

import re
from pathlib import Path

text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
extra = re.search(r"^docs = \[\n(.*?)^\]", text, re.S | re.M)
assert extra, "pyproject.toml has no extra named docs"
print(*re.findall(r'^\s*"([^"]+)"', extra[1], re.M))
