"""Pretrains the built-in task's tiny base model on arithmetic with deliberate errors: a Hugging Face folder.

Real models need none of this: a large model reads a hint as it is; a tiny one has to be taught.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lte_jax.config import Config, OptimConfig
from lte_jax.device import qwen3
from lte_jax.device.arrays import TrainState
from lte_jax.device.mesh import batch_sharding, make_mesh
from lte_jax.device.policy import policy_logp
from lte_jax.device.update import UpdateSpec, apply, initial_state
from lte_jax.device.weights import Architecture
from lte_jax.engine.boundary import pad_rows
from lte_jax.host.tokenizers.tokenizer import Tokenizer, open_tokenizer
from lte_jax.model_io import convert
from lte_jax.toy import arithmetic

BASE, DATA = "base", "data"  # folders that make_base writes


@dataclass(frozen=True)
class Base:
    """The built-in model and its problem files."""

    model: Path
    data: Path


def make_base(config: Config, folder: Path, progress: Callable[[int, int, float], None]) -> Base:
    """Writes problem files, then trains and exports the base model, unless they are there already.

    `progress(step, steps, loss)` is called every 50 steps. The result depends on config.warmup and study.task_seed.
    """
    base = Base(folder / BASE, folder / DATA)
    task = arithmetic.Task(config.study.task_seed)
    task.write(base.data)
    if (base.model / "config.json").is_file():
        return base
    arithmetic.make_tokenizer(base.data)
    tokenizer = open_tokenizer(base.data)
    arch = tiny_architecture(config, tokenizer)
    params = fit(config, arch, task, tokenizer, progress)
    convert.export_params(base.model, arch, params, dtype="float32", stop_ids=tokenizer.stop_ids, finish=tokenizer.save)
    return base


def tiny_architecture(config: Config, tokenizer: Tokenizer) -> Architecture:
    size = config.warmup
    return Architecture(
        vocab_size=tokenizer.vocab_size,
        d_model=size.d_model,
        d_ff=size.d_ff,
        n_layers=size.n_layers,
        n_heads=size.n_heads,
        n_kv_heads=size.n_kv_heads,
        d_head=size.d_head,
        rope_theta=10_000.0,
        rms_eps=1e-6,
        tied=True,
    )


def fit(config: Config, arch: Architecture, task: arithmetic.Task, tokenizer: Tokenizer, progress) -> dict:
    """Float32 weights after `warmup.steps` steps of AdamW on (prompt, response) pairs, loss on responses only."""
    warmup, mesh = config.warmup, make_mesh(config.mesh)
    optim = OptimConfig(
        lr=warmup.lr,
        schedule="cosine",
        warmup_updates=warmup.warmup_steps,
        final_lr_frac=0.05,
        b2=warmup.b2,
        weight_decay=0.0,
    )
    spec = UpdateSpec(arch, config.model, config.loss, optim, warmup.steps, mesh)
    state = initial_state(spec, qwen3.initial_params(arch, jax.random.key(config.study.task_seed)))
    rng = np.random.default_rng([config.study.task_seed, *b"warm-up"])
    examples = [
        _encode(example, tokenizer) for example in task.warmup_examples(rng, warmup.steps * warmup.batch, warmup)
    ]
    n_columns = max(len(prompt) + len(response) for prompt, response in examples)
    for step in range(warmup.steps):
        batch = examples[step * warmup.batch : (step + 1) * warmup.batch]
        arrays = jax.device_put(_pad(batch, n_columns), batch_sharding(mesh))
        state, loss = supervised_step(state, *arrays, spec)
        if step % 50 == 0 or step + 1 == warmup.steps:
            progress(step + 1, warmup.steps, float(loss))
    return state.params


@partial(jax.jit, static_argnames="spec", donate_argnames="state")
def supervised_step(state: TrainState, tokens_BT, loss_mask_BT, spec: UpdateSpec):
    """(state, mean negative log-likelihood in nats per trained token) after one step."""

    def loss(params):
        logp_BT, _ = policy_logp(params, tokens_BT, 1.0, spec)
        return -jnp.where(loss_mask_BT, logp_BT, 0.0).sum() / loss_mask_BT.sum()

    value, gradients = jax.value_and_grad(loss)(state.params)
    return apply(state, gradients, spec)[0], value


def _encode(example: tuple[str, str, bool], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    prompt, response, finished = example
    stop = [tokenizer.stop_ids[0]] if finished else []
    return [*tokenizer.bos_ids, *tokenizer.encode(prompt)], tokenizer.encode(response) + stop


def _pad(batch: Sequence[tuple[list[int], list[int]]], n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    tokens_BT = pad_rows([prompt + response for prompt, response in batch], len(batch), n_columns)
    loss_mask_BT = np.zeros(tokens_BT.shape, bool)
    for row, (prompt, response) in enumerate(batch):
        loss_mask_BT[row, len(prompt) : len(prompt) + len(response)] = True
    return tokens_BT, loss_mask_BT
