"""Every setting, with its unit and meaning. Frozen pydantic models; one YAML file per experiment; `section.key=value`
overrides. An unknown key is an error that names the nearest known one; what the paper leaves open is a field here.
Each setting says what another value does to a run that is continued (`Kind`).
"""

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator


class ConfigError(ValueError):
    """A setting that cannot be used. The message says what was wanted, what was got and where."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Kind(StrEnum):
    """What another value of a setting does to a run that is continued."""

    METHOD = "method"  # another training from there on: only with `lte train --change`, which writes it down
    LAYOUT = "layout"  # memory and speed: the same mathematics, in which last bits may differ; said aloud
    APART = "apart"  # nothing that is trained: logs, evaluation, checkpoints, limits of time
    CONTENT = "content"  # a path: what lies there counts, not where


METHOD, LAYOUT, APART, CONTENT = Kind


def setting(default: Any, meaning: str, kind: Kind, read_with: tuple[dict, ...] = (), **limits: Any) -> Any:
    """`read_with`: {setting: values} under any of which this one is read at all; empty: always."""
    return Field(default, description=meaning, json_schema_extra={"kind": kind, "read_with": read_with}, **limits)


def one_of(name: str, *values: Any) -> dict[str, tuple]:
    return {name: values}


DECAY = one_of("annealing.schedule", "decay")
FURTHER_ROUNDS = one_of("explore.strategy", "extra", "lte", "restart", "scope")  # of the package, those that have some
MIXED = one_of("explore.strategy", *FURTHER_ROUNDS["explore.strategy"], "guided", "notes", "evocot")  # that mix one in

CONTEXTS = (  # what writes a prompt from a context
    one_of("explore.strategy", "guided", "expo", "notes", "reflect", "evocot"),
    one_of("curriculum.name", "fission", "exit"),
)


def in_home(path: str) -> str:
    """The path with the home folder in place of a leading `~`, which a shell leaves standing behind `key=`."""
    return os.path.expanduser(path)


PathText = Annotated[str, AfterValidator(in_home)]


class Arguments(dict):
    """Settings of a plug-in, by name; the plug-in's own model says which there are (plugins.arguments). Hashable, since
    what shapes a program is."""

    def __hash__(self) -> int:
        return hash(json.dumps(self, sort_keys=True, default=str))


OF_YOUR_OWN = "module:Name of your own"
PluginArguments = Annotated[dict[str, Any], AfterValidator(Arguments)]


def known_names(known: Iterable[str], got: str) -> str:
    """What could have been meant: the nearest name, and all."""
    known = list(known)
    near = difflib.get_close_matches(got, known, 1)
    said = f"did you mean {near[0]}? " if near else ""
    names = f"one of {', '.join(known)}, or {OF_YOUR_OWN}" if known else OF_YOUR_OWN
    return f"{said}wanted {names}"


def _check_name(known: tuple[str, ...], name: str) -> str:
    if name not in known and ":" not in name:
        raise ValueError(known_names(known, name))
    return name


def named(*known: str) -> Any:
    """A choice of the package, or `module:Name` of the user's own, which is looked up when it is used."""
    return Annotated[str, AfterValidator(partial(_check_name, known))]


class ModelConfig(Section):
    path: PathText = setting(
        "", "the starting model: a Hugging Face folder, a run folder, or a Hub id (with revision)", CONTENT
    )
    revision: str = setting("", "commit of the Hub id, 40 hexadecimal digits; empty for a folder", CONTENT)
    beyond_max_positions: Literal["refuse", "allow"] = setting(
        "refuse",
        "rows that may be longer than the positions of config.json (max_position_embeddings; with YaRN, its factor "
        "times the original ones)",
        APART,
    )
    compute_dtype: Literal["float32", "bfloat16"] = setting(
        "bfloat16",
        "type of activations and matmul operands; weights, gradients, norms, softmax and logits are float32 always",
        METHOD,
    )
    attention: Literal["auto", "reference", "xla", "cudnn", "splash"] = setting(
        "auto",
        "attention implementation for prefill and training; auto: splash on TPU, cudnn on GPU with bfloat16, else xla",
        LAYOUT,
    )
    scan_layers: bool = setting(
        True, "scan over layers in training (fast compile); false unrolls (faster on CPU)", LAYOUT
    )
    remat: Literal["none", "dots", "offload", "full"] = setting(
        "full",
        "what the backward pass recomputes per layer: nothing, all but matmul outputs (offload: kept in the host's "
        "memory), or everything",
        LAYOUT,
    )
    logprob_chunk: int = setting(
        1024,
        "tokens per chunk and batch shard of the vocabulary log-prob; bounds memory to chunk x V floats",
        LAYOUT,
        ge=1,
    )


class DataConfig(Section):
    train: PathText = setting(
        "", "JSONL or Parquet file of training problems: problem, answer, optional id (required)", CONTENT
    )


