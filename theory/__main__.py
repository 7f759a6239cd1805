"""``python -m theory`` runs every script of this folder, each in a namespace of its own: one line each, exit code 1 if one fails.

A line says what stands behind its statements: a proof in prose, which no computer has read; algebra that sympy has done; samples on which nothing
contradicted them.
"""

import re
import runpy
import sys
import time
import traceback
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


def main(folder: Path = HERE) -> int:
    """Run them; 0 if every assertion holds."""
    failed = 0
    width = max(len(path.stem) for path in scripts(folder))
    for path in scripts(folder):
        start = time.perf_counter()
        try:
            found = runpy.run_path(str(path), run_name=f"theory.{path.stem}")
            word, what = "ok  ", f"{', '.join(found.get('STATEMENTS', ()))}  [{evidence(path)}]"
        except Exception:
            failed += 1
            word, what = "FAIL", traceback.format_exc()
        print(f"{word}  {path.stem:{width}}  {what}  {time.perf_counter() - start:.1f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
