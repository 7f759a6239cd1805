"""Links between statements, functions and tests, made from what the scripts in theory/ say themselves.

- Under every function that a script names, the reference says which statements it computes and links to their proofs.
- In all pages, a literal that is the path of a documented name, of a script in theory/ or of the property tests becomes a link.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import rooms
from api_pages import public_modules
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode
from theory_index import scripts

from lemode.analysis.statements import STATEMENTS


def _document(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """The statements of a function, after its text."""
    proofs = [(stem, title, s) for stem, (title, s, names) in scripts().items() if name in names]
    if proofs:
        lines += ["", ".. rubric:: Proofs", ""]
        for stem, title, statements in proofs:
            said = "; ".join(f"{n} ({STATEMENTS[n].title})" for n in statements)
            lines.append(f"- :doc:`/auto_theory/{stem}`: {said or title}")
        lines.append("")


def _star_in_shapes(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """The star of ``x : (n, d, *grid)`` is one, and begins no emphasis."""
    for k, line in enumerate(lines):
        if re.match(r"\s*[\w(][\w, ()]* : ", line) or "``" not in line:
            lines[k] = re.sub(r"(?<=, )\*(?=\w+\))", r"\\*", line)


def _link_literals(app: Sphinx, doctree: nodes.document) -> None:
    docname = app.env.docname
    in_theory = docname.startswith("auto_theory")
    if docname in ("changelog",):
        return
    known = {n for _, _, names in scripts().values() for n in names}
    short = {n.rsplit(".", 1)[1]: n for n in known if n.startswith("lemode.analysis.")}
    for node in list(doctree.findall(nodes.literal)):
        if isinstance(node.parent, (addnodes.pending_xref, nodes.reference, nodes.title)) or node.get("classes") == ["xref"]:
            continue
        text = node.astext().strip()
        bare = text.split("(")[0]
        if bare in rooms.sentences() and bare not in public_modules():
            continue  # a module without a page
        if re.fullmatch(r"lemode(\.\w+)+", bare):
            _wrap(node, docname, "py", "obj", bare)
        elif in_theory and bare in short:
            _wrap(node, docname, "py", "obj", short[bare])
        elif m := re.fullmatch(r"theory/(\w+)\.py", text):
            _wrap(node, docname, "std", "doc", f"/auto_theory/{m[1]}")
        elif m := re.fullmatch(r"examples/(\w+)\.py", text):
            _wrap(node, docname, "std", "doc", f"/auto_examples/{m[1]}")
        elif in_theory and text in scripts():
            _wrap(node, docname, "std", "doc", f"/auto_theory/{text}")
        elif re.match(r"tests/properties\b", text):
            _wrap(node, docname, "std", "doc", "/tests")


def _wrap(node: nodes.literal, docname: str, domain: str, role: str, target: str) -> None:
    link = addnodes.pending_xref(
        "", refdomain=domain, reftype=role, reftarget=target, refexplicit=True, refwarn=True, refdoc=docname
    )
    node.replace_self(link)
    link += node


@cache
def _paths() -> dict[str, str]:
    """Every path under which a public name can be reached, with its public path."""
    import importlib

    from api_pages import public_modules, public_path

    found = {}
    for module in public_modules():
        for name in importlib.import_module(module).__all__:
            found[f"{module}.{name}"] = public_path(module, name)
    return found


def _resolve(app: Sphinx, env: object, node: addnodes.pending_xref, contnode: nodes.Element) -> nodes.Node | None:
    """Names that docstrings use in single backticks: another path of a public name, a unique short form, or an argument."""
    if node.get("refdomain") != "py" or node.get("reftype") not in ("obj", "func", "class", "meth", "mod"):
        return None
    target = node["reftarget"].lstrip("~")
    python = app.env.domains["py"]
    paths = _paths()
    candidates = {paths[target]} if target in paths else {full for full in python.objects if full.endswith(f".{target}")}
    candidates = {paths.get(c, c) for c in candidates} & set(python.objects)
    if len(candidates) > 1:  # the one that is nearest to where it is named
        here = node.get("py:module") or ""
        near = {c for c in candidates if c.startswith(here + ".")}
        candidates = near if len(near) == 1 else {min(candidates, key=lambda c: (c.count("."), c))}
    if candidates:
        (full,) = candidates
        entry = python.objects[full]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, full)
    if re.fullmatch(r"[a-z_]\w*|[A-Z][A-Z_\d]+|[\w./]*/[\w./]*|\w+\(.*\)", target) and not node.get("refexplicit"):
        return contnode  # an argument, a constant of the module or a file, in the typeface of code
    return None


def _back_links(app: Sphinx, error: Exception | None) -> None:
    """viewcode's links from a source to the reference know one path of a name; those that miss are led to the path documented."""
    modules = Path(app.outdir) / "_modules"
    if error or not modules.is_dir():
        return
    anchors: dict[Path, set[str]] = {}

    def mended(page: Path, match: re.Match[str]) -> str:
        target = (page.parent / match[1]).resolve()
        if target not in anchors:
            anchors[target] = set(re.findall(r'\bid="([^"]+)"', target.read_text())) if target.is_file() else set()
        if match[2] in anchors[target]:
            return match[0]
        parts = match[2].split(".")
        for k in range(1, len(parts)):  # the longest end of the path that a documented name has
            end = "." + ".".join(parts[k:])
            found = sorted((a for a in anchors[target] if a.startswith("lemode.") and a.endswith(end)), key=len)
            if found:
                return f'href="{match[1]}#{found[0]}"'
        return f'href="{match[1]}"'

    for page in modules.rglob("*.html"):
        text = page.read_text()
        new = re.sub(r'href="([^"#:]*api/[^"#]+)#([^"]+)"', lambda m, page=page: mended(page, m), text)
        if new != text:
            page.write_text(new)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.connect("autodoc-process-docstring", _star_in_shapes, priority=100)  # before numpydoc reads them
    app.connect("autodoc-process-docstring", _document, priority=800)
    app.connect("doctree-read", _link_literals)
    app.connect("missing-reference", _resolve)
    app.connect("build-finished", _back_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
