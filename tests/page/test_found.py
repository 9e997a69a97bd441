from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from edgedet.errors import DataError
from edgedet.page.found import load_found


@pytest.mark.parametrize("place", [6, 10, 20, 28])  # version, method, size and length of the name in the directory
def test_load_found_damaged_is_one_clear_error(tmp_path: Path, place: int) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=np.frombuffer(b"{}", np.uint8))
    data = bytearray(buffer.getvalue())
    data[data.index(b"PK\x01\x02") + place] ^= 0x7F
    path = tmp_path / "found.npz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"found\.npz: is damaged \(\w+\); remove it, or repeat the run"):
        load_found(path)
