from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.training.parallel.hardware import has_bf16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: x\nflags\t\t: fpu avx2 avx512_bf16 avx512vbmi\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("", False),
    ],
)
def test_has_bf16_reads_the_flags(tmp_path: Path, text: str, expected: bool) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert has_bf16(path) is expected


def test_has_bf16_without_cpuinfo_is_false(tmp_path: Path) -> None:
    assert has_bf16(tmp_path / "none") is False
