"""report.html of a run again, and the page that compares several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.api.public import public
from edgedet.errors import ConfigError, DataError
from edgedet.fileio import PathLike, as_path, refuse_other_file, require_out_file
from edgedet.outputs.page_files import PAGE
from edgedet.page.blocks import Page
from edgedet.page.deployments import deployment_page, is_deployment, page_of_deployment, read_deployment
from edgedet.page.pages import write_comparison, write_page
from edgedet.page.values import page_values


@dataclass(frozen=True)
class Reported:
    """A page that was made, or that lies in a deployment."""

    path: Path
    runs: tuple[Path, ...]
    page: Page  # what it says

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict: where the page is, and what it says without its charts and pictures."""
        return {"report": str(self.path), "runs": [str(run) for run in self.runs], **page_values(self.page)}


@public
def report(*runs: PathLike, out: PathLike | None = None) -> Path:
    """Make the page of a run again, or one page that compares several.

    Args:
        runs: folders of train, quantize, substitute, inspect, evaluate or deploy. The page of a deployment is as it was
            written, and is not made again.
        out: HTML file of a comparison; None: comparison.html in the current folder. One run's page is its report.html.
    Returns:
        The file: it needs nothing else, open it in a browser.
    Raises:
        ConfigError: a folder is no run, `out` with one run, or `out` is another file.
        DataError: a file of a folder is not as edgedet writes it.
        ToolchainError: Jinja2 is missing.
    """
    return make_report(*runs, out=out).path


def make_report(*runs: PathLike, out: PathLike | None = None) -> Reported:
    """As `report`; gives what the page says, too."""
    path = Path("comparison.html") if out is None else as_path(out, "out")
    folders = [as_path(run, "runs") for run in runs]
    if not folders:
        raise ConfigError("`runs`: expected at least one folder of a run")
    if len(folders) == 1:
        if out is not None:
            raise ConfigError(f"`out` {out}: only for several runs; the page of one is {folders[0] / PAGE}")
        return _of_files(lambda: _of_one(folders[0]), folders)
    require_out_file(path, "`out`")
    refuse_other_file(path, "`out`", "HTML page", (b"<!doctype html",))
    return _of_files(lambda: Reported(path, tuple(folders), write_comparison(folders, path)), folders)


def _of_one(folder: Path) -> Reported:
    if is_deployment(folder):
        return Reported(page_of_deployment(folder), (folder,), deployment_page(read_deployment(folder)))
    return Reported(folder / PAGE, (folder,), write_page(folder))


def _of_files(make: Callable[[], Reported], folders: Sequence[Path]) -> Reported:
    """Make a page of what the folders hold; their files may come from anywhere.

    Raises:
        DataError: a file has a name that edgedet gives, and another form.
    """
    try:
        return make()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{', '.join(map(str, folders))}: report.json, history.json or inspect.json there is not as edgedet writes "
            f"it ({type(error).__name__}: {error}); give folders of edgedet's runs"
        ) from error
