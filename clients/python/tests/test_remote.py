"""What only servers do: being away, keys, versions, and coroutines."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Server, program

import lanner


def test_a_server_that_is_away(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        # Bound and not listened to: nobody answers there.
        with pytest.raises(lanner.Unavailable, match=f"cannot connect to {address}"):
            lanner.connect(address)
    with pytest.raises(ConnectionError):
        lanner.connect("no-such-host.invalid:7700")


def test_something_else_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(lanner.Error):
            lanner.connect(address, timeout=0.2, retries=0)


def test_a_server_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    server = Server(tmp_path / "db")
    db = lanner.connect(server.address, retries=8)
    docs = db.create_collection("docs", {"v": lanner.vector(2)})
    docs.upsert(ids=[1], vectors=[[1, 0]])
    server.stop()
    with pytest.raises(lanner.Unavailable):
        lanner.connect(server.address)
    again = Server(tmp_path / "db", address=server.address)
    try:
        assert docs.count() == 1
        assert docs.upsert(ids=[2], vectors=[[0, 1]]) == 1
    finally:
        again.stop()


def test_a_server_that_stays_away_ends_the_call(tmp_path: Path) -> None:
    server = Server(tmp_path / "db")
    db = lanner.connect(server.address, retries=1)
    server.stop()
    with pytest.raises(lanner.Unavailable):
        db.list()
    with pytest.raises(lanner.DeadlineExceeded):
        lanner.Database(db._backend.within(0.05, None), server.address).list()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with keys: one reads and writes, one reads."""
    keys = {}
    file = tmp_path / "keys"
    for role in ("read-write", "read-only"):
        command = [str(program()), "key", role, "--role", role]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        with file.open("a") as lines:
            lines.write(made.stdout)
        keys[role] = made.stderr.strip().rsplit(" ", 1)[-1]
    server = Server(tmp_path / "db", "--api-keys", str(file))
    yield server, keys
    server.stop()


def test_keys(guarded: tuple[Server, dict[str, str]]) -> None:
    server, keys = guarded
    for wrong in (None, "wrong"):
        with pytest.raises(lanner.Unauthenticated):
            lanner.connect(server.address, api_key=wrong)
    with lanner.connect(server.address, api_key=keys["read-write"]) as db:
        db.create_collection("docs", {"v": lanner.vector(2)}).upsert(ids=[1], vectors=[[1, 0]])
    with lanner.connect(server.address, api_key=keys["read-only"]) as db:
        assert db["docs"].query("v", [1, 0]).ids == [1]
        with pytest.raises(lanner.PermissionDenied):
            db.drop("docs")
    with pytest.raises(lanner.InvalidInput, match="API key: expected printable ASCII"):
        lanner.connect(server.address, api_key="two\nlines")


def test_roots_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(lanner.FailedPrecondition, match="cannot read"):
        lanner.connect("localhost", tls=tmp_path / "missing.pem")


def test_coroutines(server: Server, random: np.random.Generator) -> None:
    base = random.standard_normal((500, 8)).astype(np.float32)

    async def main() -> None:
        async with await lanner.connect_async(server.address) as db:
            for found in await db.list():
                await db.drop(found.name)
            docs = await db.create_collection("docs", {"v": lanner.vector(8)}, {"n": int})
            payloads = [{"n": at % 5} for at in range(500)]
            assert await docs.upsert(ids=range(500), vectors=base, payloads=payloads) == 500
            found = await asyncio.gather(*(docs.query("v", row, limit=1) for row in base[:50]))
            assert [hits.ids[0] for hits in found] == list(range(50))
            ids, _ = await docs.batch_query("v", base[:3], limit=1)
            assert ids.ravel().tolist() == [0, 1, 2]
            points = [point.id async for point in docs.scroll(lanner.field("n") == 3, page_size=30)]
            assert points == list(range(3, 500, 5))
            assert await docs.count() == 500 and (await docs.info()).points == 500
            assert (await docs.optimize(progress=False)).state == "done"
            with pytest.raises(lanner.NotFound):
                await db.collection("nope")
            assert (await db.collection("docs")).name == "docs"
            assert "AsyncDatabase" in repr(db) and "AsyncCollection" in repr(docs)

    asyncio.run(main())


def test_a_cancelled_task_cancels_its_call(server: Server, random: np.random.Generator) -> None:
    base = random.standard_normal((20_000, 256)).astype(np.float32)

    async def main() -> None:
        async with await lanner.connect_async(server.address) as db:
            if any(found.name == "big" for found in await db.list()):
                await db.drop("big")
            docs = await db.create_collection("big", {"v": lanner.vector(256, compression=None)})
            await docs.upsert(ids=range(20_000), vectors=base, durability="buffered")
            task = asyncio.create_task(docs.batch_query("v", np.tile(base[:500], (20, 1)), exact=True))
            done, _ = await asyncio.wait([task], timeout=0.05)
            assert not done
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The threads are free again, all of them.
            found = await asyncio.gather(*(docs.count() for _ in range(64)))
            assert found == [20_000] * 64
            await db.drop("big")

    asyncio.run(main())
