"""A stand-in for torch where its CPU wheel is not installed, so that what only imports it can be tested.

PyLate and MTEB import torch (and with it transformers and sentence-transformers) when they are imported.
Their base classes, and their code that calls an index, are real in these tests; tensors are numpy arrays,
and everything else of these packages is a class without behaviour.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

PACKAGES = ("torch", "transformers", "sentence_transformers", "datasets")


class _Anything(type):
    """Classes that may be subclassed, subscripted, joined by `|`, and called as decorators."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        return super().__call__()

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__


def _decorate(self: Any, function: Any = None, *rest: Any, **options: Any) -> Any:
    return function


def default_collate(rows: list[Any]) -> Any:
    """Rows of dicts as columns; other values as they are."""
    return {name: [row[name] for row in rows] for name in rows[0]} if isinstance(rows[0], dict) else rows


class DataLoader:
    """Batches of a dataset's rows, as columns."""

    def __init__(self, dataset: Any, batch_size: int = 32, collate_fn: Any = None, **options: Any) -> None:
        self.dataset, self.batch_size = dataset, batch_size
        self.collate_fn = collate_fn or default_collate

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self.dataset), self.batch_size):
            rows = [self.dataset[at] for at in range(start, min(start + self.batch_size, len(self.dataset)))]
            yield self.collate_fn(rows)


class Tensor(np.ndarray):
    """Never made: no array is taken for a tensor."""


_REAL = {
    "torch": {"Tensor": Tensor, "tensor": np.array, "__version__": "0"},
    "torch.utils.data": {"DataLoader": DataLoader, "default_collate": default_collate},
    "transformers": {"__version__": "0"},
    "sentence_transformers": {"__version__": "0"},
}


class _Module(ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Anything(name, (), {"__call__": _decorate, "__module__": self.__name__})
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, packages: list[str]) -> None:
        self.packages = packages

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_REAL.get(module.__name__, {}))


_stand_ins: list[str] = []


def install() -> list[str]:
    """Stands in for those of the packages that are not installed, and returns them, at every call."""
    missing = [
        name for name in PACKAGES if name not in sys.modules and importlib.util.find_spec(name) is None
    ]
    if missing:
        sys.meta_path.append(_Finder(missing))
        _stand_ins.extend(missing)
    return _stand_ins
