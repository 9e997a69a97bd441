"""What is shown when the files of a training can't be written."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgedet.errors import OutputError
from edgedet.training.log import EpochRecord, TrainLog

RECORD = EpochRecord(1, 1.0, 1.0, 1.0, 0.1, 1.0, None)


def lose_the_folder(run: Path) -> None:
    """A training whose folder vanishes: TensorBoard's thread finds it first."""
    with TrainLog(run, 200, 1, quiet=True) as log:
        log.epoch(RECORD)
        shutil.rmtree(run)
        for _ in range(200):
            log.epoch(RECORD)
            time.sleep(0.01)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_that_fails_is_one_error_without_the_traceback_of_tensorboards_thread(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = threading.excepthook
    with pytest.raises(OutputError, match=r"run/tensorboard.*can't be written"):
        lose_the_folder(tmp_path / "run")
    assert "Traceback" not in capfd.readouterr().err
    assert threading.excepthook == before


def test_other_threads_still_say_what_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: told.append(str(failed.exc_value)))

    def fail() -> None:
        raise OSError(5, "elsewhere", str(tmp_path / "other"))

    with TrainLog(tmp_path / "run", 2, 1, quiet=True):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert len(told) == 1
    assert "elsewhere" in told[0]
