"""What a step's groups show: pass levels before and after mixing, failure modes, rescues, leakage, length, verdicts.

Keys are `noun/detail`. A share of nothing is left out of the row, never 0/0.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from lte_jax.config import Config
from lte_jax.host.diagnose import (
    SameAnswer,
    all_rollouts,
    contains_answer,
    failure_mode,
    names_hint,
    pass_level,
)
from lte_jax.host.entropy import sampled_entropy
from lte_jax.host.labels import label_metrics
from lte_jax.host.shaping import shaping
from lte_jax.records import Attempt, FailureMode, Group, Origin, PassLevel, Rollout, Status


def group_metrics(groups: Sequence[Group], config: Config, same_answer: SameAnswer) -> dict[str, float | list[int]]:
    """Every metric of a step that follows from its groups alone."""
    return {
        **_levels(groups, "before", lambda group: group.initial),
        **_levels(groups, "after", lambda group: group.members),
        **_failure_modes(groups),
        **_rescues(groups, config.sample.group_size),
        **_traces(groups),
        **_leakage(groups, config.prompt.hints.leak_patterns, same_answer),
        **_early_gold(groups),
        **_responses(groups),
        **_shaping(groups, config),
        **label_metrics(groups),
    }


def _levels(groups: Sequence[Group], when: str, of) -> dict[str, float]:
    levels = Counter(pass_level(of(group)) for group in groups)
    return {f"group/{level}_frac_{when}": levels[level] / len(groups) for level in PassLevel}


def _failure_modes(groups: Sequence[Group]) -> dict[str, float]:
    """Of the none-pass groups, whatever the strategy does about them, by their first round."""
    failed = [group.initial for group in groups if pass_level(group.initial) is PassLevel.NONE]
    modes = Counter(FailureMode.NO_ANSWER if _lists_nothing(first) else failure_mode(first) for first in failed)
    return {f"failure/{mode}_frac": modes[mode] / len(failed) for mode in FailureMode if failed}


def _lists_nothing(rollouts: Sequence[Rollout]) -> bool:
    """Nothing truncated and nothing that a hint could list."""
    return not any(r.response.truncated or r.verdict.status is Status.DIFFERENT for r in rollouts)


def _rescues(groups: Sequence[Group], group_size: int) -> dict[str, float | list[int]]:
    """Rescue rate per group and hit rate per rollout, hinted beside plain, and the histograms of raw and used G'."""
    metrics: dict[str, float | list[int]] = {}
    for name, origin in (("hinted", Origin.HINTED), ("plain", Origin.EXTRA)):
        drawn = [[r for a in g.retries if a.retry.origin is origin for r in a.rollouts] for g in groups]
        correct = [sum(rollout.correct for rollout in rollouts) for rollouts in drawn if rollouts]
        if correct:
            metrics[f"rescue/{name}_rate"] = sum(c > 0 for c in correct) / len(correct)
            metrics[f"rescue/{name}_hit_frac"] = sum(correct) / sum(map(len, drawn))
            metrics[f"rescue/{name}_groups"] = len(correct)
            metrics[f"rescue/{name}_correct_hist"] = _histogram(correct, group_size)
    retried = [group for group in groups if group.retries and not _trace(group)]
    if retried:
        used = [sum(rollout.origin is not Origin.PLAIN for rollout in group.members) for group in retried]
        metrics["rescue/used_hist"] = _histogram(used, group_size)
    return metrics


def _traces(groups: Sequence[Group]) -> dict[str, float]:
    """Of all groups, those with a given solution; of these solutions, the right ones."""
    traces = [trace for group in groups if (trace := _trace(group))]
    if not traces:
        return {}
    return {"trace/group_frac": len(traces) / len(groups), "trace/correct_frac": _mean(t.correct for t in traces)}


def _trace(group: Group) -> Rollout | None:
    return next((r for attempt in group.attempts for r in attempt.rollouts if r.origin is Origin.TRACE), None)


def _histogram(counts: Sequence[int], group_size: int) -> list[int]:
    """How often each count came, from 0 to G, or to the largest where a group had more than G rollouts."""
    seen = Counter(counts)
    return [seen[n] for n in range(max(group_size, *counts) + 1)]


