"""`edgedet ui`: a run's pages from a server that only this computer and only its own address reaches."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from browser import browser_tools, wait_until
from toy_detector import write_toy_model

from edgedet.api.ui import ui, viewer_of
from edgedet.errors import ConfigError, ToolchainError
from edgedet.page.viewer import DETECTOR, HOST, REPORT, Viewer

REPORT_HTML = b"<!doctype html><title>report</title><p id=here>the report"


@contextmanager
def serving(viewer: Viewer) -> Iterator[int]:
    """Port of a server that answers meanwhile."""
    with viewer.server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def status(port: int, path: str, host: str) -> int:
    connection = HTTPConnection(HOST, port, timeout=10)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "a <run> $x"
    folder.mkdir()
    (folder / "report.html").write_bytes(REPORT_HTML)
    return folder


def test_ui_serves_the_frame_and_the_pages_and_nothing_else(run: Path) -> None:
    (run / "secret.txt").write_text("no")
    with serving(viewer_of(run)) as port:
        frame = urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=10).read().decode()
        assert "<title>a &lt;run&gt; $x</title>" in frame
        assert "No model_int8.tflite to try: `edgedet quantize` makes one." in frame
        assert urllib.request.urlopen(f"http://{HOST}:{port}{REPORT}", timeout=10).read() == REPORT_HTML
        for path in (DETECTOR, "/secret.txt", "/../secret.txt", "/report.html/"):
            assert status(port, path, f"{HOST}:{port}") == 404


def test_ui_answers_only_to_its_own_name(run: Path) -> None:
    with serving(viewer_of(run)) as port:
        assert status(port, REPORT, f"localhost:{port}") == 200
        for host in ("elsewhere.example", f"elsewhere.example:{port}", "", f"{HOST}.elsewhere.example:{port}"):
            assert status(port, REPORT, host) == 404


def test_ui_refuses_what_it_can_not_show(tmp_path: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        viewer_of(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds neither report\.html nor model_int8\.tflite"):
        viewer_of(tmp_path / "empty")
    with pytest.raises(ConfigError, match="`port` 65536: expected 0 to 65535"):
        ui(run, port=65536)
    with serving(viewer_of(run)) as port, pytest.raises(ConfigError, match=f"`port` {port}: .*take another"):
        ui(run, port=port, browser=False)


def test_ui_without_the_compiler_shows_the_report_and_says_what_is_missing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy_model(run / "model_int8.tflite")
    monkeypatch.setenv("PATH", str(run))
    viewer = viewer_of(run)
    assert list(viewer.pages) == [REPORT]
    assert "apt install clang lld" in viewer.notes[0]
    with pytest.raises(ToolchainError, match="apt install clang lld"):
        viewer_of(run / "model_int8.tflite")


def test_ui_gives_its_address_as_json_while_it_runs(run: Path, tmp_path: Path, repo_dir: Path) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "edgedet", "ui", str(run), "--no-browser", "--json", str(told)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=repo_dir,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().partition(" ")[0]
        value = json.loads(told.read_text())
        assert value == {"address": address, "run": str(run)}
        assert urllib.request.urlopen(f"{address}report.html", timeout=10).read() == REPORT_HTML
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


@pytest.mark.toolchain
def test_ui_command_shows_report_and_network_in_a_browser_until_ctrl_c(
    run: Path, require_tool: Callable[..., str], repo_dir: Path
) -> None:
    for tool in ("clang", "wasm-ld"):
        require_tool(tool)
    write_toy_model(run / "model_int8.tflite")
    browser, driver = require_tool("chromium"), require_tool("chromedriver")
    command = [sys.executable, "-m", "edgedet", "ui", str(run), "--no-browser"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=repo_dir,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in the background of a script
    ) as process:
        assert process.stdout is not None
        address, _, rest = process.stdout.readline().partition(" ")
        assert rest == "until Ctrl-C\n"
        with browser_tools(repo_dir).chromium(browser, driver) as opened:
            opened.get(address)
            opened.switch_to.frame("view")
            assert opened.find_element("id", "here").text == "the report"
            opened.switch_to.default_content()
            opened.find_element("link text", "Try it").click()
            opened.switch_to.frame("view")
            state = 'return (document.getElementById("state") ?? {}).textContent'
            wait_until(
                lambda: (opened.execute_script(state) or "").startswith("Self-test passed: 0 of "), "the self-test"
            )
            assert [entry["message"] for entry in opened.get_log("browser")] == []
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "stopped\n", "")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=10)
