"""The LeanVec loss of Intel SVS (`svs.compute_leanvec_matrices`, plain numpy, runs anywhere) on the
data of tests/quantization.rs, which holds the numbers printed here as golden numbers.

    pip install scalable-vs numpy
    python leanvec_loss.py FOLDER      # with base.f16.npy and queries_ood_lemma.f32.npy
"""

import sys
from pathlib import Path

import numpy as np
import svs


def unit(rows):
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def loss(moment_q, moment_x, a, b):
    """Mean squared error of inner products over all pairs of query and vector."""
    quadratic = np.trace(b @ a.T @ moment_q @ a @ b.T @ moment_x)
    return quadratic - 2 * np.trace(moment_q @ a @ b.T @ moment_x) + np.trace(moment_q @ moment_x)


folder = Path(sys.argv[1])
base = unit(np.load(folder / "base.f16.npy")[:10_000]).astype(np.float64)
base -= base.mean(axis=0)
queries = unit(np.load(folder / "queries_ood_lemma.f32.npy")[::2]).astype(np.float64)
moment_x, moment_q = base.T @ base / len(base), queries.T @ queries / len(queries)
for dimension in (128, 160):
    # Scaled, so that the tolerance of the loss does not depend on the number of rows.
    b, a = svs.compute_leanvec_matrices(
        base / np.sqrt(len(base)), queries / np.sqrt(len(queries)), dimension
    )
    print(f"{dimension}: {loss(moment_q, moment_x, a.astype(np.float64), b.astype(np.float64)):.6e}")
