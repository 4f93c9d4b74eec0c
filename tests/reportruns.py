"""Whole run folders for tests of the report: written by training's own writer, from records made by hand."""

from dataclasses import replace
from pathlib import Path

from handmade import HINTED, group, right, rollout, wrong
from studyfiles import evaluation, metrics_row, write_run

from lte_jax.config import build, dump
from lte_jax.records import Attempt, FailureMode, Group, Origin, Part, Prompt, Purpose, Retry
from lte_jax.storage.run_files import RunFiles


def rescued(step: int = 0, index: int = 0, text: str = "the hint helped") -> Group:
    """Three failures and, with a hint that lists their answers, one right response of two."""
    failed = group(wrong("41", text="wrong 41"), wrong("40"), wrong("41"), step=step, index=index)
    drawn = (right(origin=Origin.HINTED, text=text, round=1), wrong("39", origin=Origin.HINTED, round=1))
    retry = Retry.of(
        Prompt("41 + 0, not 41, 40", HINTED.ids), 2, Origin.HINTED, FailureMode.NONE_TRUNCATED, answers=("41", "40")
    )
    return replace(failed, attempts=(Attempt(retry, drawn),), members=(*failed.initial[:2], drawn[0]))


def solved(step: int = 0, index: int = 0, text: str = "easy") -> Group:
    return group(right(text=text), right(), right(), step=step, index=index)


def cut_off(step: int = 0, index: int = 0) -> Group:
    """Every response ran out of space; not tried again."""
    return group(*(wrong(None, truncated=True) for _ in range(3)), step=step, index=index)


def with_trace(step: int = 0, index: int = 0) -> Group:
    """Every response ran out of space; a given solution is trained beside them."""
    failed, trace = cut_off(step, index), right(origin=Origin.TRACE, text="given: 42", round=1)
    given = Attempt(Retry.of(failed.prompt, 1, Origin.TRACE, None), (trace,))
    return replace(failed, members=(*failed.members[:2], trace), attempts=(given,))


def noted(step: int = 0, index: int = 0) -> Group:
    """Three failures, a note, and a right response that goes on from one of them, on a prompt that tells the note."""
    failed = group(wrong("41"), wrong("40"), wrong("41"), step=step, index=index)
    note = rollout(None, origin=Origin.HINTED, text="check the carry", round=1)
    asked = Attempt(Retry((Part(HINTED, 1),), Origin.HINTED, None, purpose=Purpose.NOTE), (note,))
    told = Part(Prompt("a carry to check", HINTED.ids), 1, failed.initial[0].beginning(1))
    drawn = replace(right(origin=Origin.HINTED, round=2, text="with care"), prompt=told.prompt, n_given=1)
    parts = Part(failed.prompt, 1), told
    tried = Attempt(Retry(parts, Origin.HINTED, FailureMode.NONE_TRUNCATED), (wrong("39", round=2), drawn))
    return replace(failed, attempts=(asked, tried), members=(*failed.initial[:2], drawn))


def report_run(folder: Path, *overrides: str, seed: int = 0, n_steps: int = 6, groups=None, **more) -> Path:
    """A run of `n_steps` steps with an evaluation at both ends; each step has the groups that `groups(step)` gives."""
    settings = build({"seed": seed, "steps": n_steps}, overrides)
    rows = [metrics_row(step, policy__entropy=1 / (1 + step + seed), **more) for step in range(n_steps)]
    write_run(folder, rows, {0: {"math": evaluation(0.2, 0.5)}, n_steps: {"math": evaluation(0.4 + seed / 10, 0.25)}})
    (folder / "config.yaml").write_text(dump(settings))
    files = RunFiles(folder)
    for step in range(n_steps):
        made = groups(step) if groups else [rescued(step, 0), solved(step, 1), cut_off(step, 2)]
        files.write_rollouts(step, made)
    return folder


def two_arms(folder: Path) -> list[Path]:
    """lte and grpo on two seeds each."""
    return [
        report_run(folder / f"{strategy}-{seed}", f"explore.strategy={strategy}", seed=seed)
        for strategy in ("lte", "grpo")
        for seed in (0, 1)
    ]
