"""What docs/c-api.md promises of every kernel: no recursion, no heap, a bounded stack, little of libc."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from c_audit_tools import kernel_sources
from c_stack import CHIPS, LIBC, Calls, calls_of

pytestmark = pytest.mark.toolchain
MOST_STACK_BYTES = 1024  # docs/c-api.md


@pytest.mark.parametrize("chip", CHIPS)
def test_kernels_keep_the_promises_of_the_audit_sheet(
    chip: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("arm-none-eabi-gcc")
    calls = calls_of(kernel_sources(), chip, tmp_path)
    public = {path.stem for path in kernel_sources()}
    assert public <= set(calls.stack_bytes)
    assert not calls.growing
    assert {name for name in calls.foreign if not name.startswith("__aeabi_")} <= LIBC
    assert "__indirect_call" not in set().union(*calls.callees.values())
    assert max(calls.deepest_bytes(name) for name in public) <= MOST_STACK_BYTES


def test_recursion_is_found() -> None:
    calls = Calls({"a": 8, "b": 16, "c": 4}, callees={"a": {"b", "c"}, "b": {"c"}})
    assert calls.deepest_bytes("a") == 28
    calls.callees["c"] = {"a"}
    with pytest.raises(ValueError, match=r"^recursion: a -> (b -> )?c -> a$"):
        calls.deepest_bytes("a")
