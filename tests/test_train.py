"""The whole loop on the built-in task: it learns, it resumes bit for bit after a kill, and it refuses what it must."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import rounding
from commands import (
    AS_USERS_RUN,
    QUICKSTART,
    SMALL,
    checkpoint_arrays,
    lte,
    make_base,
    small_run,
    start,
    wait_for,
    without_times,
)

from lte_jax.device.tally import METRICS
from lte_jax.model_io.hf_config import read_config
from lte_jax.run.step_metrics import combine
from lte_jax.run.train import deal
from lte_jax.storage.run_files import read_metrics, read_rollouts


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Overrides that point at a base model that learns in twenty steps."""
    return make_base(tmp_path_factory.mktemp("base"))


def mismatch(base) -> float:
    """By how much trainer and sampler may differ in a log-prob; rows have fewer than 64 columns, logits go up to 20."""
    arch = read_config(Path(base[0].removeprefix("model.path="))).arch
    return rounding.bound(rounding.forward(arch, 64), magnitude=20)


@pytest.fixture(scope="module")
def learnt(base, tmp_path_factory) -> Path:
    """A run of twenty steps."""
    held_out = base[1].removeprefix("data.train=").replace("train.jsonl", "heldout.jsonl")
    benchmarks = f"eval.benchmarks=[{{path: {held_out}}}]"
    run = tmp_path_factory.mktemp("learnt") / "run"
    settings = [
        benchmarks,
        "eval.limit=60",
        "eval.samples=8",
        "eval.k=[8]",
        "eval.every=20",
        "steps=20",
        "optim.lr=1e-3",
    ]
    lte("train", QUICKSTART, *base, *settings, "--run", run, XLA_FLAGS=AS_USERS_RUN)
    return run


def test_the_whole_loop_learns(learnt):
    """Fixed seed: none-pass falls, reward and held-out Pass@1 rise, hints rescue, most groups are mixed."""
    metrics = read_metrics(learnt)
    assert [row["step"] for row in metrics] == list(range(20))

    def mean(key, rows):
        return np.mean([row[key] for row in rows])

    early, late = metrics[:5], metrics[-5:]
    assert mean("group/none_pass_frac_before", late) < mean("group/none_pass_frac_before", early) - 0.1
    assert mean("reward/mean_before", late) > mean("reward/mean_before", early) + 0.1
    assert mean("group/none_pass_frac_after", early) < mean("group/none_pass_frac_before", early) - 0.1
    assert mean("rescue/hinted_rate", early) > 0.3
    before, after = (
        json.loads((learnt / f"eval/{step:06d}.jsonl").read_text().splitlines()[0])["metrics"]["heldout"]["pass_at_1"]
        for step in (0, 20)
    )
    assert after > before + 0.05


def test_every_metric_of_the_method_is_there(base, learnt):
    keys = set().union(*read_metrics(learnt))
    wanted = """
        group/none_pass_frac_before group/some_pass_frac_before group/all_pass_frac_before group/none_pass_frac_after
        group/some_pass_frac_after group/all_pass_frac_after failure/all_truncated_frac failure/some_truncated_frac
        failure/none_truncated_frac rescue/hinted_rate rescue/hinted_correct_hist rescue/used_hist
        leak/all_repeats_answer_frac leak/all_names_hint_frac leak/all_contains_answer_excess
        leak/trained_repeats_answer_frac ratio/on_policy_mean ratio/on_policy_max ratio/hinted_mean ratio/hinted_max
        ratio/hinted_shaped_mean ratio/clipped_frac update/hinted_push_frac policy/entropy response/length_mean
        response/truncated_frac reward/mean_before mismatch/mean_abs mismatch/max_abs sample/tokens time/sample_s
        time/verify_s time/hint_s time/update_s speed/sample_tokens_per_s speed/update_tokens_per_s
        sample/undecided update/n_nonfinite_total
    """.split()
    assert not [key for key in wanted if key not in keys]
    assert max(row["mismatch/max_abs"] for row in read_metrics(learnt) if "mismatch/max_abs" in row) < mismatch(base)


def test_a_killed_run_repeats_bit_for_bit(base, tmp_path):
    """SIGKILL after the checkpoint of step 2, then the same command: equal to a run that was never stopped."""
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    lte(*small_run(base, straight, "steps=5"))
    process = start(*small_run(base, killed, "steps=5"))
    wait_for(process, lambda: (killed / "rollouts/000002.jsonl").exists() and (killed / "checkpoints/2").exists())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (killed / "checkpoints/4.orbax-checkpoint-tmp-1").mkdir(exist_ok=True)  # what a kill inside a save leaves
    assert f"continuing {killed} at step" in lte(*small_run(base, killed, "steps=5")).stdout
    assert without_times(read_metrics(killed)) == without_times(read_metrics(straight))
    assert list(read_rollouts(killed)) == list(read_rollouts(straight))
    ours, theirs = checkpoint_arrays(killed), checkpoint_arrays(straight)
    assert len(ours) > 30
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


