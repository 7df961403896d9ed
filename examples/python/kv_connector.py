"""A KV connector for vLLM that selects the blocks of the KV cache that a decoding step needs.

    pip install numpy lanner
    python examples/python/kv_connector.py

`LannerConnector` has the methods of `KVConnectorBase_V1` (vLLM 0.33), and needs no vLLM: `main` plays scheduler and
worker, with paged caches in numpy and generated tensors. It was not run within vLLM, which would have to

- pass the queries of each layer to `observe_queries` before the layer attends: connectors are not given any;
- read only the blocks in `selected` in its attention kernel: without that nothing is saved.

All blocks stay in the cache; nothing moves between devices, and indexes are on the CPU. There is one group of KV caches
without quantization, and no speculative decoding, as an index cannot forget keys. A prefix is shared if it is the whole
prompt of a living request, up to the last full block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
from lanner.attention import KeyIndex, search_heads

try:
    from vllm.distributed.kv_transfer.kv_connector.v1.base import (
        KVConnectorBase_V1,
        KVConnectorMetadata,
        KVConnectorRole,
    )
except ImportError:
    KVConnectorMetadata = object
    KVConnectorRole = Enum("KVConnectorRole", [("SCHEDULER", 0), ("WORKER", 1)])

    class KVConnectorBase_V1:
        """What the connector uses of vLLM's class."""

        def __init__(self, vllm_config, role, kv_cache_config):
            self._connector_metadata = None

        def bind_connector_metadata(self, connector_metadata):
            self._connector_metadata = connector_metadata

        def clear_connector_metadata(self):
            self._connector_metadata = None

        def _get_connector_metadata(self):
            return self._connector_metadata


@dataclass
class Part:
    """What a step computes of a request: its tokens `start` to `end`."""

    start: int
    end: int
    prompt: int  # tokens of the prompt
    blocks: list[int]  # of all tokens, in their order
    source: str | None  # the request whose prompt is a prefix of this one's
    copies: list[tuple[int, int]]  # blocks of the prefix, from and to


@dataclass
class Step(KVConnectorMetadata):
    """Sent by the scheduler to the workers."""

    parts: dict[str, Part] = field(default_factory=dict)


