"""A valid trace on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.small_trace import HEADER, TABLE


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "small_b1_fp32.csv"
    path.write_text(TABLE, encoding="utf-8")
    path.with_suffix(".toml").write_text(HEADER, encoding="utf-8")
    return path