class HintConfig(Section):
    concise: str = setting(
        "{problem}\n\nEarlier attempts at this problem ran out of space. Think concisely and finish, and do not "
        "mention this note.\n\n"
        "Please reason step by step, and put your final answer within \\boxed{}.",
        "prompt where every rollout was truncated",
        METHOD,
    )
    concise_hint: str = setting(
        "{problem}\n\nThese final answers are known to be wrong: {answers}. Do not use any of them, and do not mention "
        "this note. Other attempts ran out of space: think concisely and finish.\n\n"
        "Please reason step by step, and put your final answer within \\boxed{}.",
        "prompt where some rollouts were truncated and others wrong",
        METHOD,
    )
    hint: str = setting(
        "{problem}\n\nThese final answers are known to be wrong: {answers}. Do not use any of them, and do not mention "
        "this note.\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
        "prompt where no rollout was truncated",
        METHOD,
    )
    separator: str = setting(", ", "text between two listed answers", METHOD)
    max_answers: int = setting(8, "most answers that a hint lists", METHOD, ge=1)
    max_answer_chars: int = setting(64, "longest answer that a hint lists, characters", METHOD, ge=1)
    leak_patterns: tuple[str, ...] = setting(
        (r"known to be wrong", r"\b(?:the|this) (?:hint|note)\b", r"(?:earlier|other|previous) attempts"),
        "regular expressions (case ignored) by which a response is said to name the hint; they see its first 16,384 "
        "characters, and one whose time grows faster than the text holds up training",
        METHOD,
    )


class PromptConfig(Section):
    template: Literal["plain", "chat", "file"] = setting(
        "plain", "plain text; the tokenizer's chat template around it; or the chat template in `file`", METHOD
    )
    file: PathText = setting(
        "", "Jinja chat template that takes the place of the tokenizer's; with template: file", CONTENT
    )
    text: str = setting(
        "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
        "the plain prompt; {problem} is replaced",
        METHOD,
    )
    system: str = setting("", "system message of a chat template; empty: none", METHOD)
    enable_thinking: bool = setting(False, "passed to the chat template", METHOD)
    budget: int = setting(
        1024, "longest plain prompt, tokens; a longer one is refused when problems load", LAYOUT, ge=1
    )
    hinted_budget: int = setting(
        2048, "longest hinted prompt, tokens; answers are dropped from the end to fit", METHOD, ge=1
    )
    hints: HintConfig = HintConfig()
    contexts: dict[str, str] = setting(
        {},
        "templates of contexts by name, in place of the package's (host/contexts.py) or beside them; replaced are "
        "{problem} {answers} {answer} {trace} {attempt} {feedback} {notes}",
        METHOD,
        CONTEXTS,
    )

    @model_validator(mode="after")
    def _template_agrees(self):
        if (self.template == "file") != bool(self.file):
            raise ValueError(
                f"prompt.template = {self.template}, prompt.file = {self.file!r}: the file goes with `file`"
            )
        if self.template == "plain" and (self.system or self.enable_thinking):
            raise ValueError("prompt.system and prompt.enable_thinking need prompt.template = chat or file, got plain")
        return self


class SampleConfig(Section):
    group_size: int = setting(8, "G: rollouts per problem and round", METHOD, ge=2)
    temperature: float = setting(1.0, "sampling temperature", METHOD, gt=0)
    top_p: float = setting(
        1.0, "nucleus mass; below 1 warns, since ratios use the untruncated distribution", METHOD, gt=0, le=1
    )
    top_k: int = setting(0, "most likely tokens kept; 0: all", METHOD, ge=0)
    response_budget: int = setting(8192, "L: longest response, tokens, stop token included", METHOD, ge=1)
    stop_strings: tuple[str, ...] = setting(
        (),
        "text that ends a response, in training, evaluation and generation; kept with the token that completes it",
        METHOD,
    )
    max_attempts: int = setting(
        10,
        "with advantage.zero_variance = resample: rounds of problems per step after which the run gives up",
        APART,
        (one_of("advantage.zero_variance", "resample"),),
        ge=1,
    )

    @model_validator(mode="after")
    def _stop_strings_are_text(self):
        if "" in self.stop_strings:
            raise ValueError("sample.stop_strings: an empty string would end every response before it begins")
        return self


class AnnealingConfig(Section):
    """Drawing hot at a response's beginning and cold at its end, while training (EAD, arXiv 2510.05251). Evaluation and
    generation draw at one temperature."""

    schedule: Literal["constant", "decay"] = setting(
        "constant",
        "temperature of the token after t others: sample.temperature; or that for t < after, then "
        "max(high - expm1(t / decay), low)",
        METHOD,
    )
    high: float = setting(1.2, "temperature that the decay starts from", METHOD, (DECAY,), gt=0)
    low: float = setting(0.1, "temperature that it ends at", METHOD, (DECAY,), gt=0)
    after: int = setting(10, "first tokens, drawn at sample.temperature", METHOD, (DECAY,), ge=0)
    decay_start: float = setting(
        500.0, "decay in the first training step, tokens (20 x 25: EAD's code)", METHOD, (DECAY,), gt=0
    )
    decay_step: float = setting(
        100.0, "tokens added to it by each step, as responses grow longer", METHOD, (DECAY,), ge=0
    )
    decay_most: float = setting(800_000.0, "largest decay, tokens", METHOD, (DECAY,), gt=0)

    @model_validator(mode="after")
    def _high_is_not_below_low(self):
        if self.high < self.low:
            raise ValueError(f"annealing.high = {self.high} is below annealing.low = {self.low}")
        return self


