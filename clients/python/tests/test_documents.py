"""What the adapters of frameworks share."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

import lanner
from lanner._documents import VECTOR, Documents, in_thread


def test_a_cancelled_task_cancels_what_its_thread_does(
    db: lanner.Database, random: np.random.Generator
) -> None:
    base = random.standard_normal((20_000, 256)).astype(np.float32)
    documents = Documents(db, "documents")
    documents.write({str(at): (vector, {}) for at, vector in enumerate(base)})
    under_way, ended = threading.Event(), threading.Event()
    raised: list[type] = []

    def work(queries: np.ndarray) -> None:
        collection = documents.collection()
        assert collection is not None
        under_way.set()
        try:
            collection.batch_query(VECTOR, queries, exact=True)
        except lanner.Error as error:
            raised.append(type(error))
        finally:
            ended.set()

    async def main() -> None:
        task = asyncio.create_task(in_thread(work)(np.tile(base[:500], (40, 1))))
        assert await asyncio.to_thread(under_way.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, 5)

    asyncio.run(main())
    assert raised == [lanner.Cancelled]
    # Others are not meant, nor is what comes later.
    found = asyncio.run(in_thread(lambda: documents.collection().count())())  # type: ignore[union-attr]
    assert found == documents.database["documents"].count() == 20_000
