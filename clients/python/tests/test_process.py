"""What processes and threads do to a database: locks, forks, signals, and the end of the program."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import lanner


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_another_process_is_kept_out(tmp_path: Path) -> None:
    with lanner.open(tmp_path / "db"):
        with pytest.raises(lanner.Locked, match=str(os.getpid())):
            lanner.open(tmp_path / "db")
        code = """
            import lanner, sys
            try:
                lanner.open(sys.argv[1])
            except lanner.Locked as error:
                print(error)
        """
        assert str(os.getpid()) in run(code, tmp_path / "db").stdout
    with lanner.open(tmp_path / "db"):
        pass


def test_a_database_that_is_left_open_is_closed_at_the_end(tmp_path: Path) -> None:
    code = """
        import lanner, sys
        db = lanner.open(sys.argv[1])
        docs = db.create_collection("docs", {"v": lanner.vector(2)})
        docs.upsert(ids=[1], vectors=[[1, 0]], durability="buffered")
    """
    done = run(code, tmp_path / "db")
    assert (done.returncode, done.stderr) == (0, "")
    with lanner.open(tmp_path / "db") as db:
        assert db["docs"].count() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_is_told_to_open_again(db: lanner.Database, tmp_path: Path) -> None:
    docs = db.create_collection("docs", {"v": lanner.vector(2)})
    docs.upsert(ids=[1], vectors=[[1, 0]])
    code = """
        import lanner, os, sys
        db = lanner.open(sys.argv[1]) if "/" in sys.argv[1] else lanner.connect(sys.argv[1])
        docs = db["docs"]
        if (child := os.fork()) == 0:
            for call in (docs.count, lambda: docs.query("v", [1, 0]), db.list, db.close):
                try:
                    call()
                except lanner.Forked as error:
                    assert "after the fork" in str(error)
                else:
                    os._exit(3)
            # The end of the child leaves the parent's database alone.
            del docs, db
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), docs.query("v", [1, 0]).ids)
    """
    place = db._place
    if "/" in place:
        db.close()
    done = run(code, place)
    assert done.stdout.split() == ["7", "[1]"], done.stderr


SIGNAL = """
    import lanner, numpy as np, os, signal, sys, threading, time

    db = lanner.open(sys.argv[1])
    docs = db.create_collection("docs", {"v": lanner.vector(256, compression=None)})
    base = np.random.default_rng(1).standard_normal((60_000, 256)).astype(np.float32)
    docs.upsert(ids=range(60_000), vectors=base, durability="buffered")

    def interrupted(call):
        # Sent when the call is under way: once it holds no lock of Python's, this thread goes on.
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        started = time.monotonic()
        try:
            call()
        except KeyboardInterrupt:
            return time.monotonic() - started
        return None
"""


def test_ctrl_c_stops_a_batch(tmp_path: Path) -> None:
    code = (
        SIGNAL
        + """
    queries = np.tile(base[:1000], (20, 1))
    took = interrupted(lambda: docs.batch_query("v", queries, exact=True))
    assert took is not None and took < 2, took
    assert docs.query("v", base[5], limit=1).ids == [5]
    """
    )
    done = run(code, tmp_path / "db")
    assert done.returncode == 0, done.stderr


def test_ctrl_c_stops_a_job_and_leaves_everything_sound(tmp_path: Path) -> None:
    code = (
        SIGNAL
        + """
    other = db.create_collection("other", {"v": lanner.vector(256)})
    other.upsert(ids=range(20_000), vectors=base[:20_000], durability="buffered")
    took = interrupted(lambda: other.optimize(progress=False))
    assert took is not None and db.jobs()[-1].state == "cancelled", db.jobs()
    assert other.count() == 20_000 and other.query("v", base[5], limit=1).ids == [5]
    assert other.verify(progress=False).state == "done"
    """
    )
    done = run(code, tmp_path / "db")
    assert done.returncode == 0, done.stderr


def test_ctrl_c_leaves_whole_batches(tmp_path: Path) -> None:
    code = (
        SIGNAL
        + """
    other = db.create_collection("other", {"v": lanner.vector(256, compression=None)})
    took = interrupted(lambda: [other.upsert(ids=range(60_000), vectors=base, batch_bytes=1 << 20) for _ in range(9)])
    assert took is not None and took < 5, took
    found = other.get(range(0, 60_000, 500), with_vectors=True)
    assert all(abs(float(np.linalg.norm(point.vectors["v"])) - 1) < 1e-3 for point in found)
    other.verify(progress=False)
    """
    )
    done = run(code, tmp_path / "db")
    assert done.returncode == 0, done.stderr


def test_a_timeout_ends_a_query(tmp_path: Path, random: np.random.Generator) -> None:
    with lanner.open(tmp_path / "db") as db:
        docs = db.create_collection("docs", {"v": lanner.vector(256, compression=None)})
        base = random.standard_normal((20_000, 256)).astype(np.float32)
        docs.upsert(ids=range(20_000), vectors=base, durability="buffered")
        with pytest.raises(lanner.DeadlineExceeded, match="the deadline passed"):
            docs.with_timeout(1e-6).query("v", base[0], exact=True)
        with pytest.raises(TimeoutError):
            docs.with_timeout(0.001).batch_query("v", base[:2_000], exact=True)
        assert docs.with_timeout(60).query("v", base[3]).ids[0] == 3
        with pytest.raises(lanner.InvalidInput, match="timeout: expected a number of seconds"):
            docs.with_timeout(-1)


def test_threads_share_a_database(db: lanner.Database, random: np.random.Generator) -> None:
    docs = db.create_collection("docs", {"v": lanner.vector(8)})
    base = random.standard_normal((2_000, 8)).astype(np.float32)

    def write(part: int) -> int:
        ids = range(part * 100, part * 100 + 100)
        return docs.upsert(ids=ids, vectors=base[ids.start : ids.stop])

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(write, range(20))) == 2_000
        found = list(threads.map(lambda at: docs.query("v", base[at], limit=1).ids[0], range(200)))
    assert found == list(range(200)) and threading.active_count() < 50


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of threads here")
def test_threads_are_as_many_as_is_said(tmp_path: Path) -> None:
    code = """
        import lanner, pathlib, re, sys, time
        db = lanner.open(sys.argv[1], threads=2, build_threads=3)
        def count(kind):
            names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
            return sum(re.match(f"lanner-{kind}-[0-9]", name) is not None for name in names)
        counts = lambda: [count(kind) for kind in ("query", "work", "urgent")]
        # A thread names itself when it begins to run.
        end = time.monotonic() + 30
        while counts() != [2, 3, 3] and time.monotonic() < end:
            pass
        print(*counts())
    """
    assert run(code, tmp_path / "db").stdout.split() == ["2", "3", "3"]


def test_import_is_fast_and_leaves_numpy_alone() -> None:
    code = "import lanner, sys; print('numpy' in sys.modules, 'asyncio' in sys.modules)"
    assert run(code).stdout.split() == ["False", "False"]
