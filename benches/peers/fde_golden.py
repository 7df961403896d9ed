"""Fixed-dimensional encodings of Google's reference (as the wheel `muvfde`) for a random sweep of
parameters: the golden file of src/multivector/encoding/fde/tests.rs.

    pip install muvfde numpy
    python fde_golden.py > ../../src/multivector/encoding/fde/golden.json
"""

import json
import random

import muvfde
import numpy as np

# Values a case keeps; longer encodings are sampled evenly.
VALUES = 700


def tokens(rows, dimension, salt):
    """Numbers in [-0.5, 0.5) that every language computes alike: 24 bits of a hash."""
    index = np.arange(rows * dimension, dtype=np.uint64) + np.uint64(salt << 32)
    mixed = (index * np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    values = (mixed >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)
    return values.reshape(rows, dimension)


def encode(case):
    # Chained setters lose the object in this wheel.
    config = muvfde.fixed_dimensional_encoding_config()
    config.set_num_repetitions(case["repetitions"])
    config.set_num_simhash_projections(case["simhash_projections"])
    config.set_seed(case["seed"])
    kinds = muvfde.encoding_type
    config.set_encoding_type(kinds.AVERAGE if case["document"] else kinds.DEFAULT_SUM)
    if case["inner_projection"] is not None:
        config.set_projection_type(muvfde.projection_type.AMS_SKETCH)
        config.set_projection_dimension(case["inner_projection"])
    if case["final_projection"] is not None:
        config.set_final_projection_dimension(case["final_projection"])
    if case["fill_empty_cells"]:
        config.enable_fill_empty(True)
    matrix = tokens(case["rows"], case["token_dimension"], case["salt"])
    return muvfde.generate_fixed_dimensional_encoding(matrix, config)


def cases():
    draw = random.Random(42)
    for salt in range(40):
        dimension = draw.choice([1, 3, 8, 17, 32, 96, 128])
        document = draw.random() < 0.6
        case = {
            "repetitions": draw.choice([1, 2, 3, 7, 20]),
            "simhash_projections": draw.randrange(8),
            "inner_projection": draw.choice([None, draw.randint(1, dimension)]),
            "final_projection": None,
            "fill_empty_cells": document and draw.random() < 0.6,
            "seed": draw.choice([0, 1, 42, 2147483640, draw.randrange(1 << 31)]),
            "document": document,
            "rows": draw.choice([1, 2, 5, 32, 96]),
            "token_dimension": dimension,
            "salt": salt,
        }
        block = case["inner_projection"] or dimension
        full = case["repetitions"] * block << case["simhash_projections"]
        if draw.random() < 0.3:
            case["final_projection"] = draw.randint(1, min(full, 600))
        yield case
    # The default, for a query and a document.
    for document in (False, True):
        yield {
            "repetitions": 20,
            "simhash_projections": 5,
            "inner_projection": 16,
            "final_projection": None,
            "fill_empty_cells": document,
            "seed": 42,
            "document": document,
            "rows": 96 if document else 32,
            "token_dimension": 128,
            "salt": 1000,
        }


lines = []
for case in cases():
    encoding = encode(case)
    # Odd, so that every cell is met.
    stride = -(-len(encoding) // VALUES) | 1
    case["dimension"] = len(encoding)
    case["stride"] = stride
    case["values"] = [float(f"{value:.7g}") for value in encoding[::stride]]
    lines.append(json.dumps(case).replace(" ", "").replace(".0,", ",").replace(".0]", "]"))
print("[\n" + ",\n".join(lines) + "\n]")
