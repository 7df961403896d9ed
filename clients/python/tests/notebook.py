"""Runs notebooks without Jupyter, so that what is stored in them can be compared with what they do.

python clients/python/tests/notebook.py examples/python/tour.ipynb    # stores what it prints and shows
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any


def source(cell: dict[str, Any]) -> str:
    """The text of a cell, which notebooks keep in lines."""
    return "".join(cell["source"])


def outputs(path: Path) -> list[list[dict[str, Any]]]:
    """Runs the code cells of a notebook, in its folder, and returns the outputs of each in its form."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    before = os.getcwd()
    sys.path.insert(0, str(path.parent.resolve()))
    os.chdir(path.parent)
    try:
        code = [source(cell) for cell in cells if cell["cell_type"] == "code"]
        return [_run(text, number, names) for number, text in enumerate(code, 1)]
    finally:
        os.chdir(before)
        sys.path.pop(0)


def _run(text: str, number: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    tree = ast.parse(text)
    # What a cell ends with is shown, unless a semicolon ends it.
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, shown = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"<cell {number}>", "exec"), names)
        if last is not None:
            expression = ast.Expression(last.value)  # type: ignore[attr-defined]
            shown = eval(compile(expression, f"<cell {number}>", "eval"), names)
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        lines = printed.getvalue().splitlines(keepends=True)
        found.append({"name": "stdout", "output_type": "stream", "text": lines})
    if shown is not None and not text.rstrip().endswith(";"):
        data = {"text/plain": repr(shown).splitlines(keepends=True)}
        if hasattr(shown, "_repr_html_"):
            data["text/html"] = shown._repr_html_().splitlines(keepends=True)
        result = {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}
        found.append(result)
    return found


def store(path: Path) -> None:
    """Runs a notebook and writes the outputs into it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, found) in enumerate(zip(code, outputs(path)), 1):
        cell["outputs"], cell["execution_count"] = found, number
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        store(Path(name))
