"""One suite for both kinds of database: in this process, and behind `lanner serve`.

The server is the program of the target folder (`LANNER_BIN` names another).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import lanner

ROOT = Path(__file__).resolve().parents[3]
KINDS = ["embedded", "remote"]


def program() -> Path:
    """The program `lanner`."""
    if found := os.environ.get("LANNER_BIN"):
        return Path(found)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "lanner"


class Server:
    """A running `lanner serve` on a free port."""

    def __init__(self, folder: Path, *arguments: str, address: str = "127.0.0.1:0") -> None:
        if not program().exists():
            pytest.fail(f"{program()} is missing: build it with `cargo build --release --bins`")
        command = [program(), "serve", "--address", address, "--data", folder, *arguments]
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "RUST_LOG": "error"},
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().rsplit(" ", 1)[-1]
        assert self.address.startswith("127.0.0.1:"), self.address

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of a session share."""
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture(params=KINDS)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[lanner.Database]:
    """An empty database of either kind."""
    if request.param == "embedded":
        with lanner.open(tmp_path / "db") as database:
            yield database
        return
    shared: Server = request.getfixturevalue("server")
    with lanner.connect(shared.address) as database:
        for found in database.list():
            database.drop(found.name)
        yield database


@pytest.fixture
def make(db: lanner.Database) -> Callable[..., lanner.Collection]:
    """Makes a collection with the fields `text` (4, cosine) and `tokens` (3, dot)."""

    def collection(name: str = "docs", **options: object) -> lanner.Collection:
        fields = {"text": lanner.vector(4), "tokens": lanner.multivector(3)}
        return db.create_collection(name, fields, **options)  # type: ignore[arg-type]

    return collection


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def cosine(queries: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The oracle: cosines in double precision, [queries, base]."""
    queries, base = queries.astype(np.float64), base.astype(np.float64)
    queries = queries / np.linalg.norm(queries, axis=-1, keepdims=True)
    return queries @ (base / np.linalg.norm(base, axis=1, keepdims=True)).T


def max_sim(query: np.ndarray, documents: list[np.ndarray]) -> np.ndarray:
    """The oracle: the sum over the query's vectors of the best dot product, [documents]."""
    query = query.astype(np.float64)
    return np.array([(query @ tokens.astype(np.float64).T).max(axis=1).sum() for tokens in documents])


def as_json(value: object) -> object:
    return json.loads(json.dumps(value))
