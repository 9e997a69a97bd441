"""What this machine's CPU can do, and how much of it torch takes."""

from __future__ import annotations

import re
from pathlib import Path

# Names of the flags that /proc/cpuinfo shows on x86 (AVX-512, AMX) and Arm.
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without that, bf16 autocast is slower than float32.

    Args:
        cpuinfo: file in the format of Linux's /proc/cpuinfo; where there is none, the answer is False.
    """
    if not cpuinfo.is_file():
        return False
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    return match is not None and not _BF16_FLAGS.isdisjoint(match.group(1).split())