OPTIONS = [
    "advantage.zero_variance=resample",
    "loss.kl=k3",
    "loss.old_logp=trainer",
    "loss.correction=truncate",
    "loss.ratio=sequence",
    "loss.entropy_schedule=adaptive",
    "loss.entropy_target=9",
    "overlong={shaping: soft, buffer: 2}",
    "annealing={schedule: decay, after: 2, decay_start: 20, decay_step: 5}",
]


def test_dynamic_sampling_and_adaptive_entropy_go_on_where_they_stopped(base, tmp_path):
    """The cursor, the coefficient and the reference survive a stop, and so does the decay of temperatures by step."""
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    lte(*small_run(base, straight, "steps=4", *OPTIONS))
    lte(*small_run(base, stopped, "steps=2", *OPTIONS))
    lte(*small_run(base, stopped, "steps=4", *OPTIONS))
    rows, groups = read_metrics(straight), list(read_rollouts(straight))
    assert without_times(rows) == without_times(read_metrics(stopped))
    assert groups == list(read_rollouts(stopped))
    assert all(np.array_equal(a, b) for a, b in zip(*map(checkpoint_arrays, (straight, stopped)), strict=True))

    assert [row["update/entropy_coef"] for row in rows] == pytest.approx([0, 0.005, 0.01, 0.015])
    assert abs(rows[0]["policy/kl"]) < rows[-1]["policy/kl"]
    # trainer and sampler are one policy at sample.temperature, and what was drawn hot or cold is weighed
    assert rows[0]["mismatch/max_abs"] < mismatch(base) and rows[0]["correction/weight_max"] == 2
    assert all("reward/shaping_mean" in row for row in rows)
    assert len(groups) > 4 * 8  # some were drawn again
    for step in range(4):
        drawn = [group for group in groups if group["step"] == step]
        assert [group["group"] for group in drawn] == list(range(len(drawn)))
        responses = [rollout["response"] for group in drawn for rollout in group["rollouts"]]
        assert len(set(responses)) > len(responses) / 4
    # every problem once per epoch, in the endless order
    n_problems = len(Path(base[1].removeprefix("data.train=")).read_text().splitlines())
    first_epoch = [group["id"] for group in groups][:n_problems]
    assert len(set(first_epoch)) == len(first_epoch)


