"""Runs the examples of docs/python-frameworks.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_MANUAL = Path(__file__).resolve().parents[4] / "docs" / "python-frameworks.md"


def run_example(chapter: str, folder: Path) -> str:
    """What the first example of a chapter prints, run in a folder of its own."""
    text = _MANUAL.read_text(encoding="utf-8").split(f"## {chapter}\n", 1)[1]
    code = text.split("```python\n", 1)[1].split("```", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
