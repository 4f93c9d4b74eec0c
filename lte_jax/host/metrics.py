"""What a step's groups show: pass levels before and after mixing, failure modes, rescues, leakage, length, verdicts.

Keys are `noun/detail`. A share of nothing is left out of the row, never 0/0.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from lte_jax.config import Config
from lte_jax.host.diagnose import all_rollouts, contains_answer, names_hint, pass_level, repeats_answer
from lte_jax.records import FailureMode, Group, Origin, PassLevel, Rollout, Status


def group_metrics(groups: Sequence[Group], config: Config) -> dict[str, float | list[int]]:
    """Every metric of a step that follows from its groups alone."""
    return {
        **_levels(groups, "before", lambda group: group.initial),
        **_levels(groups, "after", lambda group: group.members),
        **_failure_modes(groups),
        **_rescues(groups, config.sample.group_size),
        **_leakage(groups, config.prompt.hints.leak_patterns),
        **_responses(groups),
    }


def _levels(groups: Sequence[Group], when: str, of) -> dict[str, float]:
    levels = Counter(pass_level(of(group)) for group in groups)
    return {f"group/{level}_frac_{when}": levels[level] / len(groups) for level in PassLevel}


def _failure_modes(groups: Sequence[Group]) -> dict[str, float]:
    """Of the groups that were tried again, by the mode of their first further round."""
    modes = Counter(group.attempts[0].retry.mode for group in groups if group.attempts)
    return {f"failure/{mode}_frac": modes[mode] / modes.total() for mode in FailureMode if modes.total()}


def _rescues(groups: Sequence[Group], group_size: int) -> dict[str, float | list[int]]:
    """Rescue rate per group and hit rate per rollout, hinted beside plain, and the histograms of raw and used G'."""
    metrics: dict[str, float | list[int]] = {}
    for name, origin in (("hinted", Origin.HINTED), ("plain", Origin.EXTRA)):
        attempts = [a for group in groups for a in group.attempts if a.retry.origin is origin]
        if attempts:
            correct = [sum(rollout.correct for rollout in a.rollouts) for a in attempts]
            metrics[f"rescue/{name}_rate"] = sum(c > 0 for c in correct) / len(attempts)
            metrics[f"rescue/{name}_hit_frac"] = sum(correct) / sum(len(a.rollouts) for a in attempts)
            metrics[f"rescue/{name}_groups"] = len(attempts)
            metrics[f"rescue/{name}_correct_hist"] = _histogram(correct, group_size)
    retried = [group for group in groups if group.attempts]
    if retried:
        used = [sum(rollout.origin is not Origin.PLAIN for rollout in group.members) for group in retried]
        metrics["rescue/used_hist"] = _histogram(used, group_size)
    return metrics


def _histogram(counts: Iterable[int], largest: int) -> list[int]:
    seen = Counter(counts)
    return [seen[n] for n in range(largest + 1)]


def _leakage(groups: Sequence[Group], patterns: Sequence[str]) -> dict[str, float]:
    """Over all hinted responses and over those that are trained."""
    hinted = [(g, a, r) for g in groups for a in g.attempts if a.retry.origin is Origin.HINTED for r in a.rollouts]
    trained = [(g, a, r) for g, a, r in hinted if any(r is member for member in g.members)]
    metrics = {}
    for name, rows in (("all", hinted), ("trained", trained)):
        if not rows:
            continue
        excess = [
            contains_answer(r.text, a.retry.answers)
            - _mean(contains_answer(p.text, a.retry.answers) for p in g.initial)
            for g, a, r in rows
        ]
        metrics |= {
            f"leak/{name}_repeats_answer_frac": _mean(repeats_answer(r, a.retry.answers) for _, a, r in rows),
            f"leak/{name}_names_hint_frac": _mean(names_hint(r.text, patterns) for _, _, r in rows),
            f"leak/{name}_contains_answer_excess": _mean(excess),
        }
    return metrics


def _responses(groups: Sequence[Group]) -> dict[str, float]:
    initial = [rollout for group in groups for rollout in group.initial]
    drawn = [rollout for group in groups for rollout in all_rollouts(group)]
    members = [rollout for group in groups for rollout in group.members]
    statuses = Counter(rollout.verdict.status for rollout in drawn)
    n_tokens = sum(len(rollout.tokens) for rollout in initial)
    return {
        **_rewards("before", initial),
        **_rewards("after", members),
        "response/length_mean": _mean(len(rollout.tokens) for rollout in initial),
        "response/length_max": max(len(rollout.tokens) for rollout in initial),
        "response/truncated_frac": _mean(rollout.truncated for rollout in initial),
        "response/neg_logp_mean": -sum(float(sum(r.behaviour_logp)) for r in initial) / n_tokens,
        "sample/rollouts": len(drawn),
        "sample/tokens": sum(len(rollout.tokens) for rollout in drawn),
        "sample/undecided": sum(not rollout.decided for rollout in drawn),
        **{f"verdict/{status}_frac": statuses[status] / len(drawn) for status in Status},
    }


def _rewards(when: str, rollouts: Sequence[Rollout]) -> dict[str, float]:
    decided = [rollout.correct for rollout in rollouts if rollout.decided]
    return {f"reward/mean_{when}": _mean(decided)} if decided else {}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
