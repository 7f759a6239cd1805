"""Which faults put into lemode/analysis its tests find: drawn mutants, each run against the tests of its module; Markdown.

    python benchmarks/mutants.py --log build/mutants.jsonl > benchmarks/mutants.md

A mutant is one change: another operator or comparison, a term or a factor dropped, another constant, min for max, a sign, a negated
condition, a call such as `outward` or `abs` left out, a statement left out. Docstrings, messages, annotations and __str__ are left
alone, and so is the number of roundings that `outward` and its like are told, of which they allow twice as many. Mutants are drawn from
the files in proportion to their lines, and run in a drawn order, so that any beginning is a sample too. All happens in a copy of the
checkout. What has been run is kept in the log and not run again, survivors with ``--again``.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# here, so that no child has to: what tests import
import mpmath  # noqa: F401
import pytest
import scipy.integrate  # noqa: F401
import torch  # noqa: F401

ROOT = Path(__file__).parents[1]
SECONDS = 120  # of a core, for a mutant; one that takes longer, as one that loops for ever does, is caught

# Whatever has no line of its own is looked for in test_<name>.py. The fast ones first: a mutant's run ends with the first failure.
COMMON = ["referee", "extremes", "bounds"]
TESTS = {
    "adjoint": ["referee", "auditing", "10_rounding", "G_gradients", "rounding"],
    "audit_report": ["statements", "referee", "auditing", "../report/test_page", "../report/test_model"],
    "auditing": ["statements", "auditing", "referee", "extremes"],
    "bounds": [*COMMON, "S_states", "J_jacobians", "rounding", "auditing"],
    "convergence": ["convergence"],
    "trapping": ["trapping", "referee"],
    "discretization": [*COMMON, "6_discretization", "rounding", "convergence"],
    "enclosure": ["enclosure", "tube", "8_along_data", "windows", "rounding", "horizon"],
    "engine": [*COMMON, "10_rounding", "rounding", "sweeps", "G_gradients"],
    "gradients": [*COMMON, "argument_order", "auditing", "G_gradients", "rounding"],
    "horizon": ["horizon", "8_along_data"],
    "inverse": [*COMMON, "argument_order", "5_stability", "rounding", "auditing"],
    "jacobian": ["argument_order", *COMMON, "enclosure", "J_jacobians", "G_gradients"],
    "lyapunov": ["lyapunov"],
    "lyapunov_network": ["lyapunov", "extremes"],
    "network": [*COMMON, "argument_order", "auditing", "J_jacobians", "rounding"],
    "products": [*COMMON, "J_jacobians", "auditing", "rounding"],
    "recursion": [*COMMON, "auditing", "G_gradients", "rounding"],
    "rounding": ["10_rounding", "rounding", "extremes", "8_along_data", "G_gradients"],
    "sizes": [*COMMON, "J_jacobians", "rounding", "5_stability"],
    "stability": [*COMMON, "argument_order", "5_stability", "rounding", "auditing"],
    "statements": ["statements", "referee", "auditing", "../report/test_page"],
    "sweeps": ["sweeps", "extremes", "9_sweeps"],
    "time_scales": ["time_scales", "extremes"],
    "tangent": ["lyapunov", "extremes"],
    "tube": ["tube", "extremes", "horizon", "8_along_data"],
    "windows": ["windows", "extremes", "rounding", "8_along_data"],
}

# mutants, as they are printed, that no test can catch, and why
SLACK = "what is rounded outward next allows for more than this takes off, twice the roundings that it is told and 16 more"
WIDER = "a bound that is wider by a roundoff or so"
EQUIVALENT: dict[str, str] = {
    "enclosure.py:113: 4 -> 5": WIDER,
    "horizon.py:364: 8 -> 9": WIDER,
    "rounding.py:125: 2 * FUNCTION + 2 -> 2 * FUNCTION": SLACK,
    "enclosure.py:208: v * total -> v": "n counts two more sums than there are, of a partial sum each, which is at least half of the total",
    "auditing.py:418: -1 -> 1": "of an array of two axes",
    "auditing.py:431: -1 -> 1": "of an array of two axes",
    "inverse.py:71: 1 -> 2": "of a leak of 1 the quotient is infinite as well",
    "lyapunov.py:285: 1e-09 -> 5e-10": "either is a million times what a quotient is rounded by",
    "tangent.py:179: 3 -> 4": "a choice, of how much is taken for scatter: 2.0 standard deviations or 1.7",
    "discretization.py:105: x > 1e-200 -> x >= 1e-200": "they differ at one number, where either answer is right to all digits",
    "gradients.py:369: first * (1 - 8 * U) -> first / (1 - 8 * U)": "the growth it is taken from is rounded outward by more than this "
    "takes off",
    "gradients.py:309: growth <= float(inward(linearised, 4)) -> growth < float(inward(linearised, 4))": "they differ at a tie to the "
    "last bit, where either answer is right",
    "auditing.py:61: 1000 -> 999": "a default, of how many states are looked at; no statement depends on it",
    "auditing.py:148: 6 -> 7": "a choice, from which decade on a note is shown; no statement depends on it",
    "auditing.py:324: 1.0 -> 2.0": "a number below all ratios, which are not negative; so is the other",
    "auditing.py:334: True -> False": "strict=True of a zip of two and two",
    "bounds.py:111: above(-np.expm1(-taken), FUNCTION) -> -np.expm1(-taken)": SLACK,
    "bounds.py:202: outward(1 + corner, 4) -> 1 + corner": SLACK,
    "engine.py:221: np.floor(N) -> np.ceil(N)": "either is N where N is an integer, and only there",
    "engine.py:269: 0.0 -> 1.0": "both ends of [0, 1] are candidates, whatever an undefined point becomes",
    "jacobian.py:346: 0 -> 1": "of the states only the shape is read, which all of them share",
    "sizes.py:57: outward(b.rad[0] + 2 * U * np.abs(b.mid[0]), 2) -> b.rad[0] + 2 * U * np.abs(b.mid[0])": "the radius of a leak counts "
    "four roundings of a function where there is less than one, and this is a 1e-15th of that radius",
    "tube.py:209: outward(fresh, 2 * size) -> fresh": SLACK,
    "windows.py:73: 20 -> 19": "a default, of how long a window is; a statement holds for any",
}

BINARY = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult}
COMPARE = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
NAMES = {"min": "max", "minimum": "maximum", "amin": "amax", "any": "all", "floor": "ceil", "sinh": "cosh", "argmin": "argmax"}
NAMES |= {b: a for a, b in NAMES.items()}
DROPPED = {"outward", "inward", "above", "abs", "sqrt", "exp", "log", "square"}  # calls, of which the argument is left


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may be replaced by."""

    def but(**fields: object) -> ast.AST:
        other = copy.copy(node)
        for name, value in fields.items():
            setattr(other, name, value)
        return other

    match node:
        case ast.BinOp():
            if type(node.op) in BINARY:
                yield but(op=BINARY[type(node.op)]())
                yield node.left
                if not isinstance(node.op, ast.Pow):
                    yield node.right
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            yield node.operand
        case ast.BoolOp():
            yield but(op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.Compare():
            for other in COMPARE[type(node.ops[0])]:
                yield but(ops=[other(), *node.ops[1:]])
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield ast.Constant(node.value + 1)
            if node.value not in (0, 1):
                yield ast.Constant(node.value / 2 if isinstance(node.value, float) else node.value - 1)
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            if name in NAMES:
                field = "id" if isinstance(node.func, ast.Name) else "attr"
                other = copy.copy(node.func)
                setattr(other, field, NAMES[name])
                yield but(func=other)
            if name in DROPPED and node.args:
                yield node.args[0]
            elif name in DROPPED and isinstance(node.func, ast.Attribute):  # x.abs()
                yield node.func.value
        case ast.If() | ast.While() | ast.IfExp():
            yield but(test=ast.UnaryOp(ast.Not(), node.test))
        case ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Return(value=ast.expr()):
            yield ast.Return(ast.Constant(None))


class Mutation(ast.NodeTransformer):
    """The change of a number, or none; counts them."""

    def __init__(self, which: int = -1) -> None:
        self.which, self.count, self.at, self.text = which, 0, 0, ""

    def visit(self, node: ast.AST) -> ast.AST:
        """Node, changed or not."""
        for other in changes(node):
            if self.count == self.which:
                self.at = node.lineno
                self.text = " -> ".join(ast.unparse(ast.fix_missing_locations(x)).split("\n")[0][:100] for x in (node, other))
            self.count += 1
            if self.count == self.which + 1:
                return other
        return node if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom) else self.generic_visit(node)

    def visit_all(self, node: ast.AST) -> ast.AST:
        """Of a module."""
        return ast.fix_missing_locations(self.visit(node))

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Into what is neither an annotation nor for people to read."""
        kept: dict[str, object] = {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("outward", "inward", "above"):
            node.args[0] = self.visit(node.args[0])
            return node
        if isinstance(node, ast.FunctionDef):
            if node.name in ("__str__", "__repr__", "_repr_html_"):
                return node
            kept = {"returns": node.returns, "decorator_list": node.decorator_list}
        elif isinstance(node, ast.arg | ast.AnnAssign):
            kept = {"annotation": node.annotation}
        for name in kept:
            setattr(node, name, [] if name == "decorator_list" else None)
        super().generic_visit(node)
        for name, value in kept.items():
            setattr(node, name, value)
        return node


def drawn(count: int, seed: int) -> list[tuple[str, int, str]]:
    """Module, number of the change, and its text, in a drawn order."""
    found = []
    sources = {p.stem: p.read_text() for p in sorted((ROOT / "lemode" / "analysis").glob("*.py")) if p.stem != "__init__"}
    lines = sum(s.count("\n") for s in sources.values())
    for name, source in sources.items():
        every = Mutation()
        every.visit_all(ast.parse(source))
        rng = random.Random(f"{seed} {name}")  # a change of one file leaves the mutants of the others
        for which in rng.sample(range(every.count), min(every.count, round(count * source.count("\n") / lines))):
            one = Mutation(which)
            one.visit_all(ast.parse(source))
            found.append((name, which, f"{name}.py:{one.at}: {one.text}"))
    return sorted(found, key=lambda mutant: random.Random(f"{seed} {mutant[2]}").random())


def files(module: str, tests: Path) -> list[str]:
    """The test files of a module."""
    found = []
    for name in TESTS.get(module, [module]):
        folder = "properties" if name[0].isdigit() or name[1] == "_" else "analysis"
        path = tests / folder / (f"{name}.py" if "/" in name else f"test_{name}.py")
        found.append(str(path.resolve()))
    return found


def run(copied: Path, arguments: list[str]) -> tuple[int, float]:
    """pytest's exit status in a child that imports lemode from the copy, 124 where it took too long; seconds of a core."""
    child = os.fork()
    if child == 0:
        status = 99  # the fault is here, and not in the mutant
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))  # a busy machine catches nothing
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            os.chdir(copied)
            # an editable install's finder would come first, and bring the checkout
            sys.meta_path[:] = [f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__]
            sys.path.insert(0, str(copied))
            if Path(str(importlib.util.find_spec("lemode").origin)).is_relative_to(copied):
                status = int(pytest.main(["-x", "-q", "-n", "0", "--tb=no", "-p", "no:cacheprovider", *arguments]))
        finally:
            os._exit(status)
    end = time.monotonic() + 10 * SECONDS
    while time.monotonic() < end:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return 124 if code in (-signal.SIGXCPU, -signal.SIGKILL) else code, round(used.ru_utime + used.ru_stime, 1)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124, float(SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=120, help="start none after that")
    parser.add_argument("--again", action="store_true", help="survivors once more")
    parser.add_argument("--log", type=Path, default=Path("build/mutants.jsonl"))
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    log = dict(map(json.loads, options.log.read_text().splitlines())) if options.log.exists() else {}
    chosen, end = drawn(options.mutants, options.seed), time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder).resolve()
        for name in ("lemode", "tests", "benchmarks", "theory"):
            shutil.copytree(ROOT / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copied)
        core = Path(sys.prefix).glob("lib/python*/site-packages/lemode/kernels/lemode_core.*")
        for file in core:  # an editable install keeps it there
            shutil.copy(file, copied / "lemode" / "kernels")
        for module, which, text in chosen:
            again = options.again and log.get(text, [1])[0] == 0
            if (text in log and not again) or text in EQUIVALENT or time.monotonic() > end:
                continue
            original = (ROOT / "lemode" / "analysis" / f"{module}.py").read_text()
            tests = files(module, copied / "tests")
            if f"unchanged {module}" not in log:
                status, used = run(copied, tests)
                print(f"unchanged {module}: {used} s", file=sys.stderr, flush=True)
                if status != 0:
                    raise SystemExit(f"without a mutant the tests of {module} end with {status}: mend that first.")
                log[f"unchanged {module}"] = [0, 0.0]
            mutant = copied / "lemode" / "analysis" / f"{module}.py"
            mutant.write_text(ast.unparse(Mutation(which).visit_all(ast.parse(original))))
            status, used = run(copied, tests)
            mutant.write_text(original)
            if status in (4, 5, 99):
                raise SystemExit(f"{text}: pytest ended with {status}; see how it was called.")
            log[text] = [status, used]
            with options.log.open("a") as file:
                file.write(json.dumps([text, log[text]]) + "\n")
    done = [text for _, _, text in chosen if text in log or text in EQUIVALENT]
    same = [text for text in done if text in EQUIVALENT]
    alive = [text for text in done if text not in EQUIVALENT and log[text][0] == 0]
    real = len(done) - len(same)
    print(f"{len(done)} of {len(chosen)} drawn mutants were run, seed {options.seed}; {len(same)} are equivalent.")
    print(f"Of the other {real}, {real - len(alive)} were caught: {100 * (real - len(alive)) / max(real, 1):.1f} %.\n")
    print(f"By running out of {SECONDS} s of a core: {sum(log.get(text, [0])[0] == 124 for text in done)}.\n")
    print("Survivors that no reason was found for:\n\n" + ("\n".join(f"- `{text}`" for text in alive) or "none") + "\n")
    print("Equivalent:\n\n" + ("\n".join(f"- `{text}`: {EQUIVALENT[text]}" for text in same) or "none"))


if __name__ == "__main__":
    main()
