"""`edgedet.ui`: a run's report and its network, to try on pictures, in the browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgedet.api.public import public
from edgedet.api.runs import INT8_FILE
from edgedet.errors import ConfigError, EdgedetError
from edgedet.fileio import PathLike, as_path
from edgedet.outputs.page_files import PAGE
from edgedet.page.deployments import is_deployment, page_of_deployment, read_deployment
from edgedet.page.run_files import is_run
from edgedet.page.viewer import DETECTOR, HOST, REPORT, Viewer
from edgedet.typed import require_truth, shown

_LARGEST_PORT = 65535


@public
def ui(run: PathLike, *, port: int = 0, browser: bool = True, started: Callable[[str], None] = print) -> None:
    """Show a run in the browser until Ctrl-C: its report, and its int8 network as in `deploy --target web`.

    Only this computer can see it (127.0.0.1), and nothing is written.

    Args:
        run: folder of a run or deployment, or an int8 `.tflite`.
        port: of the server; 0: any that is free.
        browser: open it; else only the address is given.
        started: called with the address when the server answers.
    Raises:
        ConfigError: no such run, nothing to show in it, or the port is taken or out of range.
        ConversionError: the int8 file is damaged.
        ToolchainError: of an int8 `.tflite` alone: clang or lld is missing. Beside a report that is a note in the page.
    """
    path = as_path(run, "run")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= _LARGEST_PORT:
        raise ConfigError(f"`port` {shown(port)}: expected 0 to {_LARGEST_PORT}; 0 takes any that is free")
    require_truth(browser=browser)
    if not callable(started):
        raise ConfigError(f"`started` {shown(started)}: expected a function of one text, such as print")
    viewer = viewer_of(path)
    try:
        server = viewer.server(port)
    except OSError as error:
        raise ConfigError(f"`port` {port}: {error.strerror}; take another, or 0 for any that is free") from error
    with server:
        address = f"http://{HOST}:{server.server_address[1]}/"
        started(address)
        if browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def viewer_of(path: Path) -> Viewer:
    """What there is to show; arguments and errors as in `ui`."""
    if path.is_file():
        return Viewer(path.name, {DETECTOR: _detector(path)})
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give the folder of a run, or an int8 .tflite")
    if is_deployment(path):
        return _deployed(path)
    pages, notes = dict[str, bytes](), list[str]()
    if (path / PAGE).is_file():
        pages[REPORT] = (path / PAGE).read_bytes()
    if (path / INT8_FILE).is_file():
        try:
            pages[DETECTOR] = _detector(path / INT8_FILE)
        except EdgedetError as error:
            if not pages:
                raise
            notes.append(f"No page to try the network: {error}")
    else:
        notes.append(f"No {INT8_FILE} to try: `edgedet quantize` makes one.")
    if not pages:
        advice = f"`edgedet report {path}` makes its page" if is_run(path) else "give the folder of a run or deployment"
        raise ConfigError(f"{path}: holds neither {PAGE} nor {INT8_FILE}; {advice}")
    return Viewer(path.resolve().name, pages, tuple(notes))


def _deployed(folder: Path) -> Viewer:
    """The page of a deployment; of target web, the network's page, too, as it was written."""
    from edgedet.deploy.targets.web import PAGE as INDEX

    pages = {REPORT: page_of_deployment(folder).read_bytes()}
    notes: tuple[str, ...] = ()
    if read_deployment(folder).target == "web" and (folder / INDEX).is_file():
        pages[DETECTOR] = (folder / INDEX).read_bytes()
    else:
        notes = ("To try the network, give the run that it was made of, or its int8 .tflite.",)
    return Viewer(folder.resolve().name, pages, notes)


def _detector(model: Path) -> bytes:
    from edgedet.deploy.targets.web import PAGE as INDEX
    from edgedet.deploy.targets.web import deploy_web

    if model.suffix != ".tflite":
        raise ConfigError(f"{model}: expected an int8 .tflite, or the folder of a run or deployment")
    return deploy_web(model, None, None, 0).sources[INDEX].encode("utf-8")
