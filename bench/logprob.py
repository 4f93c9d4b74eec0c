"""What chunks cost and save in the log-prob over the vocabulary: memory at 16,384 tokens, time at 2,048.

    python bench/logprob.py

One JSON line each. V = 151936, D = 1024, forward and backward, float32 on one core; memory is the compiler's count of
temporaries. Times: CPU seconds of `--pairs` interleaved calls, [median, smallest, largest].
"""

import argparse
import json
import os
import time

from rollout import spread

V, D, CHUNK = 151936, 1024, 1024
SHAPES = ((8, 2048, V, D), (1, 2048, V, D), (16, 192, 512, 256))  # rows, columns, vocabulary, D


def gradients(which: str, n_rows: int, n_columns: int, vocab_size: int, d_model: int):
    """A compiled forward and backward, and its arguments."""
    import jax
    import jax.numpy as jnp

    from lte_jax.device.logprob import plain_token_logp, token_logp

    take = {"chunked": lambda *a: token_logp(*a, CHUNK), "plain": plain_token_logp}[which]
    grad = jax.jit(jax.grad(lambda h, w, t: take(h, w, t, 1.0)[0].sum(), argnums=(0, 1)))
    hidden = jax.ShapeDtypeStruct((n_rows, n_columns, d_model), jnp.float32)
    head = jax.ShapeDtypeStruct((vocab_size, d_model), jnp.float32)
    tokens = jax.ShapeDtypeStruct((n_rows, n_columns), jnp.int32)
    return grad.lower(hidden, head, tokens).compile(), (hidden, head, tokens)


def mib(compiled) -> int:
    return compiled.memory_analysis().temp_size_in_bytes >> 20


def timed(made: dict, pairs: int) -> dict:
    """Both by turns, after a call of each that is not counted."""
    import jax
    import jax.numpy as jnp

    shapes, key = made["plain"][1], jax.random.key(0)
    arguments = [
        jax.random.normal(key, s.shape) if s.dtype == jnp.float32 else jnp.zeros(s.shape, s.dtype) for s in shapes
    ]
    seconds = {which: [] for which in made}
    for pair in range(pairs + 1):
        for which, (compiled, _) in made.items():
            start = time.process_time()
            jax.block_until_ready(compiled(*arguments))
            if pair:
                seconds[which].append(time.process_time() - start)
    ratios = [a / b for a, b in zip(seconds["chunked"], seconds["plain"], strict=True)]
    return {"cpu_s": {which: spread(s) for which, s in seconds.items()}, "chunked_over_plain": spread(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    for n_rows, n_columns, vocab_size, d_model in SHAPES:
        made = {which: gradients(which, n_rows, n_columns, vocab_size, d_model) for which in ("chunked", "plain")}
        memory = {which: mib(compiled) for which, (compiled, _) in made.items()}
        row = {"tokens": n_rows * n_columns, "vocabulary": vocab_size, "temporaries_mib": memory}
        if n_rows * n_columns <= 4096:
            row |= timed(made, options.pairs)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