class LannerConnector(KVConnectorBase_V1):
    """One `KeyIndex` for each request, layer and KV head. The scheduler has a connector, and each worker another.

    Settings, in `kv_connector_extra_config`: a search is for the blocks of the share `lanner_budget` of the keys; the
    first block and the last `lanner_recent` are always selected.
    """

    def __init__(self, vllm_config, role, kv_cache_config):
        super().__init__(vllm_config, role, kv_cache_config)
        setting = vllm_config.kv_transfer_config.get_from_extra_config
        self._budget, self._recent = setting("lanner_budget", 0.01), setting("lanner_recent", 4)
        self._block_size = vllm_config.cache_config.block_size
        # The scheduler's: request, source and number of tokens to load; blocks; hash of a prompt -> request.
        self._requests, self._blocks, self._prompts = {}, {}, {}
        # The worker's, by layer and request: an index for each KV head, those of the prompt, and queries.
        self._caches, self._indexes, self._prefixes, self._queries = {}, {}, {}, {}
        self.selected = {}
        """Blocks to read, by layer and request: an array for each KV head. Without an entry, read all."""

    # Scheduler

    def get_num_new_matched_tokens(self, request, num_computed_tokens):
        """Tokens of a known prompt beyond those that vLLM's own prefix cache has; they are loaded before the step."""
        return max(0, self._match(request)[1] - num_computed_tokens), False

    def update_state_after_alloc(self, request, blocks, num_external_tokens):
        """Remembers whose indexes are forked for the request."""
        self._requests[request.request_id] = (request, self._match(request)[0], num_external_tokens)

    def build_connector_meta(self, scheduler_output):
        """For each request of the step: its blocks and new tokens, and the prefix to fork and copy."""
        step, size, cached = Step(), self._block_size, scheduler_output.scheduled_cached_reqs
        for name in scheduler_output.preempted_req_ids or ():
            self._blocks.pop(name, None)  # its blocks are somebody else's now
        new = scheduler_output.scheduled_new_reqs
        scheduled = [(data.req_id, data.block_ids, data.num_computed_tokens, True) for data in new]
        resumed = [name in cached.resumed_req_ids for name in cached.req_ids]
        scheduled += zip(cached.req_ids, cached.new_block_ids, cached.num_computed_tokens, resumed)
        for name, added, start, anew in scheduled:
            request, source, external = self._requests[name]
            blocks = ([] if anew else self._blocks[name]) + list(added[0] if added else ())
            end, copies = start + scheduler_output.num_scheduled_tokens[name], []
            if anew and external:
                loaded = slice((start - external) // size, start // size)
                copies = list(zip(self._blocks[source][loaded], blocks[loaded]))
            self._blocks[name] = blocks
            prompt = request.num_prompt_tokens
            if end >= prompt and (whole := self._whole(prompt)):
                self._prompts.setdefault(request.block_hashes[whole - 1], name)
            step.parts[name] = Part(start, end, prompt, blocks[: -(-end // size)], source, copies)
        return step

    def request_finished(self, request, block_ids):
        """Its blocks are free at once; workers hear of it in `get_finished`."""
        self._requests.pop(request.request_id, None)
        self._blocks.pop(request.request_id, None)
        self._prompts = {key: name for key, name in self._prompts.items() if name != request.request_id}
        return False, None

    def _match(self, request):
        """The living request with the longest prompt that is a prefix of this one's, and the prompt's tokens."""
        for blocks in range(self._whole(request.num_prompt_tokens), 0, -1):
            source = self._prompts.get(request.block_hashes[blocks - 1])
            if source in self._blocks:
                return source, blocks * self._block_size
        return None, 0

    def _whole(self, prompt):
        """Full blocks of a prompt without its last token, which is always computed."""
        return (prompt - 1) // self._block_size

    # Worker

    @classmethod
    def requires_piecewise_for_cudagraph(cls, extra_config):
        return True  # the methods of a layer are called in each step

    def register_kv_caches(self, kv_caches):
        """`kv_caches` by layer: [blocks, KV heads, block size, 2d], keys before values."""
        self._caches = kv_caches

    def start_load_kv(self, forward_context, **kwargs):
        """Copies the blocks of shared prefixes. Queries, and so selections, come layer by layer."""
        for part in self._get_connector_metadata().parts.values():
            for cache in self._caches.values():
                for source, target in part.copies:
                    cache[target] = cache[source]

    def observe_queries(self, layer_name, queries):
        """Not a method of vLLM's: the queries of a step by request, [tokens, heads, d], rotary embeddings applied."""
        for name, rows in queries.items():
            self._queries.setdefault((layer_name, name), []).append(_floats(rows))

    def wait_for_layer_load(self, layer_name):
        """Selects blocks for the requests that decode."""
        chosen = self.selected[layer_name] = {}
        for name, part in self._get_connector_metadata().parts.items():
            at = (layer_name, name)
            if part.start >= part.prompt and at in self._indexes and at in self._queries:
                chosen[name] = self._select(self._indexes[at], np.concatenate(self._queries[at]), part)

    def save_kv_layer(self, layer_name, kv_layer, attn_metadata, **kwargs):
        """Builds indexes at the end of a prompt, or forks those of its prefix; then appends the keys of each step.

        `kv_layer`: [blocks, KV heads, block size, 2d].
        """
        for name, part in self._get_connector_metadata().parts.items():
            self._save(layer_name, name, part, kv_layer)

    def wait_for_save(self):
        """Nothing to wait for: `save_kv_layer` has done it all."""

    def get_finished(self, finished_req_ids):
        """Drops the indexes of finished requests; forks keep what they share. Nothing is sent or received later."""
        for known in (self._indexes, self._prefixes, self._queries):
            for at in [at for at in known if at[1] in finished_req_ids]:
                del known[at]
        return None, None

    def _select(self, indexes, queries, part):
        """Blocks for each KV head, [selected], of queries [tokens, heads, d]."""
        size, n, blocks = self._block_size, len(indexes[0]), np.array(part.blocks)
        recent = max(1, n // size - self._recent)
        rows = _by_head(queries, len(indexes))
        hits = search_heads(
            indexes,
            rows.reshape(-1, rows.shape[-1]),
            max(1, int(self._budget * n)),
            exclude=[(0, size), (recent * size, n)],
            page=size,
        )
        # The queries of a KV head are neighbours, and so are their hits.
        ends = hits.offsets[:: rows.shape[1]]
        always = [0, *range(recent, len(blocks))]
        return [blocks[np.union1d(hits.ids[a:b].astype(int), always)] for a, b in pairwise(ends)]

    def _save(self, layer, name, part, cache):
        at, whole = (layer, name), self._whole(part.prompt) * self._block_size
        if whole == 0:
            self._queries.pop(at, None)
            return  # a prompt of one block has no index: all blocks are read
        if at not in self._indexes:
            if (layer, part.source) in self._prefixes:
                self._indexes[at] = [index.fork() for index in self._prefixes[layer, part.source]]
            elif part.end >= part.prompt and at in self._queries:
                keys = self._keys(cache, part, 0, whole)
                queries = _by_head(np.concatenate(self._queries[at]), len(keys))
                self._indexes[at] = [KeyIndex(*of_head) for of_head in zip(keys, queries)]
            else:
                return  # more of the prompt follows, or nobody passes queries
        self._queries.pop(at, None)
        if at not in self._prefixes:
            self._append(at, part, cache, min(whole, part.end))
            if part.end < part.prompt:
                return
            self._prefixes[at] = [index.fork() for index in self._indexes[at]]
        self._append(at, part, cache, part.end)

    def _append(self, at, part, cache, end):
        start = len(self._indexes[at][0])
        if start < end:
            for index, keys in zip(self._indexes[at], self._keys(cache, part, start, end)):
                index.append(keys)

    def _keys(self, cache, part, start, end):
        """Keys of tokens `start` to `end`, [KV heads, tokens, d], out of [blocks, KV heads, block size, 2d]."""
        size, first = self._block_size, start // self._block_size
        blocks = cache[part.blocks[first : -(-end // size)]]
        keys = _floats(blocks[..., : blocks.shape[-1] // 2]).swapaxes(0, 1)
        return keys.reshape(len(keys), -1, keys.shape[-1])[:, start - first * size : end - first * size]


def _floats(tensor):
    """A tensor of torch on any device, or of numpy, as an array of f32."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().float().cpu()
    return np.asarray(tensor, np.float32)


def _by_head(queries, kv_heads):
    """[tokens, heads, d] as [KV heads, tokens · heads of each, d]."""
    tokens, _, d = queries.shape
    return queries.reshape(tokens, kv_heads, -1, d).swapaxes(0, 1).reshape(kv_heads, -1, d)


# A scheduler and a worker, as far as the connector sees them.

LAYERS, KV_HEADS, GROUP, D, SIZE, BLOCKS = ("layers.0", "layers.1"), 2, 2, 64, 16, 1_200
TOPICS, PASSAGE, PROMPT, CHUNK, MORE, STEPS, DRAWS = 64, 64, 8_000, 4_096, 200, 8, 20


class Engine:
    """Tokens are topics, which change with each passage of the text. Keys and queries are directions of topics, other
    ones for each layer and KV head, with as much noise; which topic a query asks for is chance."""

    def __init__(self):
        config = SimpleNamespace(
            cache_config=SimpleNamespace(block_size=SIZE),
            kv_transfer_config=SimpleNamespace(get_from_extra_config=lambda key, default: default),
        )
        self.scheduler = LannerConnector(config, KVConnectorRole.SCHEDULER, None)
        self.worker = LannerConnector(config, KVConnectorRole.WORKER, None)
        self.rng = np.random.default_rng(7)
        self.caches = {layer: np.zeros((BLOCKS, KV_HEADS, SIZE, 2 * D), np.float32) for layer in LAYERS}
        self.worker.register_kv_caches(self.caches)
        self.topics = {layer: self.noise(KV_HEADS, TOPICS, D) for layer in LAYERS}
        self.free, self.blocks, self.computed = self.rng.permutation(BLOCKS).tolist(), {}, {}
        self.finished = set()

    def noise(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def text(self, tokens):
        return np.repeat(self.rng.integers(TOPICS, size=-(-tokens // PASSAGE)), PASSAGE)[:tokens].tolist()

    def request(self, name, tokens):
        """As vLLM's `Request`: the hash of a full block is that of all tokens up to its end."""
        n = len(tokens)
        hashes = [hash(tuple(tokens[:end])) for end in range(SIZE, n + 1, SIZE)]
        return SimpleNamespace(request_id=name, num_prompt_tokens=n, block_hashes=hashes, tokens=tokens)

    def step(self, request, tokens):
        """Schedules and computes up to so many tokens of a request; returns what `measure` does."""
        name, external = request.request_id, None
        if name not in self.computed:
            external, _ = self.scheduler.get_num_new_matched_tokens(request, 0)
            self.computed[name], self.blocks[name] = external, []
        start = self.computed[name]
        end = self.computed[name] = min(start + tokens, len(request.tokens))
        new = [self.free.pop() for _ in range(-(-end // SIZE) - len(self.blocks[name]))]
        self.blocks[name] += new
        started = SimpleNamespace(req_id=name, block_ids=(new,), num_computed_tokens=start)
        going_on = SimpleNamespace(
            req_ids=[name], resumed_req_ids=set(), new_block_ids=[(new,)], num_computed_tokens=[start]
        )
        output = SimpleNamespace(
            scheduled_new_reqs=[],
            scheduled_cached_reqs=going_on,
            num_scheduled_tokens={name: end - start},
            preempted_req_ids=set(),
        )
        if external is not None:
            self.scheduler.update_state_after_alloc(request, None, external)
            output.scheduled_new_reqs, going_on.req_ids = [started], []
        self.worker.bind_connector_metadata(self.scheduler.build_connector_meta(output))
        self.worker.start_load_kv(None)
        measured = [row for layer in LAYERS for row in self.forward(layer, name, request.tokens, start, end)]
        self.worker.wait_for_save()
        self.worker.get_finished(self.finished)
        self.worker.clear_connector_metadata()
        self.finished = set()
        return measured

    def forward(self, layer, name, tokens, start, end):
        keys = self.topics[layer][:, tokens[start:end]] + self.noise(KV_HEADS, end - start, D)
        positions = np.arange(start, end)
        blocks = np.array(self.blocks[name])[positions // SIZE]
        self.caches[layer][blocks, :, positions % SIZE, :D] = keys.swapaxes(0, 1)
        asked = self.topics[layer][:, self.rng.integers(TOPICS, size=end - start)].swapaxes(0, 1)
        queries = np.repeat(asked, GROUP, axis=1) + self.noise(end - start, KV_HEADS * GROUP, D)
        self.worker.observe_queries(layer, {name: queries})
        self.worker.wait_for_layer_load(layer)
        selected = self.worker.selected[layer].get(name)
        measured = [] if selected is None else list(self.measure(layer, name, queries[0], end, selected))
        self.worker.save_kv_layer(layer, self.caches[layer], None)
        return measured

    def measure(self, layer, name, queries, n, selected):
        """For each query: the number of blocks, their share of the exact softmax over all keys, and that of random ones
        beside the same first and recent blocks."""
        table = np.array(self.blocks[name])
        recent = max(1, (n - 1) // SIZE - self.worker._recent)
        for head, query in enumerate(queries):
            keys = self.caches[layer][table, head // GROUP, :, :D].reshape(-1, D)[:n]
            weights = np.exp(keys @ query / np.sqrt(D))
            mass = np.add.reduceat(weights, np.arange(0, n, SIZE)) / weights.sum()
            chosen = np.isin(table, selected[head // GROUP])
            always = mass[0] + mass[recent:].sum()
            others = chosen[1:recent].sum()
            draws = [self.rng.permutation(mass[1:recent])[:others].sum() for _ in range(DRAWS)]
            yield chosen.sum(), mass[chosen].sum(), always + np.mean(draws)

    def prefill(self, request):
        while self.computed.get(request.request_id, 0) < request.num_prompt_tokens:
            self.step(request, CHUNK)
        name, index = request.request_id, self.worker._indexes[LAYERS[0], request.request_id][0]
        print(f"{name}: a prompt of {request.num_prompt_tokens:,} tokens; each KV head has {index!r}")

    def decode(self, *requests):
        rows = {request.request_id: [] for request in requests}
        for _ in range(STEPS):
            for request in requests:
                request.tokens += self.text(1)
                rows[request.request_id] += self.step(request, 1)
        for name, measured in rows.items():
            blocks, mass, random = np.array(measured).T
            print(
                f"{name}: {self.computed[name]:,} tokens known; {blocks.mean():.0f} of {len(self.blocks[name])} blocks "
                f"selected, with {mass.mean():.3f} of the attention (least {mass.min():.3f}); "
                f"as many random blocks have {random.mean():.3f}"
            )

    def finish(self, request):
        self.scheduler.request_finished(request, self.blocks[request.request_id])
        self.free += self.blocks.pop(request.request_id)
        self.finished.add(request.request_id)


def main():
    engine = Engine()
    prompt = engine.text(PROMPT)
    first = engine.request("first", list(prompt))
    engine.prefill(first)
    engine.decode(first)
    second = engine.request("second", prompt + engine.text(MORE))
    print(f"second: {engine.scheduler.get_num_new_matched_tokens(second, 0)[0]:,} tokens are a known prefix")
    engine.prefill(second)
    engine.decode(first, second)
    engine.finish(first)
    engine.decode(second)
    left = {name for _, name in engine.worker._indexes}
    print(f"first is finished; there are indexes of {', '.join(left)}")


if __name__ == "__main__":
    main()
