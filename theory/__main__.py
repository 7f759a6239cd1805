"""``python -m theory`` runs every script of this folder, each in a namespace of its own: one line each, exit code 1 if one fails.

A line says what stands behind its statements: a proof in prose, which no computer has read; algebra that sympy has done; samples on which nothing
contradicted them.
"""

import os
import re
import runpy
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent


def scripts(folder: Path = HERE) -> list[Path]:
    """The scripts of a folder, in the order of their names."""
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))


# what a script that has this does
EVIDENCE = {
    "prose": r"^(# )?(\*\*)?Proof\b",
    "algebra": r"^(import|from) sympy",
    "samples": r"default_rng|manual_seed|torch\.rand",
}


def evidence(path: Path) -> str:
    """What stands behind the statements of a script: prose, algebra, samples."""
    text = path.read_text(encoding="utf-8")
    return ", ".join(word for word, pattern in EVIDENCE.items() if re.search(pattern, text, re.M)) or "numbers"


def run(path: Path) -> tuple[bool, str, float]:
    """Whether a script holds, what it states or where it failed, and its seconds."""
    start = time.perf_counter()
    try:
        found = runpy.run_path(str(path), run_name=f"theory.{path.stem}")
        held, what = True, f"{', '.join(found.get('STATEMENTS', ()))}  [{evidence(path)}]"
    except Exception:
        held, what = False, traceback.format_exc()
    return held, what, time.perf_counter() - start


def main(folder: Path = HERE, workers: int = 1) -> int:
    """Run them, so many at a time; 0 if every assertion holds."""
    paths = scripts(folder)
    width, failed = max(len(path.stem) for path in paths), 0
    with ProcessPoolExecutor(workers) as pool:
        for path, (held, what, seconds) in zip(paths, (pool.map if workers > 1 else map)(run, paths)):
            failed += not held
            print(f"{'ok  ' if held else 'FAIL'}  {path.stem:{width}}  {what}  {seconds:.1f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(workers=os.cpu_count() or 1))
