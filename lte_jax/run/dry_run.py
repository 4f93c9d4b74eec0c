"""`lte train --dry-run`: what would run, from files alone. No device is opened, no weight is read."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lte_jax.config import Config, ConfigError, fields, refuse_unread
from lte_jax.device.weights import table
from lte_jax.host.curricula import make_curriculum
from lte_jax.host.curriculum import Position, chosen
from lte_jax.host.explore import Strategy
from lte_jax.host.labels import label_class
from lte_jax.host.prompts import PromptBuilder, chat_template
from lte_jax.host.strategies import make_strategy
from lte_jax.host.tokenizers.readings import spelled_in, token_lines
from lte_jax.host.tokenizers.tokenizer import Tokenizer, open_tokenizer
from lte_jax.host.verify import Verifier
from lte_jax.model_io.checkpoint import check_weights, model_files
from lte_jax.model_io.hf_config import read_config
from lte_jax.model_io.hub import model_path
from lte_jax.records import Problem
from lte_jax.run.positions import check_positions, training_rows
from lte_jax.run.session import check_plugins, check_vocabulary, open_problems
from lte_jax.storage.paths import is_remote
from lte_jax.storage.run_files import evaluated_steps

Say = Callable[[str], None]


def dry_run(config: Config, verifier: Verifier, say: Say, show: Say = lambda text: None) -> None:
    """Says settings, problems, parameters, tokens per step and the first prompt; `show`: what passes. Raises what
    training would raise for settings, model folder, headers of its weight files, tokenizer and problem files."""
    if not config.data.train:
        raise ConfigError("data.train is empty: wanted a JSONL or Parquet file of problems (data.train=FILE)")
    say("settings other than the defaults:")
    for line in _changed(config):
        say(f"  {line}")
    refuse_unread(config)
    check_plugins(config)
    path = model_path(config.model, weights=False, say=say)
    folder = model_files(path)
    found = read_config(folder)
    arch = found.arch
    n_parameters = sum(math.prod(row.shape(arch)) for row in table(arch).values())
    say(f"model: {folder}, {n_parameters:,} parameters, {arch.n_layers} layers, vocabulary {arch.vocab_size}")
    tokenizer = open_tokenizer(folder, chat_template(config.prompt))
    check_vocabulary(folder, arch, tokenizer)
    check_positions(config, training_rows(config), found.max_positions, say)
    if Path(config.model.path).exists() or is_remote(path):
        check_weights(path, folder, arch)
    else:
        say("weights: not looked at; training fetches them from the Hub")
    prompts = PromptBuilder(config.prompt, tokenizer)
    problems = open_problems(config.data.train, verifier, say, show, label_class(config).needs_answers)
    prompted = [(problem, prompts.plain(problem)) for problem in problems]
    lengths = [len(prompt.ids) for _, prompt in prompted]
    say(f"prompts: {min(lengths)} to {max(lengths)} tokens, mean {sum(lengths) / len(lengths):.1f}")
    strategy = make_strategy(config, prompts, verifier.same_answer)
    strategy.check(problems, say)
    _say_evaluations(config, verifier, say, show)
    curriculum = make_curriculum(config, prompted, prompts)
    plans = chosen(curriculum, config.problems_per_step, Position(config.seed, step=0, cursor=0), {})
    sizes = [sum(part.n for part in strategy.first(plan, {})) for plan in plans]
    _say_steps(config, len(problems), max(lengths), sizes, strategy.most_further(), say)
    _say_texts(strategy, prompts, tokenizer, problems, say)
    say("dry run: nothing was sampled, trained or written")


def _say_texts(
    strategy: Strategy, prompts: PromptBuilder, tokenizer: Tokenizer, problems: Sequence[Problem], say: Say
) -> None:
    """The first prompt, and the tokens of whatever holds special ones: text alone does not show which they are."""
    first = prompts.plain(problems[0])
    say(f"first prompt:\n{first.text}")
    shown = {"first prompt": first.ids, **strategy.shown_prompts(problems)}
    for name, ids in shown.items():
        if lines := list(token_lines(ids, tokenizer)):
            say("\n  ".join([f"{name}, {len(ids)} tokens:", *lines]))
    if spelled := spelled_in(problems, tokenizer):
        id_, token = next(iter(spelled.items()))
        say(f"special tokens that a problem spells stay text: in {len(spelled)} problems, such as {token!r} in {id_}")


def _changed(config: Config) -> Iterator[str]:
    """`name = value` of every setting that is not at its default."""
    defaults = {name: value for name, value, _ in fields()}
    for name, value, _ in fields(config):
        if value != defaults[name]:
            shown = [entry.path for entry in value] if name == "eval.benchmarks" else value
            yield f"{name} = {shown!r}"


def _say_evaluations(config: Config, verifier: Verifier, say: Say, show: Say) -> None:
    if not config.eval.every:
        say("evaluations: none (eval.every = 0)")
        return
    n_responses = 0
    for entry in config.eval.benchmarks:
        n_problems = len(open_problems(entry.path, verifier, say, show)[: config.eval.limit or None])
        n_responses += n_problems * (entry.samples or config.eval.samples)
    say(f"evaluations: {len(evaluated_steps(config))} of {n_responses:,} responses each")


def _say_steps(
    config: Config, n_problems: int, longest: int, sizes: Sequence[int], most_further: int, say: Say
) -> None:
    """`sizes`: rollouts of each problem in the first step."""
    sample = config.sample
    n_rows = sum(sizes)
    each = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    n_extra = config.problems_per_step * most_further
    budget = sample.response_budget
    say(
        f"steps: {config.steps}, each {config.problems_per_step} problems x {each} responses = "
        f"{n_rows:,} rollouts of at most {budget} tokens ({n_rows * budget:,} tokens), in "
        f"{config.problems_per_step // config.optim.problems_per_update} updates"
    )
    if n_extra:
        say(f"further rollouts: at most {n_extra:,} a step ({n_extra * budget:,} tokens)")
    epochs = config.steps * config.problems_per_step / n_problems
    say(f"the problems are seen {epochs:.2f} times; the longest row is {longest + budget:,} tokens")
