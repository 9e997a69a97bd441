"""What the site has beside the files of docs/: pages made from the repository when it is built.

The README is the first page, CONTRIBUTING and CHANGELOG are pages, and the options of every command are those of its
parser. They are not committed, so that they can't be out of date. Links between them and docs/ are rewritten; the
strict build checks them like all others.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))  # mkdocs runs this file by its path
REPO = Path(__file__).resolve().parents[2]

from options_page import options_page  # noqa: E402

# Files at the top of the repository -> pages of the site.
TOP_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "LICENSE": "LICENSE.md",
}
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    pages = {page: from_top((REPO / name).read_text(encoding="utf-8")) for name, page in TOP_PAGES.items()}
    pages["options.md"] = options_page()
    pages[TOP_PAGES["LICENSE"]] = f"# License\n\n```text\n{(REPO / 'LICENSE').read_text(encoding='utf-8')}```\n"
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    config.nav = complete_nav(config.nav, {file.src_uri for file in files.documentation_pages()})
    return files


def complete_nav(nav: list[Any], pages: set[str]) -> list[Any]:
    """The navigation of mkdocs.yml without pages that do not exist, and with those that it does not name at its end."""
    kept: list[Any] = []
    named: set[str] = set()
    for entry in nav:
        ((title, value),) = entry.items()
        items = value if isinstance(value, list) else [{title: value}]
        present = [item for item in items if next(iter(item.values())) in pages]
        named |= {next(iter(item.values())) for item in present}
        if present:
            kept.append({title: present} if isinstance(value, list) else entry)
    return [*kept, {"More": sorted(pages - named)}] if pages - named else kept


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links from docs/ to the files at the top lead to their pages."""
    return _LINK.sub(lambda match: f"]({TOP_PAGES.get(match[1].removeprefix('../'), match[1])})", markdown)


def from_top(markdown: str) -> str:
    """Links of a file at the top, as seen from docs/."""

    def link(match: re.Match[str]) -> str:
        target, mark, anchor = match[1].partition("#")
        return f"]({TOP_PAGES.get(target, target.removeprefix('docs/'))}{mark}{anchor})"

    return _LINK.sub(link, markdown)
