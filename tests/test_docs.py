"""The documentation: every public name is in the reference, every docstring example runs, links between proofs and code are there.

That pages and references resolve is checked by `make docs-quick`.
"""

import ctypes
import doctest
import importlib
import inspect
import re
import sys
import warnings
from pathlib import Path
from types import GenericAlias

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import lemode

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import api_pages  # noqa: E402
import generated  # noqa: E402
import rooms  # noqa: E402
import theory_index  # noqa: E402

MODULES = api_pages.public_modules()
WITH_PRIVATE = [*MODULES, "lemode._renamed", "lemode._checks"]
EXAMPLES_TO_COME: tuple[str, ...] = ()
# what a user never calls: `lemode.kernels.run` and `rollout` call the backends, a shell calls `lemode.cli.main`
NO_EXAMPLE = re.compile(r"lemode\.kernels\.(?!free_run\.|pool\.)\w+\.\w+|lemode\.cli\.main")


@pytest.fixture(scope="module")
def reference():
    return api_pages.pages()


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference_once(reference, module):
    documented = re.findall(r"^\.\. (?:auto|py:)(?:class|function|data):: (\S+)", "\n".join(reference.values()), re.M)
    for name in importlib.import_module(module).__all__:
        path = api_pages.public_path(module, name)
        if inspect.ismodule(getattr(importlib.import_module(module), name)):
            continue  # lemode.systems is one, with a page of its own
        assert documented.count(path) == 1, path


@pytest.mark.parametrize("module", MODULES)
def test_public_things_have_docstrings(module):
    thing = importlib.import_module(module)
    assert thing.__doc__
    for name in thing.__all__:
        member = getattr(thing, name)
        if callable(member) and not (isinstance(member, type) and issubclass(member, ctypes.Structure)):
            assert (member.__doc__ or "").strip(), f"{module}.{name}"


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_an_example(module):
    thing = importlib.import_module(module)
    for name in thing.__all__:
        member = getattr(thing, name)
        home = f"{getattr(member, '__module__', module)}.{name}"
        if isinstance(member, GenericAlias):
            continue  # a type
        if callable(member) and not home.startswith(EXAMPLES_TO_COME) and not NO_EXAMPLE.fullmatch(home):
            assert ">>>" in (member.__doc__ or ""), home


@pytest.mark.parametrize("module", WITH_PRIVATE)
def test_docstring_examples_run(module):
    matplotlib.use("Agg")
    torch.manual_seed(0)
    if module in ("lemode.baselines.reservoir", "lemode.baselines.sindy", "lemode.systems.dysts_flows"):
        pytest.importorskip({"reservoir": "reservoirpy", "sindy": "pysindy", "dysts_flows": "dysts"}[module.rsplit(".", 1)[1]])
    # what a reader takes for granted, as in the docstrings of NumPy; else an example has the names of its module, or imports them
    names = {"lemode": lemode, "np": np, "torch": torch, "plt": plt}
    result = doctest.testmod(importlib.import_module(module), extraglobs=names, report=True)
    assert result.failed == 0


def test_scripts_of_the_theory_name_functions_that_exist():
    found = theory_index.scripts()
    assert len(found) >= 17
    for stem, (title, proved, names) in found.items():
        assert title, stem
        assert proved, stem
        for name in names:
            module, attribute = name.rsplit(".", 1)
            assert hasattr(importlib.import_module(module), attribute), f"theory/{stem}.py names {name}"
    named = {n for _, _, names in found.values() for n in names}
    assert "lemode.analysis.state_radius" in named
    assert "lemode.analysis.jacobian_bound" in named


def test_every_module_has_a_room_and_a_sentence():
    named = rooms.sentences()
    for module, sentence in named.items():
        assert rooms.room(module) in rooms.ROOMS
        assert 15 < len(sentence) < 180, f"{module}: the docstring begins with one sentence on what it is for"
        assert sentence.endswith("."), module
    shown = rooms.as_markdown(set(MODULES))
    assert all(f"`{module}` |" in shown for module in named)
    assert "_generated/modules.md" in (DOCS / "house.md").read_text()
    listed = re.findall(r":doc:`([\w.]+)`", api_pages.index(MODULES))
    assert sorted(listed) == sorted(MODULES)


def test_no_walk_of_the_house_has_more_than_eight_stops():
    """And every file and function that it names is there."""
    walks = re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", (DOCS / "house.md").read_text().split("## Four walks")[1], re.S | re.M)
    assert [title for title, _ in walks] == ["Fit", "Predict", "Forecast", "Load, then report"]
    for title, walk in walks:
        stops = re.findall(r"^\d+\. (.*?)(?=^\d+\. |\Z)", walk, re.S | re.M)
        assert 3 <= len(stops) <= 8, title
        for stop in stops:
            file, name = re.match(r"`([\w/]+\.py)`, `([\w.]+)`", stop).groups()
            code = (DOCS.parent / "lemode" / file).read_text()
            assert re.search(rf"^\s*(?:def|class) {name.rsplit('.', 1)[-1]}\b", code, re.M), f"{title}: {file} has no {name}"


