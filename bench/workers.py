"""The two sides of bench/rollout.py, each in a process of its own: `python bench/workers.py ours.ragged JSON`.

A worker prepares its work once, then does it for every line on standard input, a JSON object that the work may read,
and answers with another: tokens, seconds, counts.
"""

import json
import os
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

from lte_jax.records import (
    Attempt,
    FailureMode,
    Group,
    Origin,
    Part,
    Plan,
    Problem,
    Prompt,
    Request,
    Retry,
    Sampling,
    Status,
    Verdict,
)

SHAPES = {  # vocabulary, D, F, L, N, K, H
    "tiny": (27, 64, 192, 3, 4, 2, 16),
    "T": (512, 256, 768, 6, 8, 4, 32),
    "S": (151936, 1024, 3072, 28, 16, 8, 128),  # Qwen3-0.6B
    "S7": (151936, 1024, 3072, 7, 16, 8, 128),  # a quarter of its layers: two training states fit 24 GiB
    "4B": (151936, 2560, 9728, 36, 32, 8, 128),  # Qwen3-4B
}
MEAN, CAP = 64, 256  # ragged lengths: a stop id is drawn once in 64 tokens
N_GROUPS, GROUP, N_NONE_PASS = 24, 8, 8


class Ours:
    """The engine with random weights."""

    def __init__(self, options: SimpleNamespace):
        import jax

        from lte_jax.device import qwen3
        from lte_jax.device.weights import Architecture

        vocab_size, *sizes = SHAPES[options.shape]
        self.arch = Architecture(options.vocabulary or vocab_size, *sizes, 1e6, 1e-6, True)
        self.params = jax.jit(lambda: qwen3.initial_params(self.arch, jax.random.key(0)))()
        self.options = options

    def engine(self, max_prompt: int, stop_ids=()):
        from lte_jax.config import EngineConfig, MeshConfig, ModelConfig
        from lte_jax.device.mesh import make_mesh
        from lte_jax.engine.rollout import Engine

        options = self.options
        layout = EngineConfig(slots=options.rows, length_bucket=32, shrink=options.shrink)
        model = ModelConfig(compute_dtype=options.dtype)
        engine = Engine(self.arch, model, layout, make_mesh(MeshConfig()), stop_ids, max_prompt)
        engine.load(self.params)
        return engine

    def stop_ids(self) -> range:
        return range(max(1, self.arch.vocab_size // MEAN))  # random weights draw nearly uniformly

    def prompt(self, group: int, length: int):
        import numpy as np

        rng = np.random.default_rng([group, length])
        return Prompt("", tuple(rng.integers(0, self.arch.vocab_size, length).tolist()))

    def requests(self, groups, per_group: int, seed: int = 0, round_: int = 0):
        """As a step asks for them; prompts of a further round are twice as long."""
        length = self.options.prompt * (1 + min(round_, 1))
        return [
            Request(self.prompt(group, length), (seed, 0, 0, group, round_, index))
            for group in groups
            for index in range(per_group)
        ]

    def equal(self):
        """As many rows as slots, all of one length; rows share a prompt by 8, or each has its own."""
        options = self.options
        per_prompt = 1 if options.distinct else min(GROUP, options.rows)
        engine = self.engine(options.prompt)
        requests = self.requests(range(options.rows // per_prompt), per_prompt)

        def run(asked: dict) -> dict:
            drawn = list(engine.generate(requests, Sampling(1.0, 1.0, 0, options.new)))
            return {"tokens": sum(len(response.tokens) for _, response in drawn), **taken(engine)}

        return run

    def ragged(self, refill: bool = True):
        """128 requests in groups of 8 through the slots; without refill, in batches."""
        engine, rows = self.engine(self.options.prompt, self.stop_ids()), self.options.rows

        def run(asked: dict) -> dict:
            requests = self.requests(range(16), GROUP, asked["seed"])
            batches = [requests[at : at + rows] for at in range(0, 128, rows)] if not refill else [requests]
            lengths = []
            for batch in batches:
                drawn = dict(engine.generate(batch, Sampling(1.0, 1.0, 0, CAP)))
                lengths += [len(drawn[place].tokens) for place in range(len(batch))]
            return {"tokens": sum(lengths), "lengths": lengths, **taken(engine)}

        return run

    def batches(self):
        return self.ragged(refill=False)

    def grpo(self):
        return self.step(retries=False)

    def lte(self):
        return self.step(retries=True)

    def barrier(self):
        """The second round is asked for when the first has ended."""
        engine = self.engine(2 * self.options.prompt, self.stop_ids())

        def run(asked: dict) -> dict:
            first = self.requests(range(N_GROUPS), GROUP, asked["seed"])
            second = self.requests(none_pass(asked["seed"]), GROUP, asked["seed"], round_=1)
            drawn = [r for part in (first, second) for _, r in engine.generate(part, Sampling(1.0, 1.0, 0, CAP))]
            return {"tokens": sum(len(response.tokens) for response in drawn), **taken(engine)}

        return run

    def step(self, retries: bool):
        """24 groups of 8; with retries, 8 of them ask for 8 more as soon as they are graded."""
        from lte_jax.engine.rollout import Grader, Round

        engine, outer = self.engine(2 * self.options.prompt, self.stop_ids()), self

        class Asks:
            def __init__(self, groups):
                self.groups = groups

            forks = False

            def first(self, plan: Plan, memory: dict) -> tuple[Part, ...]:
                return (Part(plan.prompt, plan.n),)

            def retry(self, group: Group, memory: dict) -> Retry | None:
                if group.index not in self.groups or group.attempts:
                    return None
                hinted = outer.prompt(group.index, 2 * outer.options.prompt)
                return Retry.of(hinted, GROUP, Origin.HINTED, FailureMode.NONE_TRUNCATED)

            def merge(self, group: Group, attempt: Attempt) -> Group:
                return replace(group, attempts=(attempt,))

        def verify(items):
            return [Verdict(False, Status.DIFFERENT, gold) for gold, _, _ in items]

        plans = [Plan(Problem(str(g), "", ""), self.prompt(g, self.options.prompt), GROUP) for g in range(N_GROUPS)]

        def run(asked: dict) -> dict:
            settings = Round(Sampling(1.0, 1.0, 0, CAP), Grader(lambda ids: "", verify), asked["seed"], 0)
            groups = engine.collect(
                dict(enumerate(plans)), settings, Asks(none_pass(asked["seed"]) if retries else ()), {}
            )
            drawn = [r for g in groups for r in (*g.initial, *(r for a in g.attempts for r in a.rollouts))]
            return {"tokens": sum(len(rollout.response) for rollout in drawn), **taken(engine)}

        return run


def none_pass(seed: int) -> list[int]:
    """Which 8 of the 24 groups fail."""
    import numpy as np

    return sorted(np.random.default_rng(seed).choice(N_GROUPS, N_NONE_PASS, replace=False).tolist())


def taken(engine) -> dict:
    seconds, counts, _ = engine.meter.take()
    return {**counts, **{f"{name}_s": value for name, value in seconds.items()}}


class Peer:
    """transformers `generate`: plain sampling, every row to the length that is asked for."""

    def __init__(self, options: SimpleNamespace):
        import torch
        import transformers

        dtype, self.cache = options.peer.split("-", 1)
        torch.set_default_dtype(getattr(torch, dtype))
        self.model = torch_model(options.shape).eval()
        torch.set_default_dtype(torch.float32)
        self.device, vocab_size = self.model.device.type, self.model.config.vocab_size
        self.torch, self.transformers, self.options, self.vocab_size = torch, transformers, options, vocab_size

    def generate(self, n_rows: int, n_new: int) -> None:
        ids = self.torch.randint(1, self.vocab_size, (n_rows, self.options.prompt), device=self.device)
        settings = dict(max_new_tokens=n_new, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, use_cache=True)
        if self.cache != "dynamic":
            settings |= dict(cache_implementation="static", disable_compile=self.cache == "static")
        config = self.transformers.GenerationConfig(pad_token_id=0, eos_token_id=None, **settings)
        with self.torch.inference_mode():
            out = self.model.generate(input_ids=ids, attention_mask=self.torch.ones_like(ids), generation_config=config)
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        if out.shape != (n_rows, self.options.prompt + n_new):
            raise RuntimeError(f"wanted {n_new} new tokens a row, got {tuple(out.shape)}")

    def equal(self):
        def run(asked: dict) -> dict:
            self.generate(self.options.rows, self.options.new)
            return {"tokens": self.options.rows * self.options.new}

        return run

    def ragged(self):
        """The lengths that ours drew, in batches in order, each until its longest row ends."""
        rows = self.options.rows

        def run(asked: dict) -> dict:
            lengths = asked["lengths"]
            for at in range(0, len(lengths), rows):
                batch = lengths[at : at + rows]
                self.generate(len(batch), max(batch))
            return {"tokens": sum(lengths)}

        return run


def torch_model(shape: str, eos: int | None = None):
    """transformers' Qwen3 with random weights of torch's default type: on the GPU, or without one on one thread."""
    import torch
    import transformers

    torch.manual_seed(0)
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    vocab_size, d_model, d_ff, n_layers, n_heads, n_kv_heads, d_head = SHAPES[shape]
    config = transformers.Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        num_key_value_heads=n_kv_heads,
        head_dim=d_head,
        intermediate_size=d_ff,
        tie_word_embeddings=True,
        max_position_embeddings=40960,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    return transformers.Qwen3ForCausalLM(config).to("cuda" if torch.cuda.is_available() else "cpu")


def serve(sides: dict) -> None:
    """Does the work that the command line names, `side.work`, for every line of standard input."""
    what, options = sys.argv[1], SimpleNamespace(**json.loads(sys.argv[2]))
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    side, work = what.split(".")
    run = getattr(sides[side](options), work)()
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        found = run(json.loads(line))
        spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        print(json.dumps({**found, **spent}), flush=True)


if __name__ == "__main__":
    serve({"ours": Ours, "peer": Peer})