class OverlongConfig(Section):
    """What is done about responses near the budget. Pass levels always come from the verdicts."""

    shaping: Literal["none", "soft"] = setting(
        "none", "soft: rewards fall linearly over the last `buffer` tokens of the budget (DAPO)", METHOD
    )
    buffer: int = setting(
        4096,
        "tokens before sample.response_budget over which the reward falls",
        METHOD,
        (one_of("overlong.shaping", "soft"),),
        ge=1,
    )
    factor: float = setting(
        1.0, "what a response of the whole budget loses", METHOD, (one_of("overlong.shaping", "soft"),), gt=0
    )
    filter: bool = setting(
        False, "truncated responses count in the baseline but are not trained, nor counted in Z", METHOD
    )


class EngineConfig(Section):
    slots: int = setting(64, "rows decoded at once", LAYOUT, ge=1)
    shrink: bool = setting(
        True,
        "move few rows to a half or a quarter of the slots; false: fewer programs to compile, steps of equal cost",
        LAYOUT,
    )
    chunk: int = setting(32, "most decode steps between two looks of the host", LAYOUT, ge=1)
    overlap: int = setting(
        4, "decode steps that at least run while the host refills what the last chunk freed", LAYOUT, ge=1
    )
    verdict_lag: int | Literal["free"] = setting(
        2,
        "chunks after which a finished response's verdict is waited for, so that the layout follows from the tokens; "
        "free: read when it is there, which gives up bitwise repetition",
        LAYOUT,
    )
    compile_ahead: bool = setting(
        False, "compile every program that sampling and updates may need before the first step, with progress", LAYOUT
    )
    prefill_rows: int = setting(8, "most distinct prompts prefilled at once", LAYOUT, ge=1)
    length_bucket: int = setting(128, "prompts and the cache are padded to a multiple of this, tokens", LAYOUT, ge=1)


class CurriculumConfig(Section):
    """Which problems a step takes, and how many rollouts each gets."""

    name: named("shuffled", "knapsack", "nearest", "stages", "ladder", "fission", "exit") = setting(
        "shuffled",
        "shuffled: each problem once per epoch, with sample.group_size rollouts; the same number in all, dealt by what "
        "is likely to be learned; problems of pass rate near one half; from easy to hard; unsolved ones in easier "
        "forms; beside them, failed attempts to be put right (fission, exit)",
        METHOD,
    )
    args: PluginArguments = setting(Arguments(), "settings of the curriculum, those of its own", METHOD)
    history: int = setting(
        0, "first-round outcomes that are remembered of each problem, the newest; 0: none", METHOD, ge=0
    )


class ExploreConfig(Section):
    strategy: named(
        *("grpo", "extra", "lte", "luffy", "guided", "expo", "notes", "reflect", "solved", "restart", "scope", "forks"),
        *("rose", "hipo", "evocot", "relift"),
    ) = setting(
        "lte",
        "none-pass groups get nothing; G more rollouts of the plain prompt; of a hinted one. luffy: every group gets "
        "its problem's `trace`. The others: `lte methods`",
        METHOD,
    )
    args: PluginArguments = setting(Arguments(), "settings of the strategy, those of its own", METHOD)
    labels: named("given", "majority", "random") = setting(
        "given",
        "what counts as right: the verifier's verdicts; the answer that most rollouts of a group give (TTRL), without "
        "reference answers; a coin (a control). Evaluation is the verifier's",
        METHOD,
    )
    label_args: PluginArguments = setting(Arguments(), "settings of a label", METHOD)
    rounds: int = setting(
        1, "most further rounds per group; one more runs only while nothing is correct", METHOD, (FURTHER_ROUNDS,), ge=1
    )
    hints: Literal["real", "random"] = setting(
        "real", "random: as many values as the real list has, from the whole domain (a control)", METHOD
    )
    answer_domain: tuple[str, ...] = setting(
        (), "values that random hints are drawn from; empty: the lists of other groups of earlier steps", METHOD
    )
    least_failures: int = setting(
        1,
        "failures in a row of a problem's first rounds, those that curriculum.history remembers included, before a "
        "none-pass group gets more: two wrong ones say little",
        METHOD,
        (MIXED,),
        ge=1,
    )
    keep_failed: int = setting(
        1, "failed members that mixing leaves in a group at least; 0: replace all", METHOD, (MIXED,), ge=0
    )
    drop_leaking: bool = setting(
        False,
        "leave correct hinted responses that name the hint out of the mixing",
        METHOD,
        (one_of("explore.strategy", "lte", "restart", "guided", "notes"),),
    )


