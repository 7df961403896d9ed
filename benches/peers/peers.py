"""Measures Lanner and its peers on the same data: see README.md beside this file.

    run.sh run [--quick] [--data NAME] [--engine NAME] [--only TEXT] [--reuse] [--section NAME]
    run.sh report [--section NAME]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import lanner
import report
from datasets import CACHE, DATASETS
from engines import NAMES, Variant, engine

HERE = Path(__file__).resolve().parent
INDEXES = CACHE / "indexes"
#: Measured again, so often at most, if others took more than this share of the machine.
ATTEMPTS, DISTURBED_SHARE = 3, 0.05
#: These would make the peers' linear algebra take other kernels than it chooses for the processor.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main():
    arguments = parse()
    results = CACHE / results_name(arguments)
    if arguments.action == "run":
        measure_all(arguments, results)
    if arguments.quick and not arguments.section:
        print(report.section(results))
    elif not arguments.no_report:
        report.write(results, arguments.section)


def results_name(arguments):
    kind = arguments.section or ("quick" if arguments.quick else None)
    return f"results-{kind}" if kind else "results"


def measure_all(arguments, results):
    for dataset in datasets(arguments):
        dataset.prepare()
        for name in arguments.engine or (*NAMES, "lanner"):
            run_engine(dataset, name, arguments, results)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=["run", "report"])
    parser.add_argument("--quick", action="store_true", help="wn-deb-384 and few settings, in minutes")
    parser.add_argument("--data", action="append", choices=list(DATASETS))
    parser.add_argument("--engine", action="append", choices=[*NAMES, "lanner"])
    parser.add_argument("--only", action="append", help="only indexes whose key contains this")
    parser.add_argument("--reuse", action="store_true", help="keep indexes, and search those kept before")
    parser.add_argument("--runs", type=int, help="runs of each measurement, of which the best counts")
    parser.add_argument("--section", help="results and a section of their own, such as those of a machine")
    parser.add_argument("--no-report", action="store_true", help="leave docs/ alone")
    return parser.parse_args()


def datasets(arguments):
    names = arguments.data or (["wn-deb-384"] if arguments.quick else list(DATASETS))
    return [DATASETS[name] for name in names]


def run_engine(dataset, name, arguments, results):
    runs = arguments.runs or (3 if arguments.quick else 5)
    if name == "lanner":
        for result in lanner.run(dataset, arguments.quick, runs, environment(None)):
            write(results / dataset.name, result | {"runs": runs})
        return
    for variant in engine(name).variants(dataset, arguments.quick):
        if any(text in variant.key for text in arguments.only or [""]):
            result = run_variant(dataset, name, variant, runs, arguments)
            if result:
                write(results / dataset.name, result)


def run_variant(dataset, name, variant, runs, arguments):
    """Builds (unless an old index may be used) and searches one index; None if the peer failed."""
    started, cores = time.time(), os.cpu_count()
    folder = INDEXES / dataset.name / variant.key
    options = {"folder": str(folder), "quick": arguments.quick, "runs": runs}
    built_file = folder / "built.json"
    if not (arguments.reuse and built_file.exists()):
        built = calm("build", dataset, name, variant, cores, options)
        if built is None:
            return None
        built_file.write_text(json.dumps(built))
    result = {
        "engine": name,
        "family": variant.family,
        "index": variant.label,
        "built": json.loads(built_file.read_text()),
        "quick": arguments.quick,
        "runs": runs,
    }
    result["one"] = calm("search", dataset, name, variant, 1, options)
    if result["one"] is None:
        return None
    # All cores are compared on the first query set alone.
    options["chosen"] = {"id": result["one"].pop("chosen")["id"]}
    result["all"] = calm("search", dataset, name, variant, cores, options)
    if not arguments.reuse:
        shutil.rmtree(folder)
    say(dataset, result, time.time() - started)
    return result


def say(dataset, result, seconds):
    """Tells what is done, and whether somebody else used the machine meanwhile."""
    parts = (result["built"], result["one"], result["all"] or result["one"])
    others = ", ".join(f"{part['noise']['others_share']:.1%}" for part in parts)
    name = f"{dataset.name} {result['family']}, {result['index']}"
    print(f"{name}: {seconds:.0f} s; others took {others} of the machine", flush=True)


def calm(*task):
    """The least disturbed of some attempts; one, if nobody else used the machine."""
    attempts = []
    for _ in range(ATTEMPTS):
        attempts.append(worker(*task))
        if attempts[-1] is None or attempts[-1]["noise"]["others_share"] <= DISTURBED_SHARE:
            return attempts[-1]
    return min(attempts, key=lambda each: each["noise"]["others_share"])


def worker(action, dataset, name, variant, threads, options):
    """Runs worker.py; returns its result, or None after saying why there is none."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / "worker.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "worker.py"), action, dataset.name, name, variant.key]
    command += [str(threads), json.dumps(options | {"result": str(path)})]
    done = subprocess.run(command, env=environment(threads), capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(path.read_text())
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    print(f"{variant.family}, {variant.label}: {action} failed ({done.returncode}): {last}", flush=True)
    return None


def environment(threads):
    inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
    return inherited | ({name: str(threads) for name in THREADS} if threads else {})


def write(folder, result):
    key = Variant(result["family"], result["index"]).key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
