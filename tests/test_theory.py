"""Every script in theory/ holds, and one that does not is reported."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# theory/ is a folder of scripts, not an installed package
runner = runpy.run_path(str(ROOT / "theory" / "__main__.py"))
evidence, main, scripts = runner["evidence"], runner["main"], runner["scripts"]


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.stem)
def test_script_can_be_read(path):
    """The format that sphinx-gallery reads: a title, underlined, in the docstring, and text in comment cells. `make theory` runs them."""
    text = path.read_text()
    tree = ast.parse(text)
    assert any(
        isinstance(node, ast.Assign) and node.targets[0].id == "STATEMENTS" for node in tree.body if hasattr(node, "targets")
    )
    title, rule = ast.get_docstring(tree).strip().splitlines()[:2]
    assert set(rule) == {"="}
    assert len(rule) == len(title)
    assert "\n# %%\n" in text


def test_every_statement_has_a_script_and_a_line_in_the_index():
    index = (ROOT / "theory" / "README.rst").read_text()
    assert all(f"``{path.stem}``" in index for path in scripts())


def test_the_command_says_what_stands_behind_a_statement(tmp_path):
    script = tmp_path / "claim.py"
    for text, said in [
        ("x = 1", "numbers"),
        ("# **Proof.** Clear.", "prose"),
        ("# Proof\n# -----\nimport sympy\nnp.random.default_rng(0)", "prose, algebra, samples"),
    ]:
        script.write_text(text)
        assert evidence(script) == said
    assert all("prose" in evidence(path) for path in scripts())  # no statement is only checked


def test_a_failing_script_makes_the_exit_code_1(tmp_path, capsys):
    (tmp_path / "holds.py").write_text("STATEMENTS = ('one is one',)\nassert 1 == 1\n")
    assert main(tmp_path) == 0
    (tmp_path / "wrong.py").write_text("STATEMENTS = ('x',)\nassert 1 == 2\n")
    assert main(tmp_path) == 1
    out = capsys.readouterr().out
    assert "ok    holds  one is one  [numbers]" in out
    assert "FAIL  wrong" in out
    assert "AssertionError" in out


def test_the_command_hands_the_exit_code_on(tmp_path):
    (tmp_path / "theory").mkdir()
    (tmp_path / "theory" / "__main__.py").write_text((ROOT / "theory" / "__main__.py").read_text())
    (tmp_path / "theory" / "wrong.py").write_text("raise SystemError\n")
    done = subprocess.run([sys.executable, "-m", "theory"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAIL  wrong" in done.stdout
