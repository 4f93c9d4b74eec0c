"""The two sides of bench/update.py, each in a process of its own: `python bench/update_workers.py ours.step JSON`.

A worker prepares its work once, then does it for every line on standard input and answers with a JSON line.
"""

import logging
import math
import os
import tempfile
from types import SimpleNamespace

from workers import CAP, MEAN, SHAPES, serve, torch_model

from lte_jax.records import Plan, Problem, Prompt, Sampling, Status, Verdict

N_GROUPS, GROUP, PROMPT, RESPONSE = 4, 8, 64, 128  # of a whole GRPO step
EOS = 1  # of the peer


class Ours:
    """The update, and the whole step: engine, verdicts in a thread, advantages, micro-batches, AdamW."""

    def __init__(self, options: SimpleNamespace):
        import jax

        from lte_jax.config import build
        from lte_jax.device import qwen3
        from lte_jax.device.mesh import make_mesh
        from lte_jax.device.update import UpdateSpec, initial_state
        from lte_jax.device.weights import Architecture

        self.options, big = options, options.shape not in ("tiny", "T")
        model = {"compute_dtype": options.dtype, "scan_layers": big, "remat": options.remat}
        optim = {"lr": 1e-4, "weight_decay": 0.0, "problems_per_update": N_GROUPS}
        self.config = build(
            {
                "model": model,
                "optim": {**optim, "length_bucket": 64, "microbatch_tokens": 4096},
                "problems_per_step": N_GROUPS,
                "prompt": {"budget": PROMPT},
                "sample": {"group_size": GROUP, "response_budget": CAP},
            }
        )
        self.arch = Architecture(*SHAPES[options.shape], 1e6, 1e-6, True)
        self.mesh = make_mesh(self.config.mesh)
        self.spec = UpdateSpec(self.arch, self.config.model, self.config.loss, self.config.optim, 1000, self.mesh)
        self.state = initial_state(self.spec, jax.jit(lambda: qwen3.initial_params(self.arch, jax.random.key(0)))())

    def step(self):
        """One update on rows of one length, one micro-batch, a third of it prompts."""
        import jax
        import numpy as np

        from lte_jax.device.arrays import ON_POLICY, Microbatch
        from lte_jax.device.update import update
        from lte_jax.engine.boundary import place

        n_rows, n_columns = self.options.rows, self.options.columns
        rng = np.random.default_rng(0)
        logp_BT = np.full((n_rows, n_columns), -np.log(self.arch.vocab_size), np.float32)
        n_trained = n_rows * (n_columns - n_columns // 3)
        kind_T = np.where(np.arange(n_columns) >= n_columns // 3, ON_POLICY, 0)
        micro = Microbatch(
            tokens_BT=rng.integers(0, self.arch.vocab_size, (n_rows, n_columns)).astype(np.int32),
            kind_BT=np.broadcast_to(kind_T, (n_rows, n_columns)).astype(np.int8),
            behaviour_logp_BT=logp_BT,
            sampled_logp_BT=logp_BT,
            old_logp_BT=logp_BT,
            reference_logp_BT=np.zeros_like(logp_BT),
            advantage_BT=np.broadcast_to(rng.standard_normal((n_rows, 1)), (n_rows, n_columns)).astype(np.float32),
            entropy_scale_B=np.zeros(n_rows, np.float32),
            weight_BT=np.full((n_rows, n_columns), 1 / n_trained, np.float32),
        )
        placed = place(micro, self.mesh)

        def run(asked: dict) -> dict:
            self.state, _, norm = update(self.state, [placed], np.float32(1), np.float32(0), self.spec)
            jax.block_until_ready((self.state, norm))
            return {"tokens": n_rows * n_columns}

        return run

    def forced(self):
        return self.grpo(stop_ids=())

    def ragged(self):
        return self.grpo(stop_ids=range(self.arch.vocab_size // MEAN))

    def grpo(self, stop_ids):
        """4 prompts of 64 tokens, 8 responses each; reward: share of odd tokens."""
        import jax
        import numpy as np

        from lte_jax.config import EngineConfig
        from lte_jax.device.update import update
        from lte_jax.engine.boundary import pack
        from lte_jax.engine.compile_ahead import compile_programs, sampling_programs, update_programs
        from lte_jax.engine.rollout import Engine, Grader, Round
        from lte_jax.host.advantage import with_advantages
        from lte_jax.host.explore import Grpo, Tools

        layout = EngineConfig(slots=N_GROUPS * GROUP, length_bucket=64)
        engine = Engine(self.arch, self.config.model, layout, self.mesh, stop_ids, PROMPT)
        sampling = Sampling(1.0, 1.0, 0, CAP if stop_ids else RESPONSE)
        rng = np.random.default_rng(0)
        prompts = [Prompt("", tuple(rng.integers(0, self.arch.vocab_size, PROMPT).tolist())) for _ in range(N_GROUPS)]
        plans = {n: Plan(Problem(str(n), "", ""), prompt, GROUP) for n, prompt in enumerate(prompts)}
        grader = Grader(lambda ids: " ".join(map(str, ids)), odd_share)
        engine.load(self.state.params)
        of_sampling = sampling_programs(engine, sampling, forks=False)
        programs = [*of_sampling, *update_programs(self.config, self.state, self.spec)]
        compile_programs(programs, lambda line: None)

        def run(asked: dict) -> dict:
            engine.load(self.state.params)
            strategy = Grpo(Tools(self.config, None, None))
            groups = engine.collect(plans, Round(sampling, grader, 0, asked["seed"]), strategy, {})
            engine.unload()
            engine.meter.take()
            packed = pack([with_advantages(group, self.config) for group in groups], self.config, self.mesh)
            self.state, _, norm = update(self.state, packed.microbatches, np.float32(1), np.float32(0), self.spec)
            jax.block_until_ready((self.state, norm))
            return {"tokens": sum(len(r.response) for group in groups for r in group.initial)}

        return run


def odd_share(items) -> list[Verdict]:
    verdicts = []
    for problem, text, _ in items:
        tokens = [int(word) for word in text.split()]
        share = sum(token % 2 for token in tokens) / len(tokens)
        verdicts.append(Verdict(share >= 0.5, Status.DIFFERENT, problem.answer, shaped=share))
    return verdicts


class Peer:
    """torch, eager: the same clipped objective on transformers' Qwen3; or TRL's GRPOTrainer."""

    def __init__(self, options: SimpleNamespace):
        import torch

        self.torch, self.options = torch, options
        self.model = torch_model(options.shape, EOS)
        self.device, self.vocab_size = self.model.device.type, self.model.config.vocab_size

    def step(self):
        """Master weights float32; bfloat16 by autocast where asked for."""
        torch, options = self.torch, self.options
        n_rows, n_columns, n_prompt = options.rows, options.columns, options.columns // 3
        if options.remat != "none":
            self.model.gradient_checkpointing_enable()
        self.model.train()
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.0)
        tokens = torch.randint(0, self.vocab_size, (n_rows, n_columns), device=self.device)
        advantage = torch.randn(n_rows, 1, device=self.device)
        old = torch.full((n_rows, n_columns - n_prompt), -float(torch.log(torch.tensor(self.vocab_size))))
        old, in_bfloat16 = old.to(self.device), options.peer == "bfloat16"

        def run(asked: dict) -> dict:
            with torch.autocast(self.device, torch.bfloat16, enabled=in_bfloat16):
                logits = self.model(tokens, use_cache=False, logits_to_keep=n_columns - n_prompt + 1).logits[:, :-1]
            logp = torch.log_softmax(logits.float(), -1).gather(-1, tokens[:, n_prompt:, None])[..., 0]
            ratio = torch.exp(logp - old)
            loss = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if self.device == "cuda":
                torch.cuda.synchronize()
            return {"tokens": n_rows * n_columns}

        return run

    def forced(self):
        return self.grpo({"min_new_tokens": RESPONSE}, RESPONSE)

    def ragged(self):
        """Random weights draw the one stop id that TRL knows of once in `vocab_size` tokens: made likelier."""
        likelier = math.log((self.vocab_size - 1) / (MEAN - 1))
        return self.grpo({"sequence_bias": [[[EOS], likelier]]}, CAP)

    def grpo(self, generation: dict, budget: int):
        """TRL runs by itself: a thread's step ends where the next line lets it go on."""
        import datasets
        import trl

        logging.disable(logging.WARNING)
        datasets.disable_progress_bars()
        tokenizer = word_tokenizer(self.vocab_size)
        rng = self.torch.Generator().manual_seed(0)
        draw = self.torch.randint(3, self.vocab_size, (N_GROUPS * 4, PROMPT), generator=rng).tolist()
        data = datasets.Dataset.from_dict({"prompt": [tokenizer.decode(ids) for ids in draw]})
        drawn: list[int] = []

        def reward(completion_ids, **_):
            drawn.append(sum(len(ids) for ids in completion_ids))
            return [sum(token % 2 for token in ids) / max(1, len(ids)) for ids in completion_ids]

        settings = trl.GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=N_GROUPS * GROUP,
            num_generations=GROUP,
            gradient_accumulation_steps=1,
            steps_per_generation=1,
            num_iterations=1,
            max_completion_length=budget,
            generation_kwargs=generation,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            beta=0.0,
            loss_type="grpo",
            scale_rewards="group",
            learning_rate=1e-4,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            max_steps=10_000,
            bf16=self.options.peer == "bfloat16",
            gradient_checkpointing=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            logging_steps=100_000,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        steps = Steps(
            lambda callback: trl.GRPOTrainer(
                model=self.model,
                reward_funcs=reward,
                args=settings,
                train_dataset=data,
                processing_class=tokenizer,
                callbacks=[callback],
            ).train()
        )

        def run(asked: dict) -> dict:
            steps.advance()
            return {"tokens": drawn[-1]}

        return run


class Steps:
    """A trainer that is let go one step at a time: it runs in a thread, and its callback waits between steps."""

    def __init__(self, train):
        import queue
        import threading

        from transformers import TrainerCallback

        self._go, self._done = queue.Queue(), queue.Queue()
        go, done = self._go, self._done

        class Waits(TrainerCallback):
            def on_step_begin(self, *_, **__):
                go.get()

            def on_step_end(self, *_, **__):
                done.put(None)

        threading.Thread(target=lambda: train(Waits()), daemon=True).start()

    def advance(self) -> None:
        self._go.put(None)
        self._done.get()


def word_tokenizer(vocab_size: int):
    """One word, one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *(f"w{n}" for n in range(vocab_size - 3))]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **names)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    serve({"ours": Ours, "peer": Peer})
