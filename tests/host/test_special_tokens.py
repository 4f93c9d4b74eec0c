"""Special tokens in prompts and traces: what the user writes is read as transformers reads it, what fills it is text.

The tokenizers are laid out as published ones are: byte-level BPE with added tokens, BPE and Unigram with a blank mark,
as converted from SentencePiece, and SentencePiece's own file.
"""

import json
import shutil

import pytest
from byte_level import HOSTILE, TEMPLATE, TEXT, write_hf, write_sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from lte_jax.config import HintConfig, PromptConfig
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.tokenizers.special_tokens import Part
from lte_jax.host.tokenizers.tokenizer import TokenizerError, open_tokenizer
from lte_jax.records import FailureMode, Problem

CHATML = "<|im_start|>user\n{problem} ok<|im_end|>\n<|im_start|>assistant\n<think>\n"
MARKED = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")


def write_marked(folder, kind):
    """As converted from SentencePiece: special tokens are in the model's own vocabulary, blanks are a mark."""
    settings = {"vocab_size": 150, "special_tokens": list(MARKED), "show_progress": False}
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        trainer = trainers.UnigramTrainer(unk_token="<unk>", **settings)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        trainer = trainers.BpeTrainer(**settings)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator([*TEXT * 5, "</|_>usrhimknd"], trainer)
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": TEMPLATE}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("tokenizers")
    return {
        "byte-level": write_hf(made / "byte-level", pad=None),
        "bpe": write_marked(made / "bpe", "bpe"),
        "unigram": write_marked(made / "unigram", "unigram"),
    }


@pytest.fixture(scope="module", params=["byte-level", "bpe", "unigram"])
def both(folders, request):
    """Ours, and transformers' reading of what `save` wrote, which is what an export holds."""
    ours, copy = open_tokenizer(folders[request.param]), folders[request.param].with_name(f"{request.param}-saved")
    ours.save(copy)
    return ours, AutoTokenizer.from_pretrained(copy)


def test_the_users_own_text_is_read_as_transformers_reads_it(both):
    ours, reference = both
    problem = Problem("p", "Let x be 7.", "7")
    prompt = PromptBuilder(PromptConfig(text=CHATML), ours).plain(problem)
    assert prompt.text == CHATML.replace("{problem}", problem.text)
    assert list(prompt.ids) == reference(prompt.text).input_ids  # bos included, where the tokenizer has one
    assert {"<|im_start|>", "<|im_end|>", "<think>"} <= set(reference.convert_ids_to_tokens(prompt.ids))


def test_hints_are_read_alike_and_answers_stay_text(both):
    ours, reference = both
    hints = {name: CHATML for name in ("concise",)} | {
        name: CHATML.replace(" ok", " not {answers}") for name in ("concise_hint", "hint")
    }
    builder = PromptBuilder(PromptConfig(hints=HintConfig(**hints, separator="<|im_end|>")), ours)
    problem = Problem("p", "Let x be 7.", "7")
    for prompt in (
        builder.concise(problem),
        builder.hinted(problem, FailureMode.NONE_TRUNCATED, ["7", "8"])[0],
    ):
        assert list(prompt.ids) == reference(prompt.text).input_ids
    hostile, listed = builder.hinted(problem, FailureMode.NONE_TRUNCATED, ["<|im_end|>", "</think>"])
    assert listed == ("<|im_end|>", "</think>")
    kept = [token for token in reference.convert_ids_to_tokens(hostile.ids) if token in MARKED[3:]]
    assert kept == ["<|im_start|>", *["<|im_end|>"] * 2, "<|im_start|>", "<think>"]  # between answers and after them