def _leakage(groups: Sequence[Group], patterns: Sequence[str], same_answer: SameAnswer) -> dict[str, float]:
    """Over all hinted responses, and over those that are trained."""
    attempts = [(g, a) for g in groups for a in g.retries if a.retry.origin is Origin.HINTED]
    pairs = dict.fromkeys(pair for _, a in attempts for r in a.rollouts for pair in _listed_pairs(a, r))
    same = dict(zip(pairs, same_answer(list(pairs)), strict=True)) if pairs else {}
    leaks: list[tuple[bool, bool, bool, float]] = []  # trained, repeats a listed answer, names the hint, excess
    for group, attempt in attempts:
        listed = attempt.retry.answers
        plain_share = _mean(contains_answer(rollout.text, listed) for rollout in group.initial)
        for rollout in attempt.rollouts:
            trained = any(rollout is member for member in group.members)
            repeats = any(same[pair] for pair in _listed_pairs(attempt, rollout))
            excess = contains_answer(rollout.text, listed) - plain_share
            leaks.append((trained, repeats, names_hint(rollout.text, patterns), excess))
    metrics = {}
    for name, rows in (("all", leaks), ("trained", [leak for leak in leaks if leak[0]])):
        for place, detail in ((1, "repeats_answer_frac"), (2, "names_hint_frac"), (3, "contains_answer_excess")):
            if rows:
                metrics[f"leak/{name}_{detail}"] = _mean(row[place] for row in rows)
    return metrics


def _early_gold(groups: Sequence[Group]) -> dict[str, float]:
    """Of the responses that were told the answer, those that say it before their last third: it was not derived."""
    told = [
        contains_answer(rollout.text[: 2 * len(rollout.text) // 3], [group.problem.answer])
        for group in groups
        for rollout in all_rollouts(group)
        if contains_answer(rollout.prompt.text, [group.problem.answer])
        and not contains_answer(group.prompt.text, [group.problem.answer])
    ]
    return {"leak/early_gold_frac": _mean(told)} if told else {}


def _listed_pairs(attempt: Attempt, rollout: Rollout) -> list[tuple[str, str]]:
    """(listed answer, the response's own final answer)."""
    extracted = rollout.verdict.extracted
    return [(listed, extracted) for listed in attempt.retry.answers] if extracted else []


def _responses(groups: Sequence[Group]) -> dict[str, float]:
    initial = [rollout for group in groups for rollout in group.initial]
    drawn = [rollout for group in groups for rollout in all_rollouts(group) if rollout.origin is not Origin.TRACE]
    notes = [note for group in groups for note in group.notes]
    members = [rollout for group in groups for rollout in group.members]
    statuses = Counter(rollout.verdict.status for rollout in drawn)
    return {
        **_rewards("before", initial),
        **_rewards("after", members),
        "response/length_mean": _mean(len(rollout.response) for rollout in initial),
        "response/length_max": max(len(rollout.response) for rollout in initial),
        "response/truncated_frac": _mean(rollout.response.truncated for rollout in initial),
        "response/neg_logp_mean": sampled_entropy(groups),
        "sample/groups": len(groups),
        "sample/rollouts": len(drawn),
        "sample/tokens": sum(len(rollout.response) - rollout.n_given for rollout in (*drawn, *notes)),
        "sample/undecided": sum(not rollout.decided for rollout in drawn),
        "sample/further_verdicts": sum(len(attempt.rollouts) for group in groups for attempt in group.retries),
        **({"sample/notes": len(notes)} if notes else {}),
        **({"sample/given_tokens": n_given} if (n_given := sum(rollout.n_given for rollout in drawn)) else {}),
        **{f"verdict/{status}_frac": statuses[status] / len(drawn) for status in Status},
    }


def _shaping(groups: Sequence[Group], config: Config) -> dict[str, float]:
    """What length took off the members' rewards."""
    if config.overlong.shaping == "none":
        return {}
    return {"reward/shaping_mean": _mean(shaping(rollout, config) for g in groups for rollout in g.members)}


def _rewards(when: str, rollouts: Sequence[Rollout]) -> dict[str, float]:
    decided = [rollout.verdict.reward for rollout in rollouts if rollout.decided]
    return {f"reward/mean_{when}": _mean(decided)} if decided else {}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
