"""report.html of a folder and the data that only it needs: written together, and gone when results are replaced."""

from __future__ import annotations

import shutil
from pathlib import Path

PAGE = "report.html"
DATA = "report_data"  # folder of what only the page needs
MARK = b"<footer>edgedet "  # of pages that edgedet writes


def is_strange_page(path: Path) -> bool:
    """True when there is a file that edgedet did not write."""
    return path.is_file() and MARK not in path.read_bytes()


def page_names(folder: Path) -> frozenset[str]:
    """Names in a folder of edgedet's own page and its data, to be left behind by new results; a user's page is not."""
    return frozenset({DATA}) if is_strange_page(folder / PAGE) else frozenset({PAGE, DATA})


def remove_page(folder: Path) -> None:
    """Remove edgedet's page, first, and its data."""
    for name in sorted(page_names(folder), reverse=True):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
        else:
            (folder / name).unlink(missing_ok=True)
