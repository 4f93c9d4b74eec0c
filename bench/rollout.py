"""The rollout engine against transformers' `generate`, against itself without refill or with a barrier, and by size.

    python bench/rollout.py equal  [--shape T|S] [--dtype float32|bfloat16] [--peer float32-dynamic|bfloat16-static]
    python bench/rollout.py ragged
    python bench/rollout.py rounds [--no-shrink]
    python bench/rollout.py sizes
    python bench/rollout.py gpu    [--peer bfloat16-static|bfloat16-compiled]

One JSON line each. What is compared runs in turn, each in a process of its own, pinned to one core but for `gpu`,
`--pairs` times after a run that is not counted; figures are [median, smallest, largest], ratios are taken pair by pair.
Weights are random. Lengths are forced (equal, sizes, gpu), or drawn: a stop id comes once in 64 tokens, 256 at most
(ragged, rounds; another seed for each pair), and the peer gets the lengths that ours drew. The peer needs the extra
`parity`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

WORKERS = Path(__file__).with_name("workers.py")
# As launch/venv.sh says why; for both sides.
KEEP_MEMORY = ":".join(
    f"glibc.malloc.{setting}" for setting in ("hugetlb=1", "mmap_max=0", "trim_threshold=17179869184", "arena_max=1")
)


class Worker:
    """A process that does one side's work when asked. `options["script"]`: the file that holds it."""

    def __init__(self, what: str, options: dict):
        self.what = what
        quiet = {"HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "GLIBC_TUNABLES": KEEP_MEMORY}
        script = str(options.get("script", WORKERS))
        command = [sys.executable, script, what, json.dumps(options)]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(command, env={**os.environ, **quiet}, **pipes)

    def run(self, **asked) -> dict:
        print(json.dumps({"seed": 0, **asked}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.what} ended; its message is above")
        return json.loads(line)


def measure(options: dict, pairs: int, *names: str) -> list[list[dict]]:
    """For each name its runs, one a pair. Peers get the lengths that the first of ours drew with the same seed."""
    workers = [Worker(name, options) for name in names]
    lengths = {}
    for worker in workers:  # not counted: compiles every size that will be met
        for seed in range(pairs if worker.what.startswith("ours") else 1):
            found = worker.run(seed=seed, lengths=lengths.get(seed))
            lengths.setdefault(seed, found.get("lengths"))
    runs = [[worker.run(seed=seed, lengths=lengths[seed]) for worker in workers] for seed in range(pairs)]
    for worker in workers:
        worker.process.communicate()
    return [list(rows) for rows in zip(*runs, strict=True)]


def spread(values) -> list[float]:
    """Median, smallest, largest."""
    return [float(f"{f(values):.4g}") for f in (statistics.median, min, max)]


def ratios(ours: list[dict], theirs: list[dict]) -> dict:
    """How many times as many tokens a second ours makes, by pair."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        f"times_by_{key}": spread([a["tokens"] / a[key] / (b["tokens"] / b[key]) for a, b in pairs])
        for key in ("cpu_s", "wall_s")
    }


def speed(rows: list[dict]) -> dict:
    counts = {key: spread([row[key] for row in rows]) for key in ("slot_steps", "decode_steps") if key in rows[0]}
    return {
        "tokens_per_cpu_s": spread([row["tokens"] / row["cpu_s"] for row in rows]),
        "tokens_per_s": spread([row["tokens"] / row["wall_s"] for row in rows]),
        **counts,
    }


def equal(options: dict, pairs: int) -> dict:
    ours, peer = measure(options, pairs, "ours.equal", "peer.equal")
    return {"ours": speed(ours), f"transformers {options['peer']}": speed(peer), **ratios(ours, peer)}


def ragged(options: dict, pairs: int) -> dict:
    ours, batches, peer = measure(options, pairs, "ours.ragged", "ours.batches", "peer.ragged")
    lengths = [length for row in ours for length in row["lengths"]]
    return {
        "mean_length": round(statistics.mean(lengths), 1),
        "slot_use": spread([row["tokens"] / row["slot_steps"] for row in ours]),
        "ours": speed(ours),
        "ours in batches": speed(batches),
        f"transformers {options['peer']} in batches": speed(peer),
        "against ours in batches": ratios(ours, batches),
        "against transformers": ratios(ours, peer),
    }


def rounds(options: dict, pairs: int) -> dict:
    grpo, lte, barrier = measure(options, pairs, "ours.grpo", "ours.lte", "ours.barrier")
    threes = list(zip(grpo, lte, barrier, strict=True))
    cost = {
        key: spread([(b[key] - a[key]) / (c[key] - a[key]) for a, b, c in threes])
        for key in ("slot_steps", "decode_steps", "wall_s", "cpu_s")
    }
    summed = {
        key: round(sum(b[key] - a[key] for a, b, _ in threes) / sum(c[key] - a[key] for a, _, c in threes), 3)
        for key in cost
    }
    shadow = spread([row.get("shadow_tokens", 0) / (row["tokens"] - a["tokens"]) for a, row, _ in threes])
    return {
        "grpo": speed(grpo),
        "lte": speed(lte),
        "lte with a barrier": speed(barrier),
        "second_round_tokens_in_the_shadow_of_the_first": shadow,
        "cost_of_the_second_round": cost,
        "the_same_summed_over_pairs": summed,
    }


def sizes(options: dict, pairs: int) -> dict:
    """Each row changes one size. The limit: the larger of arithmetic and memory time of a step, at rates found here."""
    machine = _rates(options["core"])
    base = {"rows": 64, "new": 128, "vocabulary": 512}
    changes = [{"rows": n} for n in (8, 32, 128, 256)] + [{"new": n} for n in (64, 256, 1024)]
    changes += [{"vocabulary": n} for n in (32768, 151936)]
    table = []
    for change in ({}, *changes):
        row = {**base, **change}
        (runs,) = measure({**options, **row}, pairs, "ours.equal")
        limit_s = _limit_s(options, row, machine)
        share = spread([limit_s * run["tokens"] / row["rows"] / run["cpu_s"] for run in runs])
        table.append({**row, "tokens_per_cpu_s": speed(runs)["tokens_per_cpu_s"], "share_of_limit": share})
    return {"machine": machine, "table": table}


def _limit_s(options: dict, row: dict, machine: dict) -> float:
    """Seconds that a decode step takes at least: weights and half-filled cache are read once, in float32."""
    from workers import SHAPES

    _, d_model, d_ff, n_layers, n_heads, n_kv_heads, d_head = SHAPES[options["shape"]]
    per_layer = d_model * d_head * (2 * n_heads + 2 * n_kv_heads) + 3 * d_model * d_ff
    weights = n_layers * per_layer + d_model * row["vocabulary"]
    columns = options["prompt"] + row["new"] / 2
    cache = 2 * n_layers * n_kv_heads * d_head * columns * row["rows"]
    flops = 2 * row["rows"] * weights + 2 * cache * n_heads / n_kv_heads
    return max(flops / (1e9 * machine["gflops"]), 4 * (weights + cache) / (1e9 * machine["gb_per_s"]))


def _rates(core: int) -> dict:
    """What one core does at best: float32 products of 1024 x 1024, and reading 1 GiB."""
    code = (
        f"import os, time; os.sched_setaffinity(0, {{{core}}})\n"
        "import jax, jax.numpy as jnp\n"
        "def best(f, x):\n"
        "    f(x).block_until_ready(); times = []\n"
        "    for _ in range(9):\n"
        "        t = time.perf_counter(); f(x).block_until_ready(); times.append(time.perf_counter() - t)\n"
        "    return min(times)\n"
        "gemm = best(jax.jit(lambda a: a @ a), jnp.ones((1024, 1024)))\n"
        "read = best(jax.jit(lambda a: a.sum()), jnp.ones((1 << 28,)))\n"
        "print(2 * 1024**3 / gemm / 1e9, (1 << 30) / read / 1e9)"
    )
    gflops, gb = map(float, subprocess.check_output([sys.executable, "-c", code], text=True).split())
    return {"gflops": round(gflops, 1), "gb_per_s": round(gb, 1)}


def gpu(options: dict, pairs: int) -> dict:
    """Qwen3-0.6B and 4B in bfloat16: decode tokens/s at full context, beside what the memory bandwidth allows."""
    from workers import SHAPES

    table = []
    for shape in options["gpu_shapes"]:
        for n_rows in options["gpu_rows"]:
            for context in options["gpu_contexts"]:
                new = min(128, context // 2)
                row = {"shape": shape, "rows": n_rows, "prompt": context - new, "new": new, "dtype": "bfloat16"}
                both = {**options, **row, "core": None, "distinct": False}
                names = ["ours.equal", "peer.equal"] if options["peer"] != "none" else ["ours.equal"]
                runs = measure(both, pairs, *names)
                vocab_size, d_model, d_ff, n_layers, n_heads, n_kv_heads, d_head = SHAPES[shape]
                weights = n_layers * (d_model * d_head * (2 * n_heads + 2 * n_kv_heads) + 3 * d_model * d_ff)
                cache = 2 * n_layers * n_kv_heads * d_head * (context - new / 2) * n_rows
                limit = n_rows / (2 * (weights + d_model * vocab_size + cache) / (1e9 * options["gb_per_s"]))
                decode = spread([run["tokens"] / run["decode_s"] for run in runs[0]])
                table.append({**row, "decode_tokens_per_s": decode, "limit": round(limit), "share": decode[0] / limit})
                if len(runs) > 1:
                    table[-1] |= {f"transformers {options['peer']}": speed(runs[1]), **ratios(*runs)}
                print(json.dumps(table[-1]), file=sys.stderr, flush=True)
    return {"gb_per_s": options["gb_per_s"], "table": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benches = {bench.__name__: bench for bench in (equal, ragged, rounds, sizes, gpu)}
    parser.add_argument("bench", choices=benches)
    parser.add_argument("--shape", choices=["tiny", "T", "S", "4B"], default="T")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--peer", default="float32-dynamic", help="type-cache: dynamic, static or compiled; none (gpu)")
    parser.add_argument(
        "--rows", type=int, default=0, help="slots, and rows of a batch; default 64, or 32 where ragged"
    )
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--distinct", action="store_true", help="as many prompts as rows, not one for 8")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false", help="every step has all the slots")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--gb-per-s", type=float, default=4300.0, help="gpu: memory bandwidth")
    parser.add_argument("--gpu-shapes", nargs="+", default=["S", "4B"])
    parser.add_argument("--gpu-rows", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--gpu-contexts", nargs="+", type=int, default=[1024, 4096])
    options = vars(parser.parse_args()) | {"vocabulary": 0}
    bench, pairs = options.pop("bench"), options.pop("pairs")
    options["rows"] = options["rows"] or (32 if bench in ("ragged", "rounds") else 64)
    about = {key: options[key] for key in ("shape", "dtype", "rows", "prompt", "distinct", "shrink")}
    print(json.dumps({"bench": bench, "pairs": pairs, **about, **benches[bench](options, pairs)}))


if __name__ == "__main__":
    main()
