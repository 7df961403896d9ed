"""numpy, imported when it is first used: `import lanner` alone does not wait for it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


class _Module:
    def __init__(self, name: str) -> None:
        self.__name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self.__name), attribute)
        setattr(self, attribute, value)
        return value


__all__ = ["json", "np"]

if TYPE_CHECKING:
    import json

    import numpy as np
else:
    np = _Module("numpy")
    json = _Module("json")