@pytest.mark.parametrize("text", [*HOSTILE, "</s>x<s> <unk>", "漢字<|im_end|>漢字"])
def test_a_problem_never_writes_a_special_token(both, text):
    """Read as by a tokenizer that has no special tokens but the template's; all else merges as one string does."""
    ours, reference = both
    builder = PromptBuilder(PromptConfig(text=CHATML), ours)
    prompt, plain = builder.plain(Problem("p", text, "7")), builder.plain(Problem("p", "hello", "7"))

    def special(ids):
        return [i for i in ids if i in ours.special_ids and i != reference.unk_token_id]

    assert special(prompt.ids) == special(plain.ids)
    chat, harmless = ours.chat([Part(text, False)], "<think>"), ours.chat([Part("hello", False)], "<think>")
    assert special(chat.ids) == special(harmless.ids)
    assert chat.text == reference.apply_chat_template(
        [{"role": "system", "content": "<think>"}, {"role": "user", "content": text}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )


@pytest.mark.parametrize("text", [text for text in HOSTILE if "think" not in text])
def test_what_stays_text_is_transformers_split_special_tokens(folders, text):
    """Where all that is spelled is special; `split_special_tokens` leaves other added tokens whole."""
    for name in ("byte-level", "bpe"):
        ours = open_tokenizer(folders[name])
        split = AutoTokenizer.from_pretrained(folders[name], split_special_tokens=True)
        assert ours.encode(f"before {text} after") == split(f"before {text} after", add_special_tokens=False).input_ids


def test_a_spelling_across_a_joint_stays_text_and_text_merges_across_it(both):
    ours, reference = both
    for parts in (("<|im_", "end|>"), ("<", "think", ">")):
        mixed = [Part(text, place % 2 == 0) for place, text in enumerate(parts)]
        assert ours.special_ids.isdisjoint(i for i in ours.read(mixed) if i != reference.unk_token_id)
        whole = reference("".join(parts), add_special_tokens=False).input_ids
        assert ours.read([Part(text, True) for text in parts]) == whole
    halves = [Part("Let x be a real num", True), Part("ber such that", False)]
    assert ours.read(halves) == reference("Let x be a real number such that", add_special_tokens=False).input_ids


def test_a_chat_is_transformers_own_with_special_tokens_in_system_and_template(both):
    ours, reference = both
    user = [Part("<think>Let", True), Part(" x be 7.", False)]
    prompt = ours.chat(user, "No <|im_end|> here.")
    messages = [{"role": "system", "content": "No <|im_end|> here."}, {"role": "user", "content": "<think>Let x be 7."}]
    options = {"add_generation_prompt": True, "enable_thinking": False}
    assert list(prompt.ids) == reference.apply_chat_template(messages, tokenize=True, return_dict=False, **options)


def test_a_template_that_strips_gives_what_it_gives_to_transformers(tmp_path):
    template = TEMPLATE.replace("m.content", "m.content | trim")
    ours = open_tokenizer(write_hf(tmp_path / "hf", template=template))
    clean, hostile = ours.chat([Part("  x = 7 ", False)]), ours.chat([Part("  x<|im_end|>7 ", False)])
    assert "user\nx = 7<|im_end|>" in clean.text and "user\nx<|im_end|>7<|im_end|>" in hostile.text
    assert ours._hf.decode(hostile.ids) == hostile.text  # text and tokens agree


def test_a_trace_is_read_as_transformers_reads_it_and_ended_once(both):
    ours, reference = both
    builder = PromptBuilder(PromptConfig(), ours)
    chat = PromptBuilder(PromptConfig(template="chat"), ours)
    trace = "<think>\nx + 3\n</think>\n\nThe answer is 7."
    ids = reference(trace, add_special_tokens=False).input_ids
    assert reference.convert_tokens_to_ids("<think>") in ids
    assert builder.response(trace) == (*ids, ours.stop_ids[0]) and chat.response(trace) == (*ids, ours.stop_ids[-1])
    end = reference.convert_tokens_to_ids("<|im_end|>")
    assert builder.response(trace + "<|im_end|>") == (*ids, end)
    with pytest.raises(ValueError, match=r"token \d+ of \d+ is '<\|im_end\|>', which ends a response: wanted it last"):
        builder.response("7<|im_end|>" + trace)


def test_a_template_that_begins_with_bos_gets_no_second(folders):
    ours = open_tokenizer(folders["bpe"])
    prompt = PromptBuilder(PromptConfig(text="<s>{problem}"), ours).plain(Problem("p", "<s>7", "7"))
    assert ours.bos_ids == (1,) and prompt.ids.count(1) == 1 and prompt.ids[0] == 1


@pytest.fixture(scope="module")
def sentencepieces(tmp_path_factory):
    """A SentencePiece model as Llama's, alone; and transformers' reading of it."""
    folder = tmp_path_factory.mktemp("sentencepieces")
    settings = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}
    write_sentencepiece(folder / "ours", user_defined_symbols=["<think>"], vocab_size=350, **settings)
    shutil.copytree(folder / "ours", folder / "llama")
    names = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "llama/tokenizer_config.json").write_text(json.dumps({**names, "unk_token": "<unk>"}))
    return open_tokenizer(folder / "ours"), AutoTokenizer.from_pretrained(folder / "llama")


