"""The examples of the repository run, and print what they promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import notebook
import pytest
from conftest import ROOT, Server

EXAMPLES = ROOT / "examples" / "python"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("semantic_search.py", "163 passages"),
        ("late_interaction.py", "MaxSim"),
        ("filtered_search.py", "passages by topic: {"),
        ("fusion.py", "?"),
        ("attention.py", "share of attention covered: median"),
        ("judge.py", "of 40 queries over 163 documents"),
    ],
)
def test_examples(name: str, expected: str) -> None:
    assert expected in run(name)


def test_the_kv_connector_selects_blocks_with_more_of_the_attention_than_random_ones() -> None:
    output = run("kv_connector.py")
    assert "second: 7,984 tokens are a known prefix" in output
    assert "first is finished; there are indexes of second" in output
    shares = re.findall(r"with (\d\.\d+) of the attention .*; as many random blocks have (\d\.\d+)", output)
    assert len(shares) == 4
    assert all(float(selected) > 4 * float(random) for selected, random in shares)


def test_the_example_with_a_server(server: Server) -> None:
    assert run("server.py", "--server", server.address).count("40 questions") == 2


def shown(found: list[list[dict[str, Any]]]) -> list[str]:
    """Outputs of cells as text, without numbers: processors differ in the last digits."""
    return [re.sub(r"\d[\d,]*(\.\d+)?(e-\d+)?", "#", json.dumps(cell, ensure_ascii=False)) for cell in found]


def test_the_notebook_shows_what_it_does() -> None:
    path = EXAMPLES / "tour.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    stored = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    tables = [output for cell in stored for output in cell if "text/html" in output.get("data", {})]
    assert len(stored) == 10 and len(tables) == 4
    # If it is to show something else: `python clients/python/tests/notebook.py examples/python/tour.ipynb`.
    assert shown(notebook.outputs(path)) == shown(stored)


def test_there_is_a_test_for_each_example() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert names == {
        "attention.py",
        "demo.py",
        "filtered_search.py",
        "fusion.py",
        "judge.py",
        "kv_connector.py",
        "late_interaction.py",
        "semantic_search.py",
        "server.py",
        "tour.ipynb",
    }


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("README.md", "[Hit('moby-dick', score=0.99388)]"),
        ("docs/python.md", "moby-dick {'title': 'Moby-Dick'"),
    ],
)
def test_the_first_example_of_a_document(document: str, expected: str, tmp_path: Path) -> None:
    code = (ROOT / document).read_text(encoding="utf-8").split("```python\n", 1)[1].split("```", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