def test_committed_outputs_are_included_and_missing_ones_are_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    assert "python benchmarks/x.py" in generated.committed("x*.md", "python benchmarks/x.py")
    (tmp_path / "benchmarks" / "x.md").write_text("# Title\n\n```\n# no heading\n```\n")
    text = generated.committed("x*.md", "python benchmarks/x.py")
    assert "### Title" in text
    assert "\n# no heading" in text


def test_pages_of_the_issue_exist_and_are_linked():
    index = (DOCS / "index.md").read_text()
    pages = (
        "start sequences ode_to_lem auto_theory/index bounds surrogates chaos performance choosing migrating comparison house "
        "api/index"
    )
    for page in (*pages.split(), "glossary", "bibliography", "changelog", "auto_examples/index", "tests"):
        assert re.search(rf"^{re.escape(page)}$", index, re.M), page
        assert page.startswith(("auto_", "api/")) or (DOCS / f"{page}.md").is_file()


def test_series_and_field_of_the_front_page_run(monkeypatch, tmp_path):
    """The other code of that page is in docs/figures, and draws its pictures."""
    monkeypatch.chdir(tmp_path)
    series, field = re.findall(r"```python\n(.*?)```", (DOCS / "index.md").read_text(), re.S)
    t = np.linspace(0, 20, 101)
    table = np.c_[t, np.sin(t), np.cos(t)]
    table[5, 1] = np.nan
    np.savetxt("station.csv", table, delimiter=",", header="time,temperature,pressure", comments="")
    scope = {"np": np, "lemode": lemode}
    exec(series.replace("hidden_size=8", "hidden_size=4, steps=10, train='all', verbose=0"), scope)
    assert scope["ahead"].shape == (1, 24, 2)
    quick = field.replace("2001", "101").replace("hidden_size=32", "hidden_size=4, steps=2, verbose=0")
    assert quick.count("steps=") == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lemode.surrogate.errors.FitWarning)  # of two steps
        exec(quick.replace(", budget=40.0", ""), scope)
    assert scope["free"].shape == (400, 66)


def test_pictures_of_the_front_page_are_there():
    for page in (DOCS / "index.md", DOCS.parent / "README.md"):
        for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / picture).is_file(), picture
    for script in re.findall(r"figures/\w+\.py", (DOCS / "index.md").read_text()):
        assert (DOCS / script).is_file(), script


@pytest.mark.slow
def test_code_of_start_and_migrating_runs(monkeypatch, tmp_path):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    start = re.findall(r"```python\n(.*?)```", (DOCS / "start.md").read_text(), re.S)
    quick = start[0].replace('names=("x", "v"))', 'names=("x", "v"), steps=20, n=10, size="small")')
    assert quick != start[0]
    t = np.linspace(0, 20, 201)
    x = np.stack([np.stack([np.sin(t + p), np.cos(t + p)], -1) for p in range(10)])
    scope = {"np": np, "torch": torch, "t": t, "x": x}
    np.savetxt("station.csv", np.c_[t, x[0]], delimiter=",", header="time,v,w", comments="")
    few = [
        re.sub(r"(Surrogate\()hidden_size=\d+", r"\1hidden_size=4, steps=10, train='all', verbose=0", code) for code in start
    ]
    for code in (quick, *few[1:]):
        exec(compile(code, "docs/start.md", "exec"), scope)
    assert scope["free"].shape == (1000, 2)
    assert list(scope["ahead"].columns) == ["v", "w"]
    assert np.allclose(scope["ahead"].index, 20 + 0.1 * np.arange(1, 25))
    migrating = re.findall(r"```python\n(.*?)```", (DOCS / "migrating.md").read_text(), re.S)
    weights = lemode.convert.to_authors(lemode.LEM(3, 5, dt=0.0242), prefix="cell.")
    scope = {"lemode": lemode, "state_dict": {**weights, "classifier.bias": torch.zeros(1)}}
    exec(compile(migrating[1], "docs/migrating.md", "exec"), scope)
    assert scope["rnn"].dt == 0.0242
    assert torch.equal(scope["state_dict"]["inp2hid.weight"], weights["cell.inp2hid.weight"])


def test_code_of_files_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    scope = {"lemode": lemode, "data": np.sin(np.linspace(0, 40, 200))[:, None]}
    for code in re.findall(r"```python\n(.*?)```", (DOCS / "files.md").read_text(), re.S):
        exec(code.replace('budget="thorough"', "steps=5, train='all', window=20, washout=5, verbose=0"), scope)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.ckpt", "fits.jsonl"]


def test_code_of_sequences_runs(monkeypatch, tmp_path):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    scope = {"lemode": lemode, "np": np, "torch": torch}
    for code in re.findall(r"```python\n(.*?)```", (DOCS / "sequences.md").read_text(), re.S):
        code = code.replace(", steps=3000", "")
        few = re.sub(r"(LEMClassifier\()hidden_size=\d+", r"\1hidden_size=4, verbose=0, steps=3", code)
        exec(compile(few, "docs/sequences.md", "exec"), scope)
    assert scope["model"].network_.core.hidden_size == 4
    assert len(scope["task"].classes) == 10
    assert scope["report"].holds
    plt.close("all")