@pytest.mark.parametrize(
    "text", ["the number x is 7", "<think>the number</s> x", "a  b\n</s>", "<s>ü</s><think><think> is "]
)
def test_trusted_text_of_a_sentencepiece_model_is_read_as_transformers_reads_it(sentencepieces, text):
    ours, reference = sentencepieces
    assert ours.read([Part(text, True)]) == reference(text, add_special_tokens=False).input_ids
    prompt = PromptBuilder(PromptConfig(text=f"{text}{{problem}}"), ours).plain(Problem("p", " is 7", "7"))
    bos = [] if text.startswith("<s>") else [1]
    assert list(prompt.ids) == bos + reference(f"{text} is 7", add_special_tokens=False).input_ids


def test_untrusted_control_and_user_defined_pieces_are_text(sentencepieces):
    """The library itself matches a user-defined piece in any text, and a control piece in none."""
    ours, _ = sentencepieces
    think = ours._model.piece_to_id("<think>")
    ids = ours.read([Part("the number</s><think> x", True), Part("</s><think> is 7", False)])
    assert ids.count(ours.stop_ids[0]) == ids.count(think) == 1
    assert ours.decode(ids) == "the number<think> x</s><think> is 7"
    assert ours.special_ids.isdisjoint(ours.encode("<think></s><s>"))
    assert ours.decode(ours.encode("<think>")) == "<think>"


def test_several_chat_templates_without_a_default_are_one_line(tmp_path):
    folder = write_hf(tmp_path / "hf", template=None)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    several = [{"name": name, "template": TEMPLATE} for name in ("tool_use", "rag")]
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": several}))
    ours = open_tokenizer(folder)
    assert PromptBuilder(PromptConfig(), ours).plain(Problem("p", "7", "7")).ids  # a plain prompt needs none
    with pytest.raises(ValueError, match=r"templates \(rag, tool_use\) and none is the default: wanted") as e:
        PromptBuilder(PromptConfig(template="chat"), ours)
    assert "\n" not in str(e.value)
    chosen = open_tokenizer(folder, TEMPLATE)
    assert not chosen.no_chat and len(chosen.stop_ids) == 2
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "chat_template": [*several, {"name": "default", "template": TEMPLATE}]})
    )
    assert open_tokenizer(folder).chat([Part("7", False)]) == chosen.chat([Part("7", False)])
    with pytest.raises(TokenizerError, match="several chat templates"):
        ours.chat([Part("7", False)])


def test_a_chat_template_that_lies_in_a_file_of_its_own_beside_others(tmp_path, folders):
    folder = write_hf(tmp_path / "hf")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates/tool_use.jinja").write_text("tools")
    ours, plain = open_tokenizer(folder), open_tokenizer(folders["byte-level"])
    assert ours.chat([Part("7", False)]) == plain.chat([Part("7", False)])
    ours.save(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert saved.chat_template == {"default": TEMPLATE, "tool_use": "tools"}


def test_the_hostile_text_cannot_spell_the_private_names(folders):
    """They are drawn by each process; private use characters in a text are text."""
    ours = open_tokenizer(folders["byte-level"])
    text = "\ue000\ue001\ue0023\ue003<|im_end|>"
    assert ours.decode(ours.encode(text)) == text and ours.special_ids.isdisjoint(ours.encode(text))
