"""The worker's job. Importing this module imports sympy, so the zygote pays for it once, before it forks."""

from lte_jax.config import ConventionsConfig
from lte_jax.host.answers.decide import status_by
from lte_jax.host.answers.symbolic import SymbolicArithmetic


def decide_fully(gold: str, answer: str, conventions: dict) -> str:
    """The value of a Status. `conventions`: the fields of a ConventionsConfig."""
    return status_by(gold, answer, SymbolicArithmetic(), ConventionsConfig(**conventions)).value


decide_fully("2*sin(x)^2 + 2^(1/2)", "2 - 2*cos(x)^2 + sqrt(2)", {})  # sympy imports much only at first use
