"""Structs and statuses of the C code for tests that call it, and guards around what it writes; not a test itself."""

from __future__ import annotations

import ctypes

import numpy as np

OK, NULL, SHAPE, RANGE, SCRATCH, ALIGNMENT = range(6)  # edk_status
DETECTION = np.dtype([("box", np.float32, 4), ("score", np.float32), ("label", np.int32)])
_GUARD, _GUARD_BYTES, _GUARD_LABEL = 0x5A, 64, -77


class CImage(ctypes.Structure):
    """edk_image."""

    _fields_ = [
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("stride_bytes", ctypes.c_int32),
        ("format", ctypes.c_int),
    ]


class GuardedRoom:
    """Scratch and room for detections of one call of a decoder, with guards behind both.

    Args:
        scratch_bytes: that the decoder asks for.
        max_detections: room for them.
    """

    def __init__(self, scratch_bytes: int, max_detections: int) -> None:
        self.scratch_bytes = scratch_bytes
        self.scratch = np.full(scratch_bytes + _GUARD_BYTES, _GUARD, np.uint8)
        self.found = np.zeros(max(max_detections, 1) + 1, DETECTION)
        self.found[-1]["label"] = _GUARD_LABEL
        self.count = ctypes.c_int32(-1)

    @property
    def scratch_untouched(self) -> bool:
        """True when nothing was written to the scratch."""
        return bool((self.scratch == _GUARD).all())

    def detections(self, status: int, offset: int = 0) -> np.ndarray:
        """What was found, after a check of the guards.

        Args:
            status: of the call.
            offset: bytes into `scratch` at which the decoder's began.
        """
        assert (self.scratch[self.scratch_bytes + offset :] == _GUARD).all()
        assert self.found[-1]["label"] == _GUARD_LABEL
        assert (self.count.value >= 0) == (status == OK)
        return self.found[: max(self.count.value, 0)]
