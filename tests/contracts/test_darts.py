"""The forecaster of darts that docs/deployment.md shows, where darts is installed."""

import re
from pathlib import Path

import numpy as np
import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()


@pytest.mark.study
@pytest.mark.filterwarnings("ignore")  # darts' own
def test_the_class_of_the_page_forecasts_in_darts():
    pytest.importorskip("darts")
    (source,) = (block for block in re.findall(r"```python\n(.*?)```", TEXT, re.S) if "from darts" in block)
    found = {}
    exec(source, found)
    ahead, series = found["ahead"], found["series"]
    assert ahead.components.tolist() == ["x", "v"]
    assert ahead.time_index[[0, -1]].tolist() == [360, 399]
    # the wave is one of the linear part that every readout has, and is found to rounding: 2e-14 was seen
    np.testing.assert_allclose(ahead.values(), series[360:].values(), rtol=0, atol=1e-11)
    assert [len(x) for x in found["tested"]] == [10, 10, 10]
