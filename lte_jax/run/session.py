"""What train, evaluate and generate share: an opened model with its tokenizer, prompts, engine and verifier."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from jax.sharding import Mesh

from lte_jax.config import Config, ConfigError
from lte_jax.device.features import chosen
from lte_jax.device.mesh import make_mesh
from lte_jax.device.tally import metrics_of
from lte_jax.device.weights import Architecture
from lte_jax.engine.rollout import Engine, Grader, device_kind
from lte_jax.host import golds
from lte_jax.host.credits import make_credits, wanted_features
from lte_jax.host.decisions import Decisions
from lte_jax.host.drawing import SCHEDULES
from lte_jax.host.labels import make_label
from lte_jax.host.problems import Answers, load_problems
from lte_jax.host.prompts import PromptBuilder, chat_template
from lte_jax.host.tokenizers.stops import StopStrings
from lte_jax.host.tokenizers.tokenizer import Tokenizer, open_tokenizer
from lte_jax.host.verify import Verifier
from lte_jax.model_io.checkpoint import Model, open_model, stopping_ids
from lte_jax.model_io.hub import model_path
from lte_jax.records import Problem, Prompt, Sampling
from lte_jax.run.positions import check_positions
from lte_jax.terminal.screen import bar


@dataclass(frozen=True)
class Session:
    """Everything that turns prompts into graded rollouts."""

    config: Config
    mesh: Mesh
    model: Model
    tokenizer: Tokenizer
    prompts: PromptBuilder
    engine: Engine
    grader: Grader
    verifier: Verifier

    def sampling(self) -> Sampling:
        sample = self.config.sample
        return Sampling(sample.temperature, sample.top_p, sample.top_k, sample.response_budget)

    def training_sampling(self, step: int) -> Sampling:
        """As a training step samples: the same, with the step's annealing."""
        annealing = self.config.annealing
        return replace(self.sampling(), annealing=SCHEDULES[annealing.schedule](annealing, step))


def open_session(
    config: Config, rows: Mapping[str, int], verifier: Verifier, say: Callable[[str], None] = print
) -> Session:
    """Opens `model.path` on the mesh. Says what stops a response, since a wrong stop id is the field's quietest bug.

    `rows`: settings -> tokens of the longest row that they allow (positions.py)."""
    folder = model_path(config.model, say=say)
    mesh = make_mesh(config.mesh)
    model = open_model(folder, mesh)
    tokenizer = open_tokenizer(model.folder, chat_template(config.prompt))
    check_vocabulary(model.folder, model.arch, tokenizer)
    check_positions(config, rows, model.max_positions, say)
    stop_ids = stopping_ids(model, tokenizer)
    say(f"devices: {device_kind()}, mesh {dict(mesh.shape)}")
    say(f"model: {config.model.path}, {model.arch.n_layers} layers, vocabulary {model.arch.vocab_size}")
    say(f"stop ids: {', '.join(f'{i} {tokenizer.spelling(i)!r}' for i in stop_ids)}")
    longest = max(config.prompt.budget, config.prompt.hinted_budget)
    strings = config.sample.stop_strings
    cut = StopStrings(strings, tokenizer.decode).cut if strings else None
    engine = Engine(model.arch, config.model, config.engine, mesh, stop_ids, longest, cut)
    grader = Grader(tokenizer.decode, verifier.grade_problems)
    return Session(config, mesh, model, tokenizer, PromptBuilder(config.prompt, tokenizer), engine, grader, verifier)


def check_plugins(config: Config) -> None:
    """Raises ConfigError for parts of the loss, credits and what these read, and labels that cannot be loaded, or whose
    own settings are wrong."""
    metrics_of(config.loss)
    make_label(config, lambda pairs: [], Decisions())
    chosen(wanted_features(make_credits(config)), config.advantage.feature_args)


def check_vocabulary(folder: Path, arch: Architecture, tokenizer: Tokenizer) -> None:
    if tokenizer.vocab_size > arch.vocab_size:
        raise ConfigError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model only {arch.vocab_size} (vocab_size "
            "of config.json): they do not belong together, or tokens were added without resizing the embedding"
        )


def open_problems(
    path: str | Path,
    verifier: Verifier,
    say: Callable[[str], None] = print,
    show: Callable[[str], None] = lambda text: None,
    need_answers: bool = True,
) -> list[Problem]:
    """Loads problems and refuses references that the verifier cannot read, each with its reason, and a custom reward
    that gives none to made-up responses of the first problem. `show`: how far it is; `need_answers`: a problem without
    a reference is refused."""
    note = golds.note_of(path, verifier.conventions) if verifier.conventions and Path(path).is_file() else None
    is_noted = note is not None and golds.is_noted(note)
    check = None if is_noted else verifier.check_gold
    shown = partial(_show_reading, path, show)
    problems = load_problems(path, Answers.NEEDED if need_answers else Answers.TAKEN, check, shown)
    if note is not None and not is_noted:
        try:
            golds.write_note(note, len({problem.answer for problem in problems}))
        except OSError as error:
            say(f"{path}: the next start looks at its answers again, since {error.filename} cannot be written")
    n_without = sum(not problem.answer for problem in problems)
    say(f"problems: {path}, {len(problems)} rows{f', {n_without} of them without an answer' if n_without else ''}")
    if verdicts := verifier.try_reward(problems[0]):
        rewards = ", ".join(f"{verdict.reward:g}" for verdict in verdicts)
        say(f"reward: tried on problem {problems[0].id!r}, its answer in a box and a response without any: {rewards}")
    return problems


def _show_reading(path: str | Path, show: Callable[[str], None], share: float) -> None:
    show(f"reading {path}  {bar(share)}")


def with_prompts(session: Session, problems: Sequence[Problem]) -> list[tuple[Problem, Prompt]]:
    """Each problem with its plain prompt; one that passes its budget is refused here, before anything is sampled."""
    return [(problem, session.prompts.plain(problem)) for problem in problems]
