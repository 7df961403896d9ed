"""Plots of recall against QPS: the best of each family, up and to the right is better."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

import report

LOWEST_RECALL = 0.80
STYLE = {"svg.hashsalt": "peers", "svg.fonttype": "none"}


def draw(dataset, found, folder, stem):
    """One plot for each query set and shape, on one thread; returns the Markdown that shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    links = []
    for shape in ("single", "batch"):
        name = f"{stem}-{shape}.svg"
        draw_one(dataset, found, "id", shape, folder / name)
        links.append(f"![{dataset.name}, {shape}, one thread](plots/{name})")
    return links


def draw_one(dataset, found, query_set, shape, path):
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(9, 6))
        for name, group in report.families(found, query_set, shape, "one").items():
            line = front(group, query_set, shape)
            if line:
                recalls, speeds = zip(*line)
                width = 3 if name.startswith("Lanner") else 1.2
                axes.plot(recalls, speeds, marker="o", markersize=3, linewidth=width, label=name)
        axes.set_yscale("log")
        axes.set_xlim(LOWEST_RECALL, 1.001)
        axes.set_xlabel("recall@10")
        axes.set_ylabel(f"queries per second, one thread, {shape}")
        axes.set_title(f"{dataset.name}, queries_{query_set}")
        axes.grid(which="both", alpha=0.3)
        axes.legend(fontsize=7, loc="lower left")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def front(group, query_set, shape):
    """Points of a family that no other of it beats in both, by falling speed."""
    points = [
        (row[f"qps_{shape}"], row["recall"][query_set])
        for result in group
        for row in result["one"]["rows"].get(query_set, [])
        if row.get(f"qps_{shape}") and row["recall"][query_set] >= LOWEST_RECALL
    ]
    line, best = [], -1.0
    for speed, recall in sorted(points, reverse=True):
        if recall > best:
            best = recall
            line.append((recall, speed))
    return line
