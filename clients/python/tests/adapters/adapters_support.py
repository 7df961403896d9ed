"""What the tests of the adapters share: the packages that the adapters are for.

A test is skipped only if a package is not installed; `-rs` prints which.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import pytest


def package(name: str) -> ModuleType:
    """A package that an adapter is for; the tests of a module are skipped without it."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name.partition('.')[0]} is not installed", allow_module_level=True)
    return importlib.import_module(name)