class AdvantageConfig(Section):
    baseline: Literal["mean_std", "mean", "leave_one_out"] = setting(
        "mean_std", "(R - mean)/(std + eps) with the unbiased std; R - mean (Dr.GRPO); leave-one-out (RLOO)", METHOD
    )
    eps: float = setting(1e-6, "added to the std", METHOD, ge=0)
    zero_variance: Literal["leave_out", "keep", "resample", "entropy"] = setting(
        "leave_out",
        "groups of equal rewards: not computed but counted in Z; computed; replaced by further problems until every "
        "group has right and wrong members (DAPO); given an advantage by token entropy (RL-ZVP)",
        METHOD,
    )
    credits: tuple[
        named(
            *("ace", "plausible", "amplify", "tree", "confident", "verl", "g2rl", "repexp", "cosine", "repetition"),
        ),
        ...,
    ] = setting(
        (),
        "what else changes rewards or advantages, in this order; ace: punishes wrong responses that training has made "
        "likelier; plausible: leaves out hinted ones that are too unlikely on the plain prompt; amplify: right ones "
        "count fully; tree: differences of forks' values; confident, verl, g2rl, repexp: by what the policy makes of a "
        "response; cosine, repetition: by its length and what it repeats",
        METHOD,
    )
    args: PluginArguments = setting(Arguments(), "settings of credits: {name: {setting: value}}", METHOD)
    feature_args: PluginArguments = setting(
        Arguments(), "settings of features that credits read: {name: {setting: value}}", METHOD
    )
    entropy_scale: float = setting(
        0.1,
        "alpha of the advantage by token entropy (0.1 to 0.2 in RL-ZVP)",
        METHOD,
        (one_of("advantage.zero_variance", "entropy"),),
        gt=0,
    )


class LossConfig(Section):
    ratio: Literal["token", "sequence"] = setting(
        "token", "on-policy ratio: of each token, or one per row, exp(mean of log r) (GSPO)", METHOD
    )
    on_policy_objective: named("clip", "dual_clip", "cispo", "unclipped", "reinforce") = setting(
        "clip",
        "PPO's clip; with a floor of c A where A < 0; the clipped ratio as a constant weight (CISPO); r A; A log r",
        METHOD,
    )
    clip_eps_low: float = setting(
        0.2, "on-policy ratios are clipped below 1 - this (GSPO: 3e-4); 1: no lower end", METHOD, gt=0, le=1
    )
    clip_eps_high: float = setting(
        0.2, "on-policy ratios are clipped above 1 + this (DAPO: 0.28; GSPO: 4e-4)", METHOD, gt=0
    )
    dual_clip_c: float = setting(
        3.0,
        "c of the dual clip: for A < 0 the objective is at least c A",
        METHOD,
        (one_of("loss.on_policy_objective", "dual_clip"),),
        gt=1,
    )
    old_logp: Literal["sampler", "trainer"] = setting(
        "sampler",
        "denominator of on-policy ratios: as recorded while sampling, or recomputed before the step's first update",
        METHOD,
    )
    correction: Literal["none", "truncate", "reject"] = setting(
        "none",
        "weight of on-policy tokens for w = trainer's/sampler's probability: 1; min(w, max) (TIS); w inside the range, "
        "else 0 (IcePop)",
        METHOD,
    )
    correction_max: float = setting(
        2.0, "largest weight of truncate (verl 2, TRL 3)", METHOD, (one_of("loss.correction", "truncate"),), ge=1
    )
    correction_range: tuple[float, float] = setting(
        (0.5, 5.0), "weights that reject leaves (IcePop)", METHOD, (one_of("loss.correction", "reject"),)
    )
    on_policy_args: PluginArguments = setting(Arguments(), "settings of an on-policy objective of your own", METHOD)
    hinted_objective: named("shaped", "ratio", "clipped", "uncorrected") = setting(
        "shaped",
        "hinted tokens: f(r) A with f(r) = r/(r + gamma); r A; clipped like on-policy ones; A log r, which corrects "
        "nothing (a control)",
        METHOD,
    )
    hinted_args: PluginArguments = setting(Arguments(), "settings of a hinted objective of your own", METHOD)
    gamma: float = setting(
        0.1,
        "gamma of f(r) = r/(r + gamma)",
        METHOD,
        (one_of("loss.hinted_objective", "shaped"), one_of("loss.supervised_objective", "shaped")),
        gt=0,
    )
    hinted_denominator: Literal["recorded", "sampled", "one"] = setting(
        "recorded",
        "denominator of r': the sampler's probability under the hinted prompt at sample.temperature; that of what was "
        "really drawn from, after annealing, top-p and top-k; or 1 (LUFFY)",
        METHOD,
    )
    hinted_weight: float = setting(
        1.0, "factor on the hinted part; 0: its failures keep their negative push", METHOD, ge=0
    )
    supervised_objective: named("nll", "shaped") = setting(
        "nll", "supervised tokens, which only some strategies make: a log pi; a pi/(pi + gamma)", METHOD
    )
    supervised_args: PluginArguments = setting(Arguments(), "settings of a supervised objective of your own", METHOD)
    supervised_weight: float = setting(
        1.0, "factor on the supervised part, which has a normaliser of its own", METHOD, ge=0
    )
    regularisers: tuple[named("lp_reg", "corridor"), ...] = setting(
        (),
        "further terms of the loss; lp_reg: improbable tokens that are no noise keep near the old policy where they "
        "are punished; corridor: an entropy bonus that keeps entropy near that of earlier steps (EPO)",
        METHOD,
    )
    regulariser_args: PluginArguments = setting(
        Arguments(), "settings of regularisers: {name: {setting: value}}", METHOD
    )
    normaliser: Literal["token_mean", "token_mean_by_part", "sequence_mean", "constant"] = setting(
        "token_mean",
        "Z: all response tokens of the update; each part by its own; 1/(rows x own length); 1/(rows x response budget)",
        METHOD,
    )
    entropy_coef: float = setting(
        0.0,
        "c of the entropy bonus of LTE+ (0.001 in LUFFY's script); below 0 entropy is minimised (a control)",
        METHOD,
        ge=-1,
        le=1,
    )
    entropy_schedule: Literal["fixed", "adaptive"] = setting(
        "fixed",
        "adaptive: c starts at 0 and moves by entropy_step towards entropy_target, applied only below it",
        METHOD,
    )
    entropy_target: float = setting(
        0.2,
        "entropy that the adaptive c aims at, nats per token (Skywork-OR1)",
        METHOD,
        (one_of("loss.entropy_schedule", "adaptive"),),
        gt=0,
    )
    entropy_step: float = setting(
        0.005,
        "what the adaptive c moves by in one step",
        METHOD,
        (one_of("loss.entropy_schedule", "adaptive"),),
        gt=0,
        le=1,
    )
    kl: Literal["none", "k1", "k2", "k3"] = setting(
        "none", "KL to the starting model on on-policy rows: k1 in the reward, k2 and k3 in the loss", METHOD
    )
    kl_coef: float = setting(0.001, "beta of the KL", METHOD, (one_of("loss.kl", "k1", "k2", "k3"),), gt=0)

    @model_validator(mode="after")
    def _options_agree(self):
        low, high = self.correction_range
        refused = {
            f"loss.correction = {self.correction} weighs the trainer's log-probs against the sampler's: wanted "
            f"loss.old_logp = trainer, got {self.old_logp}": self.correction != "none" and self.old_logp != "trainer",
            "loss.ratio = sequence gives a row one ratio, loss.on_policy_objective = cispo weighs each token by its "
            "own: choose one of them": self.ratio == "sequence" and self.on_policy_objective == "cispo",
            "loss.hinted_objective = clipped compares ratios with 1, with loss.hinted_denominator = one they are "
            "probabilities: choose one of them": self.hinted_objective == "clipped"
            and self.hinted_denominator == "one",
            f"loss.entropy_coef = {self.entropy_coef} with loss.entropy_schedule = adaptive, which starts at 0: leave "
            "one of them out": self.entropy_coef != 0 and self.entropy_schedule == "adaptive",
            f"loss.correction_range = [{low}, {high}]: wanted 0 <= low <= 1 <= high": not 0 <= low <= 1 <= high,
        }
        for said, is_refused in refused.items():
            if is_refused:
                raise ValueError(said)
        return self


