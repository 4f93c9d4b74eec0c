"""How a training step draws: the temperature by place in the response and by step (EAD, arXiv 2510.05251).

What a token is drawn with goes into `sampled_logp`; `behaviour_logp` and every ratio stay those of sample.temperature.
"""

from collections.abc import Callable

from lte_jax.config import AnnealingConfig, Config
from lte_jax.host.strategies import strategy_class
from lte_jax.method import Method, Source
from lte_jax.records import Annealing


def constant(config: AnnealingConfig, step: int) -> None:
    """Every token at sample.temperature."""


def decay(config: AnnealingConfig, step: int) -> Annealing:
    """A decay that grows with the step s: d_s = min(start + step s, most), since responses grow (EAD)."""
    tokens = min(config.decay_start + config.decay_step * step, config.decay_most)
    return Annealing(config.high, config.low, tokens, config.after)


METHODS = {
    "constant": Method("every token at sample.temperature", "", Source.OURS, "objectives"),
    "decay": Method(
        "hot at a response's beginning, cold at its end, cooling more slowly as training goes on",
        "2510.05251",
        Source.EXACT,
        "objectives",
        cost="one more log-softmax a decode step",
        ours="the decay in tokens is that of the authors' code, 20 times the paper's",
    ),
}
SCHEDULES: dict[str, Callable[[AnnealingConfig, int], Annealing | None]] = {"constant": constant, "decay": decay}


def drawing_warnings(config: Config) -> list[str]:
    """What the configured way to draw does to the update, where that may surprise."""
    sample, annealing, loss = config.sample, config.annealing, config.loss
    warnings = []
    if sample.top_p < 1 or sample.top_k:
        warnings.append(
            "sample.top_p or top_k cuts the distribution: tokens of negative advantage are clipped from the start"
        )
    if annealing.schedule == "constant":
        return warnings
    drawn = f"annealing draws at temperatures up to {annealing.high} and down to {annealing.low}"
    if loss.correction == "none":
        warnings.append(
            f"{drawn}, ratios are taken at sample.temperature = {sample.temperature}, and loss.correction = none takes "
            "the two for one policy; loss.old_logp=trainer loss.correction=truncate weighs tokens by their difference"
        )
    if loss.correction == "reject":
        warnings.append(
            f"{drawn}: an unlikely token that is drawn cold weighs up to 1 over its probability, and loss.correction = "
            "reject leaves such tokens out; truncate keeps them at loss.correction_max"
        )
    if loss.hinted_denominator == "recorded" and strategy_class(config).off_policy:
        warnings.append(
            f"{drawn}, and r' of hinted rows is divided by the probability at sample.temperature; "
            "loss.hinted_denominator=sampled divides by what they were drawn from"
        )
    if loss.entropy_schedule == "adaptive":
        warnings.append(
            f"{drawn}: loss.entropy_schedule = adaptive follows an entropy that is weighed back to sample.temperature, "
            "which is too low where tokens are drawn so cold that unlikely ones never come"
        )
    return warnings
