"""Describes the machine and the versions: numbers mean nothing without them."""

import datetime
import importlib.metadata as metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = (
    "scalable-vs",
    "hnswlib",
    "faiss-cpu",
    "usearch",
    "rabitqlib",
    "scann-core",
    "lorann",
    "qdrant-edge-py",
    "numpy",
)
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")


def describe():
    fields = cpu_fields()
    flags = fields.get("flags", "").split()
    has = ", ".join(feature for feature in FEATURES if feature in flags) or "none of those looked for"
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return (
        f"{datetime.date.today()}, {os.cpu_count()} cores of {fields.get('model name', 'unknown')} "
        f"(family {fields.get('cpu family')}, model {fields.get('model')}; {has}; {caches()}), "
        f"{memory_kb / 2**20:.0f} GiB of memory, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def versions():
    return ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)


def cpu_fields():
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def caches():
    text = subprocess.run(["lscpu"], capture_output=True, text=True).stdout
    lines = [line.split(":", 1) for line in text.splitlines() if line.startswith(("L2", "L3"))]
    return ", ".join(f"{name} {size.strip()}" for name, size in lines)
