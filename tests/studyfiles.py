"""Run folders written by hand in the format of training, for tests of what a study reads."""

import json
from collections.abc import Callable
from pathlib import Path

from lte_jax.config import Config, build, dump

ARMS = {
    "grpo": ["explore.strategy=grpo"],
    "extra": ["explore.strategy=extra"],
    "lte": ["explore.strategy=lte"],
}


def config(steps: int = 4, every: int = 2, seeds=(0, 1), arms=None, **sections) -> Config:
    evaluation = {"every": every, "samples": 4, "k": [4], **sections.pop("eval", {})}
    study = {"arms": arms or ARMS, "seeds": list(seeds)}
    return build({"steps": steps, "eval": evaluation, "study": study, **sections})


def metrics_row(step: int, rollouts: int = 10, tokens: int = 100, seconds: float = 1.0, **more) -> dict:
    """A row of metrics/; keys of `more` have `__` for `/`."""
    row = {
        "step": step,
        "sample/rollouts": rollouts,
        "sample/tokens": tokens,
        "time/step_s": seconds,
        "group/none_pass_frac_before": 0.5,
        "group/none_pass_frac_after": 0.5,
    }
    return row | {key.replace("__", "/"): value for key, value in more.items()}


def evaluation(pass_at_1: float, none_pass: float, n_problems: int = 2) -> dict:
    return {
        "n_problems": n_problems,
        "n_samples": 4,
        "pass_at_1": pass_at_1,
        "pass_at_4": 1 - none_pass,
        "none_pass_frac": none_pass,
    }


def write_run(folder: Path, rows: list[dict], evaluations: dict[int, dict]) -> Path:
    """`evaluations`: {step: {benchmark: metrics}}. The metrics are cut into two files, as at a checkpoint."""
    half = len(rows) // 2
    for start, part in ((0, rows[:half]), (half, rows[half:])):
        _write(folder / "metrics" / f"{start:06d}.jsonl", part)
    for step, metrics in evaluations.items():
        problems = [{"benchmark": name, "id": i} for name in metrics for i in range(metrics[name]["n_problems"])]
        _write(folder / "eval" / f"{step:06d}.jsonl", [{"step": step, "metrics": metrics}, *problems])
    (folder / "log.txt").write_text("devices: 1 x cpu cpu, mesh {}\n")
    return folder


def write_study(folder: Path, settings: Config, row: Callable, found: Callable) -> None:
    """Every run of a study: `row(arm, seed, step)` and `found(arm, seed, step)` make its rows and evaluations."""
    steps = [*range(0, settings.steps, settings.eval.every), settings.steps]
    for arm in settings.study.arms:
        for seed in settings.study.seeds:
            rows = [row(arm, seed, step) for step in range(settings.steps)]
            run = write_run(folder / f"{arm}-{seed}", rows, {step: found(arm, seed, step) for step in steps})
            (run / "config.yaml").write_text(dump(settings.model_copy(update={"seed": seed})))


def group_row(step: int, attempts: list[dict], rollouts: list[dict] | None = None, **more) -> dict:
    """A line of rollouts/."""
    group = {"step": step, "group": 0, "id": "p0", "problem": "six times seven", "answer": "42", "prompt": "plain"}
    failures = [rollout_row("wrong 41", "41"), rollout_row("wrong 40", "40"), rollout_row("wrong 41", "41")]
    return group | {"rollouts": failures if rollouts is None else rollouts, "attempts": attempts} | more


def attempt_row(listed: list[str], rollouts: list[dict], origin: str = "hinted") -> dict:
    mode = "none_truncated"
    return {"origin": origin, "mode": mode, "listed": listed, "prompt": f"not {listed}", "rollouts": rollouts}


def rollout_row(response: str, extracted: str | None, correct: bool = False, **more) -> dict:
    status = "equal" if correct else "different" if extracted else "no_answer"
    row = {"response": response, "extracted": extracted, "correct": correct, "status": status}
    return row | {"member": correct, "truncated": False} | more


def write_rollouts(run: Path, groups: list[dict]) -> Path:
    for step in {group["step"] for group in groups}:
        _write(run / "rollouts" / f"{step:06d}.jsonl", [group for group in groups if group["step"] == step])
    return run


def _write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
