"""The worker's job. Importing this module imports sympy, so the zygote pays for it once, before it forks."""

from lte_jax.host.verify.judge import settle
from lte_jax.host.verify.symbolic import SymbolicArithmetic


def decide_fully(task: list[str]) -> str:
    """[gold, answer, name of the conventions] to the value of a Status."""
    gold, answer, conventions = task
    return settle(gold, answer, SymbolicArithmetic(), conventions).value


decide_fully(["2*sin(x)^2 + 2^(1/2)", "2 - 2*cos(x)^2 + sqrt(2)", "default"])  # sympy imports much only at first use
