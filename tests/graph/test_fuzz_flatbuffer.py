from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import foreign_files
import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("fuzz_flatbuffer.py")
_spec = importlib.util.spec_from_file_location("fuzz_flatbuffer", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
fuzz_flatbuffer = importlib.util.module_from_spec(_spec)
sys.modules["fuzz_flatbuffer"] = fuzz_flatbuffer
_spec.loader.exec_module(fuzz_flatbuffer)


@pytest.mark.slow
def test_fuzz_two_seconds_of_damaged_files_find_nothing(repo_dir: Path, tmp_path: Path) -> None:
    shared = repo_dir.parent / "shared" / "data"
    models = [
        str(path)
        for path in (shared / "example_15_ops_int8.tflite", *sorted((shared / "tflite").glob("*.tflite")))
        if path.is_file()
    ]
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(foreign_files.everything())
    models.append(str(foreign))
    command = [sys.executable, str(SCRIPT), "--seconds", "2", "--seed", "0", "--out", str(tmp_path), *models]
    environment = {**os.environ, "PYTHONPATH": str(repo_dir)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert result.returncode == 0, f"{result.stdout[-4000:]}{result.stderr[-4000:]}"
    assert " 0 findings" in result.stdout
    assert int(result.stdout.split()[0]) > 20


def test_fuzz_a_reader_that_crashes_is_found_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds = fuzz_flatbuffer.generated_seeds()

    def crash(data: bytes) -> None:
        raise IndexError("as a broken reader would")

    monkeypatch.setattr(fuzz_flatbuffer, "read_all", crash)
    outcome = fuzz_flatbuffer.fuzz(seeds, 0.05, 0, tmp_path)
    assert outcome.runs >= 1
    assert len(outcome.findings) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_damage_same_seed_gives_same_files() -> None:
    seeds = fuzz_flatbuffer.generated_seeds()
    first, second = (
        [fuzz_flatbuffer.damage(rng, seeds[0], seeds) for _ in range(50)]
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert first == second
    assert sum(data != seeds[0].data for data in first) > 40