class OptimConfig(Section):
    problems_per_update: int = setting(64, "groups per optimiser step; divides problems_per_step", METHOD, ge=1)
    lr: float = setting(1e-6, "peak learning rate", METHOD, gt=0)
    schedule: Literal["constant", "cosine", "linear"] = setting(
        "constant", "after the warm-up; counted in updates", METHOD
    )
    warmup_updates: int = setting(0, "updates over which the rate rises linearly from 0", METHOD, ge=0)
    final_lr_frac: float = setting(
        0.0,
        "share of the peak that cosine and linear end at",
        METHOD,
        (one_of("optim.schedule", "cosine", "linear"),),
        ge=0,
        le=1,
    )
    b1: float = setting(0.9, "AdamW beta 1", METHOD, ge=0, lt=1)
    b2: float = setting(0.999, "AdamW beta 2", METHOD, ge=0, lt=1)
    eps: float = setting(1e-8, "AdamW epsilon", METHOD, gt=0)
    weight_decay: float = setting(0.01, "AdamW decoupled weight decay", METHOD, ge=0)
    moments: Literal["device", "host"] = setting(
        "device", "where AdamW's moments lie between updates; host: pinned memory beside each device", LAYOUT
    )
    clip_norm: float = setting(1.0, "gradients are scaled down to this global norm", METHOD, gt=0)
    microbatch_tokens: int = setting(
        16384,
        "most tokens, padding included, of one forward and backward; at least one row per batch shard",
        LAYOUT,
        ge=1,
    )
    length_bucket: int = setting(256, "rows are padded to a multiple of this, tokens", LAYOUT, ge=1)
    max_nonfinite: int = setting(5, "non-finite updates in a row that stop the run", APART, ge=1)

    def rows_per_shard(self, n_columns: int, shards: int) -> int:
        """The largest power of two of rows that the token budget allows each batch shard, one at least."""
        return 1 << (max(1, self.microbatch_tokens // n_columns // shards).bit_length() - 1)


class MeshConfig(Section):
    data: int = setting(1, "devices over which batches are split and weights are copied", LAYOUT, ge=1)
    fsdp: int = setting(-1, "devices over which batches and weights are split; -1: all that are left", LAYOUT, ge=-1)
    tensor: int = setting(1, "devices over which heads, feed-forward and vocabulary are split", LAYOUT, ge=1)


class ConventionsConfig(Section):
    """What counts as equal where mathematics alone does not say."""

    relative_tolerance: float = setting(
        1e-4,
        "for a gold with a decimal point or an exponent; an exact gold is matched exactly, 17 is not 17.001",
        METHOD,
        ge=0,
        lt=1,
    )
    decimal_digits: int = setting(
        10,
        "an exact gold without a finite decimal form accepts one of this many right digits or more; 0: never",
        METHOD,
        ge=0,
    )
    percent_is_decimal: bool = setting(True, "50% matches 0.5, both ways", METHOD)
    degrees_optional: bool = setting(True, "90 matches 90 degrees, both ways", METHOD)
    units_optional: bool = setting(True, "5 matches 5 cm, both ways; 5 cm never matches 5 m", METHOD)
    list_is_unordered: bool = setting(True, "1, -2 matches -2, 1; a tuple in brackets is always ordered", METHOD)
    equation_gives_value: bool = setting(True, "x = 5 matches 5, both ways; x + y = 5 never does", METHOD)
    choice_with_text: bool = setting(True, "gold B accepts B) with the text of B", METHOD)
    join_boxes: bool = setting(
        True, "of several boxes the last counts, and all of them where the gold is a list", METHOD
    )


class VerifyConfig(Section):
    workers: int = setting(2, "worker processes for answers that the fast path cannot decide", APART, ge=1)
    timeout_s: float = setting(2.0, "seconds one comparison, or one call of a custom reward, may take", APART, gt=0)
    memory_mb: int = setting(1024, "address space one worker may take, MiB; not enforced on macOS", APART, ge=64)
    batch_timeout_s: float = setting(
        60.0, "seconds a batch of verdicts may take; what is left then has none", APART, gt=0
    )
    equality_timeout_s: float = setting(
        10.0,
        "seconds in which the wrong answers of one group are told apart; undecided ones stay distinct",
        APART,
        gt=0,
    )
    conventions: ConventionsConfig = ConventionsConfig()


class BenchmarkConfig(Section):
    path: PathText = setting(..., "JSONL or Parquet file of problems", APART)
    name: str = setting("", "name in tables; empty: the file's stem", APART)
    samples: int = setting(0, "responses per problem; 0: eval.samples", APART, ge=0)
    k: tuple[int, ...] = setting((), "Pass@k for these k; empty: eval.k", APART)
    temperature: float | None = setting(None, "sampling temperature; null: eval.temperature", APART, gt=0)
    top_p: float | None = setting(None, "nucleus mass; null: eval.top_p", APART, gt=0, le=1)
    response_budget: int = setting(0, "longest response, tokens; 0: eval.response_budget", APART, ge=0)


class EvalConfig(Section):
    """How benchmarks are evaluated, in training and by `lte eval`; a suite file holds this section by itself."""

    benchmarks: tuple[BenchmarkConfig, ...] = setting(
        (), "the suite: problem files, each with what it has of its own", APART
    )
    every: int = setting(0, "steps between evaluations, the last at the end; 0: never", APART, ge=0)
    at_start: bool = setting(True, "evaluate before step 0, too", APART)
    limit: int = setting(0, "problems per file, from the top; 0: all", APART, ge=0)
    samples: int = setting(4, "responses per problem", APART, ge=1)
    k: tuple[int, ...] = setting((4,), "Pass@k for these k, at most samples", APART)
    temperature: float = setting(0.6, "sampling temperature", APART, gt=0)
    top_p: float = setting(1.0, "nucleus mass", APART, gt=0, le=1)
    top_k: int = setting(0, "most likely tokens kept; 0: all", APART, ge=0)
    response_budget: int = setting(0, "longest response, tokens; 0: as in training", APART, ge=0)
    keep_best: str = setting(
        "",
        "figure by which RUN/best keeps the best model: pass_at_1 (mean of benchmarks) or NAME/pass_at_1; empty: off",
        APART,
    )

    @model_validator(mode="after")
    def _k_within_samples(self):
        if self.keep_best and not self.every:
            raise ValueError(f"eval.keep_best = {self.keep_best} needs evaluations: wanted eval.every above 0")
        for entry in (self, *self.benchmarks):
            samples, ks = entry.samples or self.samples, entry.k or self.k
            if any(k < 1 or k > samples for k in ks):
                raise ValueError(f"eval: k = {list(ks)}, but each k must lie between 1 and the {samples} samples")
        return self


class CheckpointConfig(Section):
    every: int = setting(20, "steps between checkpoints; one more is written at the end", APART, ge=1)
    keep: int = setting(2, "newest checkpoints kept", APART, ge=1)
    on_error: Literal["stop", "continue"] = setting(
        "stop", "where a checkpoint cannot be written (a full disk); the older ones stay either way", APART
    )


class PreemptConfig(Section):
    grace_s: float = setting(
        25.0, "seconds from SIGTERM to the end of the process; Kubernetes kills after 30 by default", APART, gt=0
    )


class LogConfig(Section):
    rollouts: bool = setting(True, "write every rollout of every step to rollouts/", APART)
    timeline: tuple[int, ...] = setting((), "steps whose timeline is written to timeline/, for Perfetto", APART)
    every: int = setting(1, "steps between lines on the terminal", APART, ge=1)
    samples: int = setting(0, "sample responses shown in a table with each of these lines; 0: none", APART, ge=0)
    tensorboard: bool = setting(False, "write metrics to tensorboard/ of the run, too (extra `tensorboard`)", APART)
    wandb: str | None = setting(None, "send metrics to this Weights & Biases project, too (extra `wandb`)", APART)
    mismatch_alarm: float = setting(
        0.02, "warns where mean exp|trainer logp - sampler logp| - 1 passes this (NeMo-RL: 0.01 to 0.02)", APART, gt=0
    )


class WarmupConfig(Section):
    """The supervised run that makes the built-in base model; real models need none."""

    steps: int = setting(1700, "optimiser steps", APART, ge=1)
    batch: int = setting(64, "examples per step", APART, ge=1)
    lr: float = setting(4e-3, "peak learning rate, cosine to 5%", APART, gt=0)
    b2: float = setting(0.98, "AdamW beta 2", APART, ge=0, lt=1)
    warmup_steps: int = setting(50, "steps over which the rate rises", APART, ge=0)
    hinted_frac: float = setting(0.65, "share of examples with a hint", APART, ge=0, le=1)
    concise_frac: float = setting(0.35, "share of hinted examples that say `concise`", APART, ge=0, le=1)
    random_list_frac: float = setting(0.5, "share of hint lists that are random numbers", APART, ge=0, le=1)
    d_model: int = setting(64, "D of the tiny model", APART, ge=1)
    d_ff: int = setting(192, "F", APART, ge=1)
    n_layers: int = setting(3, "L", APART, ge=1)
    n_heads: int = setting(4, "N", APART, ge=1)
    n_kv_heads: int = setting(2, "K", APART, ge=1)
    d_head: int = setting(16, "H", APART, ge=2)


class StudyConfig(Section):
    """Which runs `lte study` compares: each arm is the same config with overrides, on every seed, from one base."""

    arms: dict[str, tuple[str, ...]] = setting({}, "name of an arm -> its overrides", APART)
    references: tuple[str, ...] = setting(
        ("grpo", "extra"), "arms that every other one is compared with, those that the study has", APART
    )
    seeds: tuple[int, ...] = setting((0, 1, 2), "RL seeds", APART)
    task_seed: int = setting(0, "seed of the built-in task: facts, beliefs and splits", APART)
    bases: tuple[int | PathText, ...] = setting(
        (),
        "task seeds, each with a base of its own, or models; empty: one base, model.path or that of task_seed",
        APART,
    )
    parallel: int = setting(2, "runs at once", APART, ge=1)


class Config(Section):
    """One experiment."""

    seed: int = setting(0, "root of every random choice", METHOD, ge=0, lt=2**32)
    steps: int = setting(500, "rounds of sampling", APART, ge=1)
    problems_per_step: int = setting(128, "problems sampled per step", METHOD, ge=1)
    reward: str = setting(
        "", "custom reward, package.module:function of (problem, responses); empty: the verifier's verdict", METHOD
    )
    reward_args: PluginArguments = setting(
        Arguments(), "settings of a custom reward, by its own model, the function's attribute `Args`", METHOD
    )
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    prompt: PromptConfig = PromptConfig()
    sample: SampleConfig = SampleConfig()
    annealing: AnnealingConfig = AnnealingConfig()
    overlong: OverlongConfig = OverlongConfig()
    engine: EngineConfig = EngineConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    explore: ExploreConfig = ExploreConfig()
    advantage: AdvantageConfig = AdvantageConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    verify: VerifyConfig = VerifyConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    preempt: PreemptConfig = PreemptConfig()
    log: LogConfig = LogConfig()
    warmup: WarmupConfig = WarmupConfig()
    study: StudyConfig = StudyConfig()

    @model_validator(mode="after")
    def _sizes_agree(self):
        if self.problems_per_step % self.optim.problems_per_update:
            raise ValueError(
                f"problems_per_step = {self.problems_per_step} is not a multiple of "
                f"optim.problems_per_update = {self.optim.problems_per_update}"
            )
        if self.reward_args and not self.reward:
            raise ValueError(
                f"reward_args = {dict(self.reward_args)} without a reward of your own that would read them"
            )
        if self.explore.keep_failed >= self.sample.group_size:
            raise ValueError(
                f"explore.keep_failed = {self.explore.keep_failed} leaves nothing to replace in a group of "
                f"sample.group_size = {self.sample.group_size}"
            )
        if self.overlong.shaping != "none" and self.overlong.buffer >= self.sample.response_budget:
            raise ValueError(
                f"overlong.buffer = {self.overlong.buffer} leaves no response without a penalty: wanted less than "
                f"sample.response_budget = {self.sample.response_budget}"
            )
        return self


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads one YAML file and applies `section.key=value` overrides. Raises ConfigError."""
    return build(read_yaml(path), overrides, where=str(path))


def load_suite(path: str | Path) -> dict:
    """The whole section `eval` that a suite file stands for, defaults filled in. Raises ConfigError."""
    suite = build({"eval": read_yaml(path)}, where=str(path)).eval
    if not suite.benchmarks:
        raise ConfigError(f"{path}: a suite lists benchmarks, each with the path of a problem file; got none")
    return suite.model_dump()


def read_yaml(path: str | Path) -> dict:
    try:
        place = Path(path) if isinstance(path, str) else path  # a run's own config may lie in a bucket
        values = yaml.safe_load(place.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a config is a mapping of sections, got {type(values).__name__}")
    return values


def build(values: dict, overrides: Sequence[str] = (), where: str = "config") -> Config:
    """Makes a Config from nested values and overrides. Raises ConfigError that names `where` and the key."""
    for override in overrides:
        values = _with_override(values, override)
    _refuse_unknown(values, Config, where, prefix="")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(map(_message, error.errors()))) from None


def fields(section: Section | None = None, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted name, value, meaning) of every setting; of the defaults where no config is given."""
    section = Config() if section is None else section
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, info.description or ""


def unread(config: Config) -> list[str]:
    """A line for each setting that is not at its default and that nothing reads, since another setting leaves it out.
    Code of the user's own may read any."""
    values, defaults = ({name: value for name, value, _ in fields(each)} for each in (config, None))
    found = []
    for name, conditions in _read_with():
        wanted = [pair for condition in conditions for pair in condition.items()]
        is_read = any(values[other] in choices or ":" in values[other] for other, choices in wanted)
        if values[name] != defaults[name] and not is_read:
            said = [f"{other} = {' or '.join(choices)} (it is {values[other]})" for other, choices in wanted]
            found.append(f"{name} = {values[name]} is read only with {' or '.join(said)}")
    return found


def refuse_unread(config: Config) -> None:
    """Raises ConfigError for what somebody has set and nothing would read."""
    if found := unread(config):
        raise ConfigError(f"{'; '.join(found)}. Leave out what has no effect, or set what it belongs to")


def _read_with(section: type[Section] | None = None, prefix: str = "") -> Iterator[tuple[str, tuple[dict, ...]]]:
    """(dotted name, conditions) of every setting that has some."""
    for name, info in (section or Config).model_fields.items():
        if isinstance(info.default, Section):
            yield from _read_with(type(info.default), f"{prefix}{name}.")
        elif conditions := (info.json_schema_extra or {}).get("read_with"):
            yield f"{prefix}{name}", conditions


def kinds(section: type[Section] | None = None, prefix: str = "") -> Iterator[tuple[str, Kind]]:
    """(dotted name, kind) of every setting."""
    section = section or Config
    for name, info in section.model_fields.items():
        if isinstance(info.default, Section):
            yield from kinds(type(info.default), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info.json_schema_extra["kind"]


def dump(config: Config) -> str:
    """The resolved config as YAML; `build(yaml.safe_load(dump(c))) == c`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _with_override(values: dict, override: str) -> dict:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r}: wanted section.key=value")
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        raise ConfigError(f"override {override!r}: the value is not YAML") from None
    head, *rest = key.split(".")
    if not rest:
        return {**values, head: value}
    inner = values.get(head) or {}
    if not isinstance(inner, dict):
        raise ConfigError(f"override {override!r}: {head} is a value, not a section")
    return {**values, head: _with_override(inner, f"{'.'.join(rest)}={text}")}


def _refuse_unknown(values: dict, section: type[Section], where: str, prefix: str) -> None:
    for key, value in values.items():
        if key not in section.model_fields:
            known = [name for name, _, _ in fields()]
            here = [f"{prefix}{name}" for name in section.model_fields]
            near = difflib.get_close_matches(f"{prefix}{key}", here, 1) or difflib.get_close_matches(
                f"{prefix}{key}", known, 1, cutoff=0.4
            )
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{where}: unknown key {prefix}{key}{hint}")
        annotation = section.model_fields[key].annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            if not isinstance(value, dict):
                raise ConfigError(f"{where}: {prefix}{key} is a section, got {value!r}")
            _refuse_unknown(value, annotation, where, f"{prefix}{key}.")


def _message(error: dict) -> str:
    """One line for a pydantic error; our own checks across fields name their fields themselves."""
    if error["type"] == "value_error":
        said = error["msg"].removeprefix("Value error, ")
        return f"{'.'.join(map(str, error['loc']))} = {error['input']}: {said}" if said.endswith(OF_YOUR_OWN) else said
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}, got {error['input']!r}"
