"""examples/gradient_bounds.py runs, and its own assertions hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "examples" / "gradient_bounds.py"


@pytest.mark.slow
def test_quick_run_shows_bounds_and_counterexamples():
    done = subprocess.run([sys.executable, str(SCRIPT), "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    sharp = [float(line.split()[-1]) for line in lines if re.match(r"  b[yz]  ", line)]
    assert len(sharp) == 2
    assert min(sharp) > 0.99  # gradient over G_rec at the optimised input
