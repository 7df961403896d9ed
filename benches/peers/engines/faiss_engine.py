"""FAISS: HNSW on f32, f16 and SQ8, IVF of several codes with re-ranking, and the exact scan."""

import faiss

from engines import K, Searching, Variant, windows

EF_CONSTRUCTION = 200


def variants(dataset, quick):
    rows, dimensions = dataset.shape()
    lists = 1024 if rows < 100_000 else 2048
    found = [Variant("faiss exact", "flat", {"factory": "Flat"})]
    for m in (16, 32) if quick else (16, 32, 48):
        found.append(hnsw("f32", m, "Flat"))
    for m in (32,) if quick else (16, 32, 48):
        found.append(hnsw("SQ8", m, "SQ8"))
    if not quick:
        found.append(hnsw("f16", 32, "SQfp16"))
    # Two dimensions a code of four bits, then four: the well-known widths of the fast scan.
    for width in (2,) if quick else (2, 4):
        code = f"PQ{dimensions // width}x4fs"
        found.append(ivf("faiss IVF PQ fast-scan", lists, f"{code},RFlat"))
    if not quick:
        found.append(ivf("faiss IVF RaBitQ fast-scan", lists, "RaBitQfs,RFlat"))
        found.append(ivf("faiss IVF SQ8", lists, "SQ8"))
        found.append(ivf("faiss IVF f32", lists, "Flat"))
    return found


def hnsw(kind, m, storage):
    factory = f"HNSW{m},{storage}"
    return Variant(f"faiss HNSW {kind}", f"M {m}", {"factory": factory})


def ivf(family, lists, code):
    return Variant(family, f"{lists} lists, {code}", {"factory": f"IVF{lists},{code}"})


def build(variant, dataset, base, threads, folder):
    faiss.omp_set_num_threads(threads)
    index = faiss.index_factory(
        base.shape[1], variant.parameters["factory"], faiss.METRIC_INNER_PRODUCT
    )
    if variant.parameters["factory"].startswith("HNSW"):
        index.hnsw.efConstruction = EF_CONSTRUCTION
    index.train(base)
    index.add(base)
    return index


def save(index, folder):
    faiss.write_index(index, str(folder / "index"))


class Searcher(Searching):
    # As many as there are factors for one number of probes.
    patience = 5

    def __init__(self, variant, dataset, folder, threads):
        faiss.omp_set_num_threads(threads)
        self.index = faiss.read_index(str(folder / "index"))
        self.factory = variant.parameters["factory"]
        self.parameters = None

    def settings(self, quick):
        if self.factory == "Flat":
            return [{}]
        if self.factory.startswith("HNSW"):
            return [{"ef": ef} for ef in windows(quick)]
        probes = windows(True, low=2, high=400)
        if not self.factory.endswith("RFlat"):
            return [{"nprobe": probe} for probe in probes]
        factors = (2, 4, 8) if quick else (1, 2, 4, 8, 16)
        return [{"nprobe": probe, "k_factor": factor} for probe in probes for factor in factors]

    def apply(self, setting):
        if "ef" in setting:
            self.parameters = faiss.SearchParametersHNSW(efSearch=setting["ef"])
        elif "nprobe" in setting:
            self.parameters = ivf_parameters(self.index, setting)
        index, parameters = self.index, self.parameters
        self.one = lambda part: index.search(part, K, params=parameters)

    def enter_thread(self):
        # The number of threads belongs to the calling thread.
        faiss.omp_set_num_threads(1)

    def batch(self, queries):
        return self.index.search(queries, K, params=self.parameters)

    def rows(self, raw):
        return raw[1]


def ivf_parameters(index, setting):
    inner = faiss.downcast_index(index.base_index) if "k_factor" in setting else index
    faiss.extract_index_ivf(inner).nprobe = setting["nprobe"]
    if "k_factor" in setting:
        index.k_factor = setting["k_factor"]
    return None
