"""Puts committed outputs of benchmarks, and the list of modules, where pages include them; for one that is missing, a sentence."""

from __future__ import annotations

from pathlib import Path

import api_pages
import rooms

ROOT = Path(__file__).resolve().parents[2]


def _lowered(text: str, levels: int) -> str:
    """The Markdown with its headings deeper by some levels, as it becomes part of a page."""
    out, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        out.append("#" * levels + line if line.startswith("#") and not fenced else line)
    return "\n".join(out) + "\n"


def committed(pattern: str, command: str) -> str:
    """The committed files that match, one after the other, each with its name and the command that printed it."""
    files = sorted((ROOT / "benchmarks").glob(pattern))
    if not files:
        return f"*No output is committed in this version.* `{command}` prints it.\n"
    parts = []
    for path in files:
        body = _lowered(path.read_text(), 2)
        # a figure that lies beside the file, seen from the page that includes this
        body = body.replace("](", "](../benchmarks/") if "![" in body else body
        parts.append(f"From `benchmarks/{path.name}`, printed by `{command}`.\n\n{body}")
    return "\n".join(parts)


def write_generated(folder: Path) -> None:
    """Write the included files."""
    folder.mkdir(exist_ok=True)
    texts = {
        "surrogates.md": committed("surrogates*.md", "python benchmarks/surrogates.py fhn lorenz forced ablation"),
        "chaos.md": committed("chaos*.md", "python benchmarks/chaos.py ks transfer lorenz96 closure"),
        "sequence_tasks.md": committed(
            "sequence_tasks*.md", "python benchmarks/sequence_tasks.py adding permuted noise long fat"
        ),
        "sequence_why.md": committed("sequence_why.md", "python benchmarks/sequence_why.py"),
        "irregular.md": committed("irregular*.md", "python benchmarks/irregular.py"),
        "glitches.md": committed("glitches.md", "python benchmarks/glitches.py --seeds 2"),
        "tubes.md": committed("tubes.md", "python benchmarks/tubes.py"),
        "one_series.md": committed("one_series.md", "python benchmarks/one_series.py --seeds 3"),
        "attractors.md": committed("attractors.md", "python benchmarks/attractors.py table"),
        "ks_protocol.md": committed("ks_protocol.md", "python benchmarks/ks_protocol.py --minutes 25"),
        "common_task.md": committed("common_task.md", "python benchmarks/common_task.py table"),
        "long_memory.md": committed("long_memory.md", "python benchmarks/long_memory.py table"),
        "measured.md": committed("measured*.md", "python benchmarks/measured.py"),
        "uncertainty.md": committed("uncertainty*.md", "python benchmarks/uncertainty.py fhn lorenz nino ks --seeds 3"),
        "contracts.md": committed("contracts.md", "python benchmarks/contracts.py"),
        "scale.md": committed("scale.md", "python benchmarks/scale.py exact talk train stream"),
        "parallel.md": committed("parallel.md", "python benchmarks/parallel.py"),
        "modules.md": rooms.as_markdown(set(api_pages.public_modules())),
        "layer.md": committed("layer*.md", "python benchmarks/layer.py")
        + "\n"
        + committed("conv_layer.md", "python benchmarks/conv_layer.py"),
    }
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
