"""The training loop. It reads like the method: sample, verify, retry, mix, then update on the plain prompt."""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from lte_jax.config import Config, ConfigError, refuse_unread, unread
from lte_jax.device import regularisers
from lte_jax.device.arrays import TrainState
from lte_jax.device.features import FeatureSpec
from lte_jax.device.tally import metrics_of
from lte_jax.device.update import (
    UpdateSpec,
    abstract_state,
    initial_state,
    learning_rate,
    reference_weights,
    score,
    update,
)
from lte_jax.engine.boundary import Packed, fetch, on_policy_tokens, pack, tally_metrics
from lte_jax.engine.compile_ahead import (
    compile_programs,
    feature_programs,
    sampling_programs,
    scoring_programs,
    update_programs,
)
from lte_jax.engine.measure import with_features
from lte_jax.engine.rollout import Round
from lte_jax.host.advantage import with_advantages
from lte_jax.host.credits import make_credits, observed, wanted_features
from lte_jax.host.curricula import make_curriculum
from lte_jax.host.curriculum import Curriculum, Position, chosen
from lte_jax.host.decisions import Decisions
from lte_jax.host.diagnose import nothing_graded
from lte_jax.host.drawing import drawing_warnings
from lte_jax.host.entropy import SCHEDULES, sampled_entropy
from lte_jax.host.labels import METRICS as LABEL_METRICS
from lte_jax.host.labels import label_class, make_label
from lte_jax.host.metrics import group_metrics
from lte_jax.host.refill import fill
from lte_jax.host.strategies import make_strategy
from lte_jax.host.verify import Verifier
from lte_jax.model_io.checkpoint import newest_step
from lte_jax.records import Group, NoVerdictError
from lte_jax.run.best import BEST, check_measure, keep_if_best
from lte_jax.run.evaluate import Benchmark, Watch, evaluate, made_with, open_benchmarks
from lte_jax.run.inputs import read_contents
from lte_jax.run.positions import training_rows
from lte_jax.run.preempt import Preempted, Preemption
from lte_jax.run.processes import all_groups, is_first, merged, own_share, wait_for_all
from lte_jax.run.replay import write_batch
from lte_jax.run.run_folder import RunFolder
from lte_jax.run.session import Session, check_plugins, open_problems, open_session, with_prompts
from lte_jax.run.starting import pinned
from lte_jax.run.step_metrics import combine, phase_metrics
from lte_jax.storage.paths import open_path, refuse_overlap
from lte_jax.storage.recorded import read_recorded, reuse_verdicts
from lte_jax.storage.run_files import RunFiles, evaluated_steps
from lte_jax.storage.sinks import Sinks
from lte_jax.terminal.live import Live

MAX_UNGRADED = 3  # steps in a row without any verdict: more than a moment's load, and nothing is learned from them


class NonFiniteError(RuntimeError):
    """Too many updates in a row had gradients that are not finite; the batch is on disk."""


def train(config: Config, run: str | Path, verifier: Verifier, live: Live, change: bool = False) -> dict:
    """Trains, or continues, the run in folder `run`; returns the last evaluation's metrics by benchmark.

    `change`: a run that was started with other settings may go on as another training. `verifier` must have been
    started before this module was imported: its workers may not fork a process with jax.
    """
    if not config.data.train:
        raise ConfigError("data.train is empty: wanted a JSONL or Parquet file of problems (data.train=FILE)")
    for text in drawing_warnings(config):
        live.warn(text)
    refuse_overlap(run, config.model.path)
    if (open_path(run) / "config.yaml").is_file():  # a run of before this was refused goes on
        for text in unread(config):
            live.warn(text)
    else:
        refuse_unread(config)
    check_plugins(config)
    session = open_session(pinned(config, run), training_rows(config), verifier, live.say)
    if not newest_step(open_path(run)):  # a run that continues reads its own weights
        session.model.check()
    found = open_problems(config.data.train, verifier, live.say, live.status, label_class(config).needs_answers)
    problems = with_prompts(session, found)
    strategy = make_strategy(config, session.prompts, verifier.same_answer)
    strategy.check([problem for problem, _ in problems], live.say)
    curriculum = make_curriculum(config, problems, session.prompts)
    benchmarks = open_benchmarks(session, live.say, live.status) if config.eval.every else []
    if config.eval.keep_best:
        check_measure(config.eval.keep_best, benchmarks, run)
    contents = read_contents(config, session.model)
    with (
        Preemption(config.preempt.grace_s, live.warn) as preemption,
        RunFolder(run, config, contents, session.model.source, live.warn, change) as folder,
    ):
        folder.keep_model(session.model.folder)
        wait_for_all("the run folder is ready")
        with Sinks(config, folder.path, writes=is_first(), say=live.warn) as sinks:
            return _Trainer(session, curriculum, benchmarks, folder, live, sinks, preemption).run()


