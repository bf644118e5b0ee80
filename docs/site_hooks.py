"""Hooks of mkdocs: the README as the first page, and links that lead out of docs/.

The pages are written for reading as plain files, where `../slowfast/...` is a link. The site has no
such files: it names them, or links to the repository if `repo_url` is set in mkdocs.yml.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Warnings of this logger are errors with --strict.
logger = logging.getLogger("mkdocs.hooks.site")

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?!https?:|#)[^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as index.md; its links into docs/ become local ones."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Replace the links that lead out of docs/."""
    is_readme = page.file.src_uri == "index.md"

    def replaced(match: re.Match[str]) -> str:
        text, target = match[1], match[2]
        file = target.partition("#")[0]
        if (DOCS / file).resolve().is_relative_to(DOCS) and (DOCS / file).exists():
            return match[0]
        path = ((ROOT if is_readme else DOCS) / file).resolve()
        if not path.exists():
            logger.warning("%s links to %s, which does not exist", page.file.src_uri, target)
            return match[0]
        name = path.relative_to(ROOT).as_posix()
        if config.repo_url:
            return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{name})"
        return text if name.endswith(text.strip("`")) else f"{text} (`{name}`)"

    return _LINK.sub(replaced, markdown)
