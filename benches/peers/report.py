"""Tables and plots from the JSON results, between markers in docs/benchmarks.md.

No interpolation: the QPS at a recall is that of the fastest measured setting that reaches it.
"""

import json
from pathlib import Path

import machine
import plots
from datasets import DATASETS
from measure import OTHER_TARGET, TARGETS

DOCS = Path(__file__).resolve().parents[2] / "docs"
NOTE = """\
Written by `benches/peers/run.sh`. Every engine got the same normalised f32 vectors and ran in a
process of its own, one after the other. *single* is one query a call, *batch* all queries in one
call. Peers are called from Python, whose overhead (1–3 µs a call, Qdrant's conversion of lists
more) is part of *single*; Lanner measures itself. Each cell is the fastest setting that reaches
the recall@10, best of {runs} runs; no value is interpolated. Settings that were swept: degree of
the graph, search window, probes, re-ranked candidates, and for SVS its prefetching."""


def write(results, name=None):
    """Puts the section into docs/benchmarks.md; `name` is that of a section beside the main one."""
    path, mark = DOCS / "benchmarks.md", f"peers-{name}" if name else "peers"
    begin, end = f"<!-- {mark}:begin (written by benches/peers) -->", f"<!-- {mark}:end -->"
    text = path.read_text()
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n{section(results, name, DOCS / 'plots')}\n{end}{after}")


def section(results, name=None, plot_folder=None):
    loaded = {data: load(results / data) for data in DATASETS}
    loaded = {data: found for data, found in loaded.items() if found}
    runs = "/".join(sorted({str(each.get("runs", "?")) for found in loaded.values() for each in found}))
    heading = f"## Peers, {name}" if name else "## Peers"
    parts = [heading, f"{machine.describe()}; {machine.versions()}.", NOTE.format(runs=runs)]
    for data, found in loaded.items():
        parts += of_dataset(DATASETS[data], found)
        if plot_folder:
            stem = f"peers-{name}-{data}" if name else f"peers-{data}"
            parts += plots.draw(DATASETS[data], found, plot_folder, stem)
    return "\n\n".join(parts)


def load(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def of_dataset(dataset, found):
    rows, dimensions = dataset.shape()
    parts = [f"### {dataset.name}: {rows:,} × {dimensions}, cosine"]
    for shape in ("single", "batch"):
        parts += [f"QPS at recall@10 on `queries_id`, {shape}, one thread:", id_table(found, shape, "one")]
    parts += ["QPS at recall@10 on `queries_id`, batch, all cores:", id_table(found, "batch", "all")]
    parts += ["QPS at recall@10 on `queries_id`, single from each core:", id_table(found, "single", "all")]
    if len(dataset.sets) > 1:
        parts += [f"QPS at recall@10 = {OTHER_TARGET} on queries of another distribution, one thread:"]
        parts += [ood_table(found, dataset.sets[1:])]
    parts += ["Building with all cores, and memory (MB resident, beyond that of the empty process):"]
    return [*parts, build_table(found)]


def fastest(found, query_set, target, shape, threads):
    """The fastest row that reaches the target, with the name of its index; None if none does."""
    best = None
    for result in found:
        for row in (result.get(threads) or {"rows": {}})["rows"].get(query_set, []):
            qps = row.get(f"qps_{shape}")
            if qps and row["recall"][query_set] >= target and (best is None or qps > best[0]):
                best = (qps, result["index"], row)
    return best


def families(found, query_set, shape, threads):
    """Results by family, the fastest at the middle target first."""
    names = dict.fromkeys(result["family"] for result in found)
    groups = {name: [each for each in found if each["family"] == name] for name in names}

    def speed(name):
        best = fastest(groups[name], query_set, TARGETS[1], shape, threads)
        return best[0] if best else 0

    return {name: groups[name] for name in sorted(groups, key=speed, reverse=True)}


def id_table(found, shape, threads):
    with_latency = (shape, threads) == ("single", "one")
    heading = ["engine", *(f"{target:.2f}" for target in TARGETS)]
    heading += [f"p50 / p99 ms at {TARGETS[1]:.2f}"] if with_latency else []
    lines = []
    for name, group in families(found, "id", shape, threads).items():
        cells = [fastest(group, "id", target, shape, threads) for target in TARGETS]
        line = [name, *map(cell, cells)]
        if with_latency:
            middle = cells[1]
            known = middle and middle[2].get("p50_ms")
            line.append(f"{middle[2]['p50_ms']:.3f} / {middle[2]['p99_ms']:.3f}" if known else "")
        if any(cells):
            lines.append(line)
    return table([heading, *lines])


def ood_table(found, sets):
    heading = ["engine"] + [f"`{name}`, {shape}" for name in sets for shape in ("single", "batch")]
    lines = [heading]
    for name, group in families(found, sets[0], "single", "one").items():
        cells = [
            fastest(group, query_set, OTHER_TARGET, shape, "one")
            for query_set in sets
            for shape in ("single", "batch")
        ]
        if any(cells):
            lines.append([name, *map(cell, cells)])
    return table(lines)


def cell(best):
    if best is None:
        return "not reached"
    qps, index, row = best
    setting = ", ".join(f"{name} {value}".strip() for name, value in row["setting"].items())
    return f"{qps:,.0f} ({'; '.join(filter(None, (index, setting)))})"


def build_table(found):
    lines = [["index", "build s", "write s", "resident", "peak while building", "on disk"]]
    for result in sorted(found, key=lambda result: (result["family"], result["index"])):
        built = result["built"]
        values = [built["build_seconds"], built["save_seconds"], result["one"].get("index_rss_mb")]
        values += [built.get("build_peak_mb"), built.get("disk_mb")]
        numbers = ["" if value is None else f"{value:,.1f}" for value in values[:2]]
        numbers += ["" if value is None else f"{value:,.0f}" for value in values[2:]]
        name = ", ".join(filter(None, (result["family"], result["index"])))
        lines.append([name, *numbers])
    return table(lines)


def table(lines):
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