class _Trainer:
    """The loop's state: what is on the device, the strategy's memory, and where the run stands."""

    def __init__(
        self,
        session: Session,
        curriculum: Curriculum,
        benchmarks: Sequence[Benchmark],
        folder: RunFolder,
        live: Live,
        sinks: Sinks,
        preemption: Preemption,
    ):
        config = session.config
        self.preemption = preemption
        self.session, self.config, self.live, self.sinks = session, config, live, sinks
        self.curriculum = curriculum
        self.benchmarks, self.folder = benchmarks, folder
        self.files = RunFiles(folder.path, writes=is_first())
        self.evaluated_with = made_with(session, benchmarks)
        n_updates = config.steps * config.problems_per_step // config.optim.problems_per_update
        self.spec = UpdateSpec(session.model.arch, config.model, config.loss, config.optim, n_updates, session.mesh)
        self.metrics, self.credits = metrics_of(config.loss), make_credits(config)
        self.features = FeatureSpec(self.spec, wanted_features(self.credits), config.advantage.feature_args)
        self.state, self.step, host = self._start()
        self.memory, self.n_skipped = host["memory"], host["n_skipped"]
        self.credit_memory = host.get("credit_memory", {})  # runs of before there were credits have none
        self.cursor, self.entropy_coef = host["cursor"], host["entropy_coef"]
        self.curriculum_memory = host.get("curriculum", {})  # older checkpoints have none
        self.regulariser_memory = host.get("regularisers", {})  # older checkpoints have none
        self.completed = self._host()
        self.n_ungraded = 0
        has_reference = config.loss.kl != "none" or self.features.needs_reference
        self.reference = reference_weights(session.model.load(), self.spec) if has_reference else None

    def _start(self) -> tuple[TrainState, int, dict]:
        """A fresh state, or the newest checkpoint's; what was written after it is cut, its verdicts kept for replay."""
        found = self.folder.restore(abstract_state(self.spec))
        if found is None:
            state = initial_state(self.spec, self.session.model.load())
            host = {"step": 0, "memory": {}, "n_skipped": 0, "cursor": 0, "entropy_coef": self.config.loss.entropy_coef}
        else:
            state, host = found
            self.live.say(f"continuing {self.folder.path} at step {host['step']}")
            self._say_resharded(host)
        step = host["step"]
        if step > self.config.steps:
            raise ConfigError(f"{self.folder.path} is at step {step} already, beyond steps = {self.config.steps}")
        verdicts, decided = read_recorded(self.folder.path, step)
        self.grader = replace(self.session.grader, verify=reuse_verdicts(verdicts, self.session.grader.verify))
        tools = self.session.verifier.same_answer, Decisions(decided)
        problems = [problem for problem, _ in self.curriculum.problems]
        self.strategy = make_strategy(self.config, self.session.prompts, *tools, problems)
        self.label = make_label(self.config, *tools)
        wait_for_all("everyone has read what was recorded")
        self.files.cut(step)
        self.files.start_interval(step)
        of_labels = LABEL_METRICS if self.config.explore.labels != "given" else ()
        self.files.declare([*self.metrics.values(), *of_labels])
        return state, step, host

    def _say_resharded(self, host: dict) -> None:
        """Keys come from (seed, step, group, ...): another number of devices draws the same."""
        before, now = host["mesh"], dict(self.session.mesh.shape)
        if before != now:
            self.live.say(
                f"step {host['step']} was saved on mesh {before}, now it is {now}: resharded; random draws do not "
                "depend on it, but sums are added in another order, so the last bits may differ"
            )

    def _compile_ahead(self) -> None:
        if not self.config.engine.compile_ahead:
            return
        engine = self.session.engine
        engine.load(self.state.params)
        programs = [
            *sampling_programs(engine, self.session.sampling(), self.strategy.forks),
            *update_programs(self.config, self.state, self.spec),
            *scoring_programs(self.config, self.state, self.reference, self.spec),
            *feature_programs(self.config, self.state, self.reference, self.features),
        ]
        start = time.perf_counter()
        compile_programs(programs, lambda text: self.live.status(f"compiling {text}"))
        self.live.say(f"compiled {len(programs)} programs in {time.perf_counter() - start:.0f} s")
        engine.unload()

    def run(self) -> dict:
        """Every step that is left. Asked to stop, it saves the last completed step and raises Preempted."""
        try:
            return self._run()
        except Preempted:
            cause = self.preemption.cause
            self.live.warn(f"{cause}: step {self.step} is abandoned; the same command continues with it")
            if self.step > self.folder.newest:
                self._checkpoint()
            raise

    def _run(self) -> dict:
        self._compile_ahead()
        evaluation: dict = {}
        evaluated = evaluated_steps(self.config) if self.benchmarks else []
        while True:
            if self.step in evaluated:
                evaluation = self._evaluate()
            if self.step == self.config.steps:
                break
            self._take_step()
            self.folder.look()
            if self.step % self.config.checkpoint.every == 0 or self.step == self.config.steps:
                self._checkpoint()
        self.folder.finish(self.step)
        self.live.finish(self.folder.path, evaluation)
        return evaluation

    def _take_step(self) -> None:
        config, engine, step, start = self.config, self.session.engine, self.step, time.perf_counter()
        self.live.phase(step, "sample")
        engine.meter.tracing = step in config.log.timeline
        engine.load(self.state.params)
        drawn, kept = self._collect()
        engine.unload()
        groups, trained = self._credited(drawn, kept)
        self.memory = self.strategy.observe(self.memory, groups)
        self.credit_memory = observed(self.credits, self.credit_memory, groups)
        self.curriculum_memory = self.curriculum.observe(self.curriculum_memory, groups)
        # written also where the update stops the run, so that its step can be looked at
        writing = self.files.writing_rollouts(step, groups) if config.log.rollouts else nullcontext()
        self.live.phase(step, "update")
        with engine.meter.phase("update"), writing:
            updates = self._update(trained, sampled_entropy(groups, annealed=config.annealing.schedule != "constant"))
        self.regulariser_memory = regularisers.observed(config.loss, self.regulariser_memory, updates)
        if updates.get("mismatch/token_error", 0.0) > config.log.mismatch_alarm:
            self.live.warn(
                f"step {step}: sampler and trainer differ by {updates['mismatch/token_error']:.1%} per token, "
                f"more than log.mismatch_alarm = {config.log.mismatch_alarm}"
            )
        seconds, counts, spans = engine.meter.take()
        seconds, counts = merged(seconds, max), merged(counts, sum)
        if spans:
            self.files.write_timeline(step, spans)
        times = phase_metrics(seconds, counts, time.perf_counter() - start, updates.get("update/trained_tokens", 0.0))
        row = {"step": step, **group_metrics(groups, config, self.session.verifier.same_answer), **updates, **times}
        self.files.write_metrics(row)
        self.sinks.write(step + 1, row)
        self.live.step(step, config.steps, row, groups)
        self._stop_if_nothing_is_graded(groups)
        self.step += 1
        self.completed = self._host()

    def _stop_if_nothing_is_graded(self, groups: Sequence[Group]) -> None:
        reason = nothing_graded(groups)
        self.n_ungraded = self.n_ungraded + 1 if reason else 0
        if self.n_ungraded == MAX_UNGRADED:
            raise NoVerdictError(f"no verdict for any rollout in {MAX_UNGRADED} steps in a row: {reason}")

    def _host(self) -> dict:
        """What a checkpoint holds beside the arrays."""
        host = {
            "memory": self.memory,
            "credit_memory": self.credit_memory,
            "curriculum": self.curriculum_memory,
            "regularisers": self.regulariser_memory,
            "n_skipped": self.n_skipped,
            "cursor": self.cursor,
        }
        return {**host, "entropy_coef": self.entropy_coef, "mesh": dict(self.session.mesh.shape)}

    def _collect(self) -> tuple[list[Group], list[Group]]:
        """(all groups that were drawn, those that are trained), which differ only where groups are re-sampled."""
        wanted = self.config.problems_per_step
        if self.config.advantage.zero_variance == "resample":
            return fill(self._draw, wanted, self.config.sample.max_attempts)
        groups = self._draw(wanted, first=0)
        return groups, groups

    def _draw(self, n: int, first: int) -> list[Group]:
        """The groups of the next n plans, numbered from `first` in their step; each process draws its share."""
        config, sampling = self.config, self.session.training_sampling(self.step)
        at = Position(config.seed, self.step, self.cursor)
        plans = dict(enumerate(chosen(self.curriculum, n, at, self.curriculum_memory), start=first))
        self.cursor += n
        decided = self.strategy.tools.decisions.taken
        round_ = Round(
            sampling,
            self.grader,
            config.seed,
            self.step,
            progress=self.live.progress,
            between_chunks=self.preemption.look,
            decided=decided,
            label=self.label.label,
        )
        by_size = sorted(plans, key=lambda number: -plans[number].n)  # each process gets large and small ones
        own = {number: plans[number] for number in sorted(own_share(by_size))}
        groups = self.session.engine.collect(own, round_, self.strategy, self.memory)
        self.preemption.meet()
        return all_groups(groups)

    def _credited(self, groups: list[Group], trained: list[Group]) -> tuple[list[Group], list[Group]]:
        """Both with their advantages, which credits may make from what is measured of the members."""
        if self.features.names:
            self.live.phase(self.step, "measure")
            with self.session.engine.meter.phase("measure"):
                weights, meet = (self.state.params, self.reference), self.preemption.meet
                groups = with_features(groups, *weights, self.config, self.features, meet)
        found = {group.index: with_advantages(group, self.config, self.credits, self.credit_memory) for group in groups}
        return list(found.values()), [found[group.index] for group in trained]

    def _update(self, groups: Sequence[Group], entropy: float) -> dict[str, float]:
        """Deals whole groups to updates. Advantages, behaviour, old and reference log-probs stay fixed within the step.
        `entropy`: the policy's, nats per token."""
        config, found = self.config, []
        temperature = np.float32(config.sample.temperature)
        parts = deal(groups, config.optim.problems_per_update, config.seed, self.step)
        if lessons := self.strategy.supervised(self.memory, self.step):
            parts.append(list(lessons))
        updates = [pack(part, config, self.session.mesh) for part in parts]
        for n, packed in enumerate(updates):
            self.preemption.meet()
            scored = score(self.state.params, self.reference, packed.microbatches, temperature, self.spec)
            updates[n] = replace(packed, microbatches=scored)
        coefficient = SCHEDULES[config.loss.entropy_schedule](self.entropy_coef, entropy, config.loss)
        self.entropy_coef = coefficient.kept
        for part, packed in zip(parts, updates, strict=True):
            if not packed.microbatches:
                self.n_skipped += 1
                continue
            rate = float(learning_rate(config.optim, self.spec.n_updates)(int(fetch(self.state.n_updates))))
            entropy_weight = np.float32(coefficient.applied / max(1, packed.n_tokens))
            scalars = self._scalars(part)
            batch = packed.microbatches, temperature, entropy_weight, self.spec, scalars
            # once the first update has moved the state, the step is finished: the state before it is gone
            self.state, tally, norm = update(self.state, *batch, None if found else self.preemption.meet)
            row = {**tally_metrics(tally, self.metrics), "update/grad_norm": float(norm), "update/learning_rate": rate}
            found.append({key: value for key, value in row.items() if math.isfinite(value)})
            self._stop_if_not_finite(packed, temperature, entropy_weight, scalars)
        first = {key: value for key, value in (found[0] if found else {}).items() if key.startswith("mismatch/")}
        return {
            **combine(found, self.metrics),
            **first,  # later updates have moved on purpose
            "update/n_updates": len(found),
            "update/trained_rows": sum(packed.n_trained for packed in updates),
            "update/entropy_coef": coefficient.applied,
            "update/n_skipped_total": self.n_skipped,
            "update/n_nonfinite_total": int(fetch(self.state.n_nonfinite)),
        }

    def _scalars(self, groups: Sequence[Group]) -> regularisers.Scalars | None:
        """What the regularisers' terms read in the update of these groups."""
        if not regularisers.has_scalars(self.config.loss):
            return None
        where = self.step, self.config.steps, self.regulariser_memory
        return regularisers.scalars(self.config.loss, regularisers.Before(*where, *on_policy_tokens(groups)))

    def _stop_if_not_finite(self, packed: Packed, temperature, entropy_weight, scalars) -> None:
        if int(fetch(self.state.n_nonfinite_in_row)) < self.config.optim.max_nonfinite:
            return
        batch = packed.microbatches, temperature, entropy_weight, scalars
        folder = write_batch(self.folder.path, self.step, self.state.params, *batch)
        raise NonFiniteError(
            f"step {self.step}: {self.config.optim.max_nonfinite} updates in a row had gradients that are not finite; "
            f"the last batch is in {folder}: lte replay {folder}"
        )

    def _evaluate(self) -> dict:
        self.live.phase(self.step, "evaluate")
        found = self.files.read_evaluation(self.step, self.evaluated_with)
        metrics = self._draw_evaluation() if found is None else found
        self.sinks.write_evaluation(self.step, metrics)
        self.live.evaluation(self.step, metrics)
        wanted = self.config.eval.keep_best
        if wanted and keep_if_best(Path(self.folder.path), self.step, self.state.params, wanted, metrics):
            self.live.say(f"the best so far by {wanted}: {self.folder.path / BEST}")
        return metrics

    def _draw_evaluation(self) -> dict:
        self.session.engine.load(self.state.params)
        watch = Watch(self.live.progress, self.preemption.look, before_exchange=self.preemption.meet)
        metrics, rows = evaluate(self.session, self.benchmarks, watch)
        self.session.engine.unload()
        self.session.engine.meter.take()
        head = {"step": self.step, "made_with": self.evaluated_with, "metrics": metrics}
        self.files.write_evaluation(self.step, [head, *rows])
        self.folder.look()
        return metrics

    def _checkpoint(self) -> None:
        self.live.phase(self.step, "checkpoint")
        self.folder.save(self.step, self.state, self.completed)
        self.files.start_interval(self.step)


def deal(groups: Sequence[Group], per_update: int, seed: int, step: int) -> list[list[Group]]:
    """Whole groups, in an order drawn from (seed, step), cut into updates before anything is filtered."""
    order = np.random.default_rng([seed, step, *b"deal"]).permutation(len(groups))
    return [[groups[i] for i in order[start : start + per_update]] for start in range(0, len(groups), per_update)]
