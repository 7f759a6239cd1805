"""The example in the README runs as it stands, with fewer gradient steps."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    code = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)[0]  # the next one needs a cluster of dask
    quick = code.replace('names=("x", "v"))', 'names=("x", "v"), steps=30, n=10, size="small")')
    assert quick != code
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(compile(quick, str(README), "exec"), scope)
    assert scope["free"].shape == (1000, 2)
    assert (tmp_path / "van_der_pol.lem").is_file()
    assert "one step ahead, test RMSE" in capsys.readouterr().out
