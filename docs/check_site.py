"""Opens pages of the built site in headless Chromium: maths is rendered, no raw LaTeX in the text, no errors on the console.

    python docs/check_site.py docs/_build/html [--shots FOLDER]

Skips with a message where there is no Chromium. Needs no other package: it serves the site on localhost and reads what Chromium prints.
"""

from __future__ import annotations

import argparse
import functools
import html
import http.server
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from pathlib import Path
from typing import ClassVar

PAGES = {  # page: whether it has maths
    "index.html": True,
    "start.html": False,
    "ode_to_lem.html": True,
    "bounds.html": True,
    "auto_theory/state_bounds.html": True,
    "auto_theory/jacobian_bounds.html": True,
    "auto_examples/fitzhugh_nagumo.html": False,
    "auto_examples/index.html": False,
    "api/lemode.lem.html": True,
    "api/lemode.analysis.bounds.html": True,
}
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0",
)  # fmt: skip
LATEX = re.compile(r"\\(?:frac|hat|tanh|sigma|odot|Delta|le\b|begin|mathrm|lambda|text\b)")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that keeps to itself what it serves, and remembers what it could not."""

    missing: ClassVar[list[str]] = []

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def log_error(self, *args: object) -> None:
        """Remember a page that is not there; browsers ask for an icon by themselves."""
        if "favicon" not in self.path:
            self.missing.append(self.path)


def visible_text(dom: str) -> str:
    """The text of a page without scripts, code and downloads."""
    dom = re.sub(r"<(script|style|head|pre|code|template)\b.*?</\1>", " ", dom, flags=re.S)
    return html.unescape(re.sub(r"<[^>]+>", " ", dom))


def run(chromium: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=30000", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=180)


def broken_links(site: Path) -> list[str]:
    """Links inside the site whose page or anchor is not there."""
    files = {path.resolve(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    anchors = {path: set(re.findall(r"\b(?:id|name)=\"([^\"]+)\"", text)) for path, text in files.items()}
    broken = []
    for path, text in files.items():
        for link in set(re.findall(r"<(?:a|img|link|script)\b[^>]*?\b(?:href|src)=\"([^\"]+)\"", text)):
            link = html.unescape(link)
            if re.match(r"[a-z]+:|//", link):
                continue
            file, _, anchor = link.partition("#")
            file = urllib.parse.unquote(file.split("?")[0])
            target = (path.parent / file).resolve() if file else path
            if not target.exists():
                broken.append(f"{path.relative_to(site.resolve())}: {link}")
            elif anchor and target in anchors and urllib.parse.unquote(anchor) not in anchors[target]:
                broken.append(f"{path.relative_to(site.resolve())}: {link} (no such anchor)")
    return sorted(broken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--shots", type=Path, help="write a screenshot of every page to this folder")
    parser.add_argument("--links", action="store_true", help="check the links inside the site, and nothing else")
    options = parser.parse_args()
    if not (options.site / "index.html").is_file():
        print(f"{options.site}: no site there; run make docs first.", file=sys.stderr)
        return 2
    broken = broken_links(options.site)
    print(*broken, f"{len(broken)} broken links inside the site", sep="\n")
    if options.links or broken:
        return int(bool(broken))
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("skipped: there is no Chromium here (Debian: apt-get install chromium).")
        return 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(options.site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root, failed = f"http://127.0.0.1:{server.server_port}", 0
    for page, maths in PAGES.items():
        Quiet.missing.clear()
        done = run(chromium, "--dump-dom", f"{root}/{page}")
        problems = [line.split("CONSOLE", 1)[1][:160] for line in done.stderr.splitlines() if "CONSOLE" in line]
        problems += [f"not found: {path}" for path in Quiet.missing]
        rendered, text = done.stdout.count("<mjx-container"), visible_text(done.stdout)
        if maths and not rendered:
            problems.append("no maths was rendered")
        if "<mjx-merror" in done.stdout or "data-mjx-error" in done.stdout:
            problems.append("MathJax reports an error in a formula")
        if found := LATEX.search(text):
            problems.append(f"raw LaTeX in the text: {text[max(0, found.start() - 40) : found.end() + 40]!r}")
        if elsewhere := set(re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?://(?!127\.)[^\"]+)", done.stdout)):
            problems.append(f"loads from elsewhere: {sorted(elsewhere)}")
        print(f"{'FAIL' if problems else 'ok  '}  {page:40} {rendered:4} formulas" + "".join(f"\n      {p}" for p in problems))
        failed += bool(problems)
        if options.shots is not None:
            options.shots.mkdir(parents=True, exist_ok=True)
            shot = options.shots.resolve() / f"{page.replace('/', '_')}.png"
            run(chromium, f"--screenshot={shot}", "--window-size=1300,1600", "--hide-scrollbars", f"{root}/{page}")
    server.shutdown()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
