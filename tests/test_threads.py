from __future__ import annotations

import os

import pytest

from edgedet.threads import let_threads_sleep, usable_cores


def test_let_threads_sleep_leaves_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_usable_cores_is_at_least_one() -> None:
    assert usable_cores() >= 1
