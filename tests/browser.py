"""A real browser for pages: runs a script in a page and collects the console."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """The path of an installed browser; None without one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Visit:
    """found: what the script returned. console: the lines of the console."""

    found: Any
    console: list[str]


def visit(browser: str, page: Path, script: str) -> Visit:
    """Open a copy of `page`, run `script` (the body of a function) after it is drawn.

    The copy has the script at its end; its return value must fit into JSON.
    """
    probe = (
        "<script>addEventListener('load', () => { document.body.dataset.found = JSON.stringify("
        f"(() => {{ {script} }})()); }});</script></body>"
    )
    copy = page.with_name("probe.html")
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr")
    ended = subprocess.run(
        [browser, *options, "--virtual-time-budget=10000", "--dump-dom", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=240,
    )
    found = re.search(r'data-found="([^"]*)"', ended.stdout)
    assert found, ended.stderr[-2000:]
    console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    return Visit(json.loads(html.unescape(found[1])), console)
