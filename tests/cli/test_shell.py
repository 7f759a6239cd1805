"""How `lemode` ends, what it says where, and what a shell completes."""

import shutil
import subprocess
import sys
import warnings

import pytest

import lemode
from lemode.cli import completion, main, saved, shell


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        (None, 0, ""),
        (ValueError("size=0: give\n   a positive integer."), 1, "lemode systems: size=0: give a positive integer.\n"),
        (FileNotFoundError(2, "No such file or directory", "a.csv"), 1, "lemode systems: a.csv: no such file or directory.\n"),
        (OSError("a.lem: is a folder."), 1, "lemode systems: a.lem: is a folder.\n"),
        (ImportError("pip install it."), 1, "lemode systems: pip install it.\n"),
        (MemoryError(), 1, "lemode systems: MemoryError\n"),
        (lemode.FitDivergedError("lower lr."), 1, "lemode systems: lower lr.\n"),
        (KeyboardInterrupt(), 130, "lemode systems: interrupted.\n"),
    ],
)
def test_exit_status_and_one_line(end, status, said, monkeypatch, capsys):
    def describe(name):
        if end is not None:
            raise end
        return "all of them"

    monkeypatch.setattr(saved, "describe", describe)
    assert main(["systems"]) == status
    assert capsys.readouterr().err == said


def test_a_fault_of_ours_is_not_hidden_in_a_sentence(monkeypatch):
    monkeypatch.setattr(saved, "describe", lambda name: {}[name])
    with pytest.raises(KeyError):
        main(["systems"])


@pytest.mark.parametrize(
    "arguments", [[], ["fit"], ["fit", "a.csv"], ["forecast", "m.lem"], ["audit", "--dataa", "x"], ["nonsense"]]
)
def test_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: lemode" in capsys.readouterr().err


def test_warnings_are_lines_and_filters_are_left_alone(monkeypatch, capsys):
    def describe(name):
        warnings.warn("an outlier.", lemode.DataWarning, stacklevel=2)
        return "all"

    monkeypatch.setattr(saved, "describe", describe)
    before = warnings.filters[:], warnings.showwarning
    assert main(["systems"]) == 0
    assert capsys.readouterr().err == "lemode systems: warning: an outlier.\n"
    assert (warnings.filters[:], warnings.showwarning) == before


def test_an_interrupted_fit_saves_what_it_has(monkeypatch, tmp_path, capsys):
    """The first Ctrl-C ends the training, not the command; the shell is told."""
    (tmp_path / "data.csv").write_text("v\n" + "\n".join(f"{(k % 7) ** 2}" for k in range(60)) + "\n")
    plainly = lemode.Surrogate.fit

    def interrupted(self, *args, **kwargs):
        plainly(self, *args, **kwargs)
        self.history_.stopped = type(self.history_.stopped).INTERRUPTED
        return self

    monkeypatch.setattr(lemode.Surrogate, "fit", interrupted)
    few = ["--train", "all", "--hidden-size", "2", "--steps", "2", "--window", "10", "--washout", "2", "--quiet"]
    assert main(["fit", str(tmp_path / "data.csv"), "-o", str(tmp_path / "m.lem"), *few]) == 130
    assert lemode.Surrogate.load(tmp_path / "m.lem").names_ == ("v",)


def complete(tmp_path, *words):
    """What bash offers for the last of these words."""
    script = tmp_path / "completion.bash"
    script.write_text(completion.script(shell.build_parser()))
    line = " ".join(f"'{word}'" for word in words)
    command = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _lemode; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_choices_and_files(tmp_path):
    (tmp_path / "data.csv").touch()
    assert complete(tmp_path, "lemode", "f") == ["fit", "forecast"]
    assert complete(tmp_path, "lemode", "fit", "da") == ["data.csv"]
    assert complete(tmp_path, "lemode", "fit", "data.csv", "--hid") == ["--hidden-size"]
    assert complete(tmp_path, "lemode", "fit", "data.csv", "--train", "") == ["auto", "all", "readout", "both"]
    assert complete(tmp_path, "lemode", "fit", "data.csv", "--train", "all", "-o", "da") == ["data.csv"]
    assert complete(tmp_path, "lemode", "completion", "") == ["bash", "zsh"]


def test_completion_prints_the_script(capsys):
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out == "autoload -U bashcompinit && bashcompinit\n" + completion.script(shell.build_parser())


@pytest.mark.slow
def test_who_reads_no_further_is_left_in_peace():
    """`lemode systems | head -0`: no traceback, nothing on standard error."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m lemode completion bash | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
