"""The curricula of the package, by the name that `curriculum.name` gives them."""

from lte_jax.config import Config
from lte_jax.host.curricula.exit import Exit
from lte_jax.host.curricula.fission import Fission
from lte_jax.host.curricula.knapsack import Knapsack
from lte_jax.host.curricula.ladder import Ladder
from lte_jax.host.curricula.nearest import Nearest
from lte_jax.host.curricula.stages import Stages
from lte_jax.host.curriculum import Curriculum, Prompted, Shuffled
from lte_jax.host.prompts import PromptBuilder
from lte_jax.plugins import arguments, resolve_class

CURRICULA: dict[str, type[Curriculum]] = {
    "shuffled": Shuffled,
    "knapsack": Knapsack,
    "nearest": Nearest,
    "stages": Stages,
    "ladder": Ladder,
    "fission": Fission,
    "exit": Exit,
}


def make_curriculum(config: Config, problems: Prompted, prompts: PromptBuilder) -> Curriculum:
    """The curriculum that `curriculum.name` names, with its own settings. Raises ConfigError."""
    named = resolve_class("curriculum.name", config.curriculum.name, CURRICULA, Curriculum)
    args = arguments("curriculum.args", config.curriculum.args, named.Args)
    return named(config, problems, prompts, args)
