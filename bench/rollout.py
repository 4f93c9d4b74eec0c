"""The rollout engine against transformers' `generate`, against itself without refill or with a barrier, and by size.

    python bench/rollout.py equal  [--shape T|S] [--peer float32-dynamic|bfloat16-static] [--distinct]
    python bench/rollout.py ragged
    python bench/rollout.py rounds
    python bench/rollout.py sizes

One JSON line each. What is compared runs in turn, one process each, all pinned to one core, `--pairs` times after one
run that is not counted; figures are medians with their range. Weights are random. Lengths are forced (`equal`, `sizes`)
or come from stop ids that are drawn once in 64 tokens, capped at 256 (`ragged`, `rounds`): the peer gets ours.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPES = {  # vocabulary, D, F, L, N, K, H
    "T": (512, 256, 768, 6, 8, 4, 32),
    "S": (151936, 1024, 3072, 28, 16, 8, 128),  # Qwen3-0.6B
}
MEAN, CAP = 64, 256


class Ours:
    """The engine on one shape; each `run_*` is one measured piece of work."""

    def __init__(self, options):
        import jax

        from lte_jax.device import qwen3
        from lte_jax.device.weights import Architecture

        vocab_size = options.vocabulary or SHAPES[options.shape][0]
        self.arch = Architecture(vocab_size, *SHAPES[options.shape][1:], 1e6, 1e-6, True)
        self.params = qwen3.initial_params(self.arch, jax.random.key(0))
        self.options = options

    def engine(self, max_prompt: int, stop_ids=(), slots: int = 0):
        from lte_jax.config import EngineConfig, MeshConfig, ModelConfig
        from lte_jax.device.mesh import make_mesh
        from lte_jax.rollout import Engine

        options = self.options
        layout = EngineConfig(slots=slots or options.rows, length_bucket=32, prefill_rows=options.rows)
        made = Engine(
            self.arch, ModelConfig(compute_dtype=options.dtype), layout, make_mesh(MeshConfig()), stop_ids, max_prompt
        )
        made.load(self.params)
        return made

    def requests(self, n_groups: int, group_size: int, round_: int = 0, length: int = 0):
        from lte_jax.slots import Request

        return [
            Request(self.prompt(group, length or self.options.prompt), (0, 0, 0, group, round_, index))
            for group in range(n_groups)
            for index in range(group_size)
        ]

    def prompt(self, group: int, length: int):
        import numpy as np

        from lte_jax.records import Prompt

        rng = np.random.default_rng([group, length])
        return Prompt("", tuple(rng.integers(0, self.arch.vocab_size, length).tolist()))

    def equal(self):
        """Rows of equal length: groups of 8 that share a prompt, or as many prompts as rows."""
        from lte_jax.slots import Sampling

        options = self.options
        per_prompt = 1 if options.distinct else min(8, options.rows)
        engine = self.engine(options.prompt)
        requests = self.requests(options.rows // per_prompt, per_prompt)

        def run():
            drawn = list(engine.generate(requests, Sampling(1.0, 1.0, 0, options.new)))
            return {"tokens": sum(len(response.tokens) for _, response in drawn), **take(engine)}

        return run

    def ragged(self, refill: bool = True):
        """128 requests in groups of 8 through 32 slots; without refill, in batches of 32."""
        from lte_jax.slots import Sampling

        engine, requests = self.engine(self.options.prompt, self.stop_ids()), self.requests(16, 8)
        batches = [requests] if refill else [requests[start : start + 32] for start in range(0, 128, 32)]

        def run():
            lengths = []
            for batch in batches:
                drawn = dict(engine.generate(batch, Sampling(1.0, 1.0, 0, CAP)))
                lengths += [len(drawn[place].tokens) for place in range(len(batch))]
            return {"tokens": sum(lengths), "lengths": lengths, **take(engine)}

        return run

    def waves(self):
        return self.ragged(refill=False)

    def stop_ids(self) -> range:
        return range(self.arch.vocab_size // MEAN)  # random weights draw nearly uniformly

    def grpo(self):
        return self.rounds([])

    def lte(self):
        return self.rounds(range(0, 24, 3))

    def barrier(self):
        """The second round starts when the first has ended."""
        from lte_jax.slots import Sampling

        engine = self.engine(2 * self.options.prompt, self.stop_ids())
        first = self.requests(24, 8)
        asked = [r for r in self.requests(24, 8, 1, 2 * self.options.prompt) if r.key[3] % 3 == 0]

        def run():
            drawn = [r for part in (first, asked) for _, r in engine.generate(part, Sampling(1.0, 1.0, 0, CAP))]
            return {"tokens": sum(len(response.tokens) for response in drawn), **take(engine)}

        return run

    def rounds(self, none_pass):
        """24 groups of 8 through 32 slots; the groups of `none_pass` ask for 8 more from a longer prompt."""
        from lte_jax.records import Attempt, FailureMode, Group, Origin, Problem, Retry, Status, Verdict
        from lte_jax.rollout import Judge, Round
        from lte_jax.slots import Sampling

        engine, outer = self.engine(2 * self.options.prompt, self.stop_ids()), self

        class Asks:
            def retry(self, group: Group, memory: dict) -> Retry | None:
                if group.index not in none_pass or group.attempts:
                    return None
                hinted = outer.prompt(group.index, 2 * outer.options.prompt)
                return Retry(hinted, 8, Origin.HINTED, FailureMode.NONE_TRUNCATED)

            def merge(self, group: Group, attempt: Attempt) -> Group:
                from dataclasses import replace

                return replace(group, attempts=(attempt,))

        def verify(items):
            return [Verdict(False, Status.DIFFERENT, problem.answer) for problem, _, _ in items]

        problems = [(Problem(str(g), "", ""), self.prompt(g, self.options.prompt)) for g in range(24)]
        settings = Round(Sampling(1.0, 1.0, 0, CAP), 8, Judge(lambda ids: "", verify), seed=0, step=0)

        def run():
            groups = engine.collect(problems, settings, Asks(), {})
            drawn = [r for g in groups for r in (*g.initial, *(r for a in g.attempts for r in a.rollouts))]
            return {"tokens": sum(len(rollout.tokens) for rollout in drawn), **take(engine)}

        return run


def take(engine) -> dict:
    seconds, counts, _ = engine.meter.take()
    return {**counts, **{f"{name}_s": value for name, value in seconds.items()}}


class Peer:
    """transformers `generate`, plain sampling, every row to the length that is asked for."""

    def __init__(self, options):
        import torch
        import transformers

        torch.set_num_threads(1)
        vocab, hidden, ffn, layers, heads, kv_heads, head_dim = SHAPES[options.shape]
        dtype, self.cache = options.peer.split("-")
        config = transformers.Qwen3Config(
            vocab_size=vocab, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
            num_key_value_heads=kv_heads, head_dim=head_dim, intermediate_size=ffn, tie_word_embeddings=True,
            bos_token_id=None, eos_token_id=None, pad_token_id=0, attn_implementation="sdpa",
        )  # fmt: skip
        torch.manual_seed(0)
        torch.set_default_dtype(getattr(torch, dtype))
        self.model = transformers.Qwen3ForCausalLM(config).eval()
        torch.set_default_dtype(torch.float32)
        self.torch, self.transformers, self.options, self.vocab = torch, transformers, options, vocab

    def generate(self, rows: int, new: int) -> None:
        ids = self.torch.randint(1, self.vocab, (rows, self.options.prompt))
        settings = dict(max_new_tokens=new, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, use_cache=True)
        if self.cache == "static":
            settings |= dict(cache_implementation="static", disable_compile=True)
        config = self.transformers.GenerationConfig(pad_token_id=0, eos_token_id=None, **settings)
        with self.torch.inference_mode():
            out = self.model.generate(input_ids=ids, attention_mask=self.torch.ones_like(ids), generation_config=config)
        if out.shape != (rows, self.options.prompt + new):
            raise RuntimeError(f"wanted {new} new tokens a row, got {out.shape}")

    def equal(self):
        def run():
            self.generate(self.options.rows, self.options.new)
            return {"tokens": self.options.rows * self.options.new}

        return run

    def ragged(self):
        """Batches of 32 in order, each until its longest row ends."""
        lengths = json.loads(self.options.lengths)

        def run():
            for start in range(0, len(lengths), 32):
                self.generate(32, max(lengths[start : start + 32]))
            return {"tokens": sum(lengths)}

        return run


def serve(options) -> None:
    """One worker: prepares its work, then does it once for every line that comes in."""
    os.sched_setaffinity(0, {options.core})
    side, what = options.serve.split(".")
    run = getattr({"ours": Ours, "peer": Peer}[side](options), what)()
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        found = run()
        spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        print(json.dumps({**found, **spent}), flush=True)


class Worker:
    def __init__(self, what: str, *more: str):
        self.what = what
        command = [sys.executable, __file__, *sys.argv[1:], "--serve", what, *more]
        quiet = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        }
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet)

    def run(self) -> dict:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.what} ended; its message is above")
        return json.loads(line)


def compare(pairs: int, *workers: Worker) -> dict[str, list[dict]]:
    for worker in workers:
        worker.run()
    return {
        name: list(rows)
        for name, rows in zip(
            [worker.what for worker in workers],
            zip(*[[worker.run() for worker in workers] for _ in range(pairs)], strict=True),
            strict=True,
        )
    }


def spread(values) -> list[float]:
    """Median, smallest, largest."""
    return [round(f(values), 4) for f in (statistics.median, min, max)]


def ratios(ours: list[dict], theirs: list[dict]) -> dict:
    """How many times more tokens ours makes in the same time; above 1 is faster. By pair."""
    both = list(zip(ours, theirs, strict=True))
    return {
        f"times_{key}": spread([a["tokens"] / a[key] / (b["tokens"] / b[key]) for a, b in both])
        for key in ("wall_s", "cpu_s")
    }


def speeds(rows: list[dict]) -> dict:
    keep = ("slot_steps", "decode_steps")
    return {
        "tokens": rows[-1]["tokens"],
        "tokens_per_cpu_s": spread([row["tokens"] / row["cpu_s"] for row in rows]),
        "wall_s": spread([row["wall_s"] for row in rows]),
        **{key: rows[-1][key] for key in keep if key in rows[-1]},
    }


def bench_equal(options) -> dict:
    found = compare(options.pairs, Worker("ours.equal"), Worker("peer.equal"))
    ours, peer = found.values()
    return {
        "prompts": "one a row" if options.distinct else "one for 8 rows",
        "ours": speeds(ours),
        f"transformers {options.peer}": speeds(peer),
        **ratios(ours, peer),
    }


def bench_ragged(options) -> dict:
    ours = Worker("ours.ragged")
    lengths = ours.run()["lengths"]
    workers = [ours, Worker("ours.waves"), Worker("peer.ragged", "--lengths", json.dumps(lengths))]
    refilled, waves, peer = compare(options.pairs, *workers).values()
    return {
        "lengths": {"mean": statistics.mean(lengths), "max": max(lengths)},
        "ours": speeds(refilled),
        "ours in batches": speeds(waves),
        f"transformers {options.peer} in batches": speeds(peer),
        "against_batches": ratios(refilled, waves),
        "against_transformers": ratios(refilled, peer),
    }


def bench_rounds(options) -> dict:
    found = compare(options.pairs, *[Worker(f"ours.{name}") for name in ("grpo", "lte", "barrier")])
    grpo, lte, barrier = found.values()
    triples = list(zip(grpo, lte, barrier, strict=True))
    cost = {
        key: spread([(b[key] - a[key]) / (c[key] - a[key]) for a, b, c in triples])
        for key in ("slot_steps", "decode_steps", "wall_s", "cpu_s")
    }
    return {
        "grpo": speeds(grpo),
        "lte": speeds(lte),
        "lte with a barrier": speeds(barrier),
        "shadow_tokens": lte[-1].get("shadow_tokens", 0),
        "cost_of_the_second_round": cost,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=["equal", "ragged", "rounds", "sizes"])
    parser.add_argument("--shape", choices=SHAPES, default="T")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--peer", default="float32-dynamic")
    parser.add_argument("--rows", type=int, default=0, help="64, or 32 where lengths differ")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=0)
    parser.add_argument("--distinct", action="store_true", help="as many prompts as rows")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--lengths", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rows = options.rows or (64 if options.bench in ("equal", "sizes") else 32)
    if options.serve:
        serve(options)
        return
    about = {
        "bench": options.bench,
        "shape": options.shape,
        "dtype": options.dtype,
        "rows": options.rows,
        "pairs": options.pairs,
    }
    print(json.dumps({**about, **globals()[f"bench_{options.bench}"](options)}))


if __name__ == "__main__":
    main()
