"""Two processes and one output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgedet.errors import ConfigError
from edgedet.outputs.lock import hold_output

HOLDER = """
import sys, time
from pathlib import Path
from edgedet.outputs.lock import hold_output
with hold_output(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path, repo_dir: Path):
    """A process that writes into tmp_path/run."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(repo_dir)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_hold_output_second_process_is_refused_with_the_first_until_it_dies(tmp_path: Path, holder) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for path in (tmp_path / "run", tmp_path / "link", tmp_path / "." / "run"):
        with pytest.raises(ConfigError, match=r"is writing there") as caught, hold_output(path):
            pass
        assert str(caught.value).startswith(f"`out` {path}: process {holder.pid} on ")
        assert str(tmp_path / "run") in str(caught.value).partition("(")[2]  # its command
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with hold_output(tmp_path / "run"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_hold_output_same_thread_may_hold_again_another_may_not(tmp_path: Path) -> None:
    errors = []

    def try_it() -> None:
        try:
            with hold_output(tmp_path / "a"):
                pass
        except ConfigError as error:
            errors.append(str(error))

    with hold_output(tmp_path / "a"), hold_output(tmp_path / "a"), hold_output(tmp_path / "b"):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert "another thread" in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_hold_output_leaves_no_folder_where_nothing_was_written(tmp_path: Path) -> None:
    with hold_output(tmp_path / "a" / "b" / "c"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_hold_output_of_another_process_that_does_not_write_is_free(tmp_path: Path) -> None:
    with hold_output(tmp_path / "a", writes=False):
        assert list(tmp_path.iterdir()) == []