def test_a_batch_that_no_problem_fills_is_a_clear_error(base, tmp_path):
    """Answers that no response gives: every group is none-pass."""
    data = tmp_path / "hopeless.jsonl"
    data.write_text("".join(json.dumps({"problem": f"1+{n}=", "answer": "12345"}) + "\n" for n in range(9)))
    overrides = ["explore.strategy=grpo", "advantage.zero_variance=resample", "sample.max_attempts=2", "steps=1"]
    done = lte(*small_run([base[0], f"data.train={data}"], tmp_path / "run", *overrides), check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "only 0 of 16 groups have right and wrong members after sample.max_attempts = 2 rounds" in done.stderr


def test_a_run_refuses_other_settings_other_files_and_a_second_process(base, tmp_path):
    run, data = tmp_path / "run", tmp_path / "train.jsonl"
    rows = Path(base[1].removeprefix("data.train=")).read_text()
    data.write_text(rows)
    own = [base[0], f"data.train={data}"]
    lte(*small_run(own, run, "steps=1"))

    def refused(*overrides) -> str:
        done = lte(*small_run(own, run, *overrides), check=False)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        return done.stderr

    assert "other settings: optim.lr (0.0004 -> 0.001). Give" in refused("steps=1", "optim.lr=1e-3")
    data.write_text("".join(rows.splitlines(keepends=True)[1:]))
    assert "other settings: data.train (the file's content). Give" in refused("steps=1")
    data.write_text(rows)
    import fcntl

    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is running here" in refused("steps=2")
    assert "step 2/2" in lte(*small_run(own, run, "steps=2", "log.every=1")).stdout  # steps may grow


def test_a_custom_reward_trains_and_one_that_does_not_import_is_refused_before_anything_is_sampled(
    base, tmp_path, monkeypatch
):
    (tmp_path / "lengths.py").write_text(
        "def reward(problem, responses):\n"
        "    assert problem['id'] and problem['answer'].isdigit()\n"
        "    return [{'correct': len(text) % 2 == 0, 'reward': len(text) / 8} for text in responses]\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    run = tmp_path / "run"
    absent = lte(*small_run(base, run, "reward=lengths:absent"), check=False)
    assert absent.returncode == 2 and not run.exists()
    assert "reward: lengths:absent: workers cannot run it: ValueError: module 'lengths'" in absent.stderr
    lte(*small_run(base, run, "steps=1", "reward=lengths:reward", "eval.benchmarks=[]"))
    rows = [row for group in read_rollouts(run) for row in group["rollouts"]]
    assert len(rows) == 32 and len({row["reward"] for row in rows}) > 2
    for row in rows:
        assert (row["correct"], row["reward"]) == (len(row["response"]) % 2 == 0, len(row["response"]) / 8)
    (metrics,) = read_metrics(run)
    assert metrics["reward/mean_before"] == pytest.approx(np.mean([row["reward"] for row in rows]))
    changed = lte(*small_run(base, run, "steps=2", "eval.benchmarks=[]"), check=False)
    assert changed.returncode == 2 and "reward ('lengths:reward' -> '')" in changed.stderr


def test_a_reward_that_always_fails_stops_the_run_with_its_own_error(base, tmp_path, monkeypatch):
    """It passes the trial call. After some steps, not at the end of the run, and not as a user's mistake."""
    (tmp_path / "failing.py").write_text(
        "def reward(problem, responses):\n"
        "    return [0.0, 0.0] if 'I do not know.' in responses else [problem['level']]\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    done = lte(*small_run(base, tmp_path / "run", "steps=50", "log.every=1", "reward=failing:reward"), check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no update: none of 32 rollouts has a verdict" in done.stdout and "equal rewards" not in done.stdout
    assert "step 3/50" in done.stdout and "step 4/50" not in done.stdout
    assert (
        "error: no verdict for any rollout in 3 steps in a row: reward failing:reward: "
        f"{tmp_path}/failing.py:2, in reward: KeyError: 'level'" in done.stderr
    )


def test_luffy_trains_on_given_solutions(base, tmp_path):
    problems = [json.loads(line) for line in Path(base[1].removeprefix("data.train=")).read_text().splitlines()]
    for problem in problems[::2]:
        a, b, c = (int(word) for word in problem["problem"].split() if word.isdigit())
        s = (a + b) % 13
        problem["trace"] = f"{a} + {b} = {s} ; {s} * {c} = {s * c % 13} ; \\boxed{{ {s * c % 13} }}"
    (tmp_path / "traced.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    settings = ["explore.strategy=luffy", "loss.hinted_denominator=one", f"data.train={tmp_path}/traced.jsonl"]
    said = lte(*small_run(base, tmp_path / "run", *settings, "steps=2", "log.rollouts=true", "log.samples=2")).stdout
    assert f"traces: of {len(problems[::2])} of {len(problems)} problems, at most 16 tokens" in said
    groups = list(read_rollouts(tmp_path / "run"))
    with_trace = [group for group in groups if group["attempts"]]
    assert 0 < len(with_trace) < len(groups)
    for group in with_trace:
        (rollout,) = group["attempts"][0]["rollouts"]
        assert rollout["correct"] and rollout["member"] and rollout["tokens"] == 16
        assert [one["member"] for one in group["rollouts"]].count(False) == 1
    rows = read_metrics(tmp_path / "run")
    assert all(row["trace/correct_frac"] == 1.0 and row["update/trained_rows"] > 0 for row in rows)
    assert rows[0]["ratio/hinted_mean"] < 1.0  # the policy's own probability of the given tokens


def test_a_checkpoint_is_a_model_with_its_runs_settings_and_an_incomplete_one_is_set_aside(base, tmp_path):
    run = tmp_path / "run"
    lte(*small_run(base, run, "steps=4"))
    held_out = base[1].removeprefix("data.train=").replace("train.jsonl", "heldout.jsonl")
    done = lte("eval", run / "checkpoints/2", "eval.limit=3", "--benchmarks", held_out, "--json")
    assert f"settings: {run}/config.yaml" in done.stderr
    assert json.loads(done.stdout)["benchmarks"]["heldout"]["n_problems"] == 3
    shutil.rmtree(run / "checkpoints/4/optimiser")
    again = lte(*small_run(base, run, "steps=4")).stdout
    assert "4.incomplete: a checkpoint that is not whole was set aside" in again
    assert f"continuing {run} at step 2" in again and (run / "checkpoints/4/optimiser").exists()
    beyond = lte(*small_run(base, run, "steps=3"), check=False)
    assert beyond.returncode == 2 and "is at step 4 already, beyond steps = 3" in beyond.stderr


@pytest.mark.slow
def test_stop_strings_end_responses_in_training_and_the_best_model_is_kept(base, tmp_path):
    run = tmp_path / "run"
    held_out = base[1].removeprefix("data.train=").replace("train.jsonl", "heldout.jsonl")
    given = [f"eval.benchmarks=[{{path: {held_out}}}]", "eval.every=1", "eval.limit=4", "eval.keep_best=pass_at_1"]
    stop = "sample.stop_strings=[';']"  # behind the first step of a solution
    said = lte(*small_run(base, run, "steps=2", *given, stop)).stdout
    assert f"the best so far by pass_at_1: {run}/best" in said
    rows = [row for group in read_rollouts(run) for row in group["rollouts"]]
    cut = [row for row in rows if ";" in row["response"]]
    assert cut and all(row["response"].endswith(";") and not row["truncated"] for row in cut)
    assert sum(row["sample/cut_tokens"] for row in read_metrics(run)) > 0
    done = lte("eval", run / "best", "eval.limit=4", "--benchmarks", held_out, "--json")
    assert f"settings: {run}/best/config.yaml" in done.stderr
    score = json.loads((run / "best/score.json").read_text())
    assert json.loads(done.stdout)["benchmarks"]["heldout"]["pass_at_1"] == score["value"]


@pytest.mark.parametrize(("max_nonfinite", "stops"), [(2, False), (1, True)])
def test_an_update_that_is_not_finite_is_skipped_and_counted_and_stops_the_run_after_some(
    base, tmp_path, monkeypatch, max_nonfinite, stops
):
    """The first update's gradients are poisoned; the run goes on, or stops with the batch on disk."""
    from lte_jax import config
    from lte_jax.host.verify import Verifier
    from lte_jax.run import train
    from lte_jax.terminal.live import Live

    poisoned = []

    def pack(groups, *rest):
        packed = real_pack(groups, *rest)
        if not poisoned and packed.microbatches:
            poisoned.append(True)
            packed.microbatches[0] = packed.microbatches[0]._replace(
                advantage_BT=packed.microbatches[0].advantage_BT.at[0].set(np.inf)
            )
        return packed

    real_pack = train.pack
    monkeypatch.setattr(train, "pack", pack)
    settings = [
        *base,
        *SMALL,
        "steps=4",
        "eval.every=0",
        f"optim.max_nonfinite={max_nonfinite}",
        "optim.microbatch_tokens=8192",
        *(["loss.regularisers=[lp_reg]"] if stops else []),  # whose targets and scalars are written and read, too
    ]
    with Verifier() as verifier:
        run = tmp_path / "run"
        arguments = (config.load(QUICKSTART, settings), run, verifier, Live(quiet=True))
        if stops:
            with pytest.raises(train.NonFiniteError, match="the last batch is in"):
                train.train(*arguments)
            (left,) = (run / "nonfinite").iterdir()  # of the first step that has anything to train
            first, *others = json.loads(lte("replay", left, "--json").stdout)["microbatches"]
            assert first["inputs"] == {"advantage_BT": [0]} and first["logp"] == [] and "embed" in first["gradients"]
            assert not np.isfinite(first["gradient_norm"])
            assert all(np.isfinite(other["gradient_norm"]) and not other["gradients"] for other in others)
            told = lte("replay", left).stdout
            assert "not finite in inputs: {'advantage_BT': [0]}" in told
            assert len(list(read_rollouts(run))) == 8 * (1 + int(left.name))
        else:
            train.train(*arguments)
            rows = read_metrics(run)
            first = next(n for n, row in enumerate(rows) if row["update/trained_rows"])
            assert [row["update/n_nonfinite_total"] for row in rows] == [0] * first + [1] * (4 - first)
            assert any("update/grad_norm" in row for row in rows[first + 1 :])


def test_whole_groups_are_dealt_once_in_an_order_drawn_from_seed_and_step():
    groups = list(range(10))
    parts = deal(groups, 4, seed=1, step=2)
    assert [len(part) for part in parts] == [4, 4, 2]
    assert sorted(sum(parts, [])) == groups and sum(parts, []) != groups
    assert parts == deal(groups, 4, seed=1, step=2) != deal(groups, 4, seed=1, step=3)


def test_a_steps_updates_combine_into_means_and_maxima():
    rows = [
        {"ratio/on_policy_max": 2.0, "policy/entropy": 1.0, "update/trained_tokens": 3.0},
        {"ratio/on_policy_max": 1.0, "policy/entropy": 2.0, "update/trained_tokens": 5.0, "ratio/hinted_max": 5.0},
    ]
    assert combine(rows, METRICS) == {
        "ratio/on_policy_max": 2.0,
        "policy/entropy": 1.5,
        "update/trained_tokens": 8.0,
        "ratio/hinted_max": 5.0,
    }
    assert combine([], METRICS) == {}
