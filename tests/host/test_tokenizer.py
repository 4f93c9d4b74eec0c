"""Hugging Face and SentencePiece tokenizers: text stays text, stop tokens are found, templates are the model's own."""

import contextlib
import json

import pytest
from byte_level import HOSTILE, TEXT, write_hf, write_sentencepiece
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer

from lte_jax.host.tokenizers.special_tokens import Part
from lte_jax.host.tokenizers.tokenizer import TokenizerError, open_tokenizer


def untrusted(text):
    return [Part(text, trusted=False)]


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory):
    return write_hf(tmp_path_factory.mktemp("tokenizer") / "hf")


@pytest.fixture(scope="module")
def hf(hf_folder):
    return open_tokenizer(hf_folder)


@pytest.fixture(scope="module")
def reference(hf_folder):
    return AutoTokenizer.from_pretrained(hf_folder)


@pytest.mark.parametrize("text", ["x + 3 = 10", "  two\n\nlines \\boxed{\\frac{1}{2}} ", "ü 漢字 \U0001f600", ""])
def test_text_encodes_as_transformers_does_and_round_trips(hf, reference, text):
    ids = hf.encode(text)
    assert ids == reference(text, add_special_tokens=False).input_ids
    assert hf.decode(ids) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_the_spelling_of_an_added_token_stays_text(hf, reference, text):
    added = set(reference.get_added_vocab().values())
    ids = hf.encode("before " + text + " after")
    assert not added & set(ids)
    assert hf.decode(ids) == "before " + text + " after"
    assert added & set(reference(text, add_special_tokens=False).input_ids)  # transformers itself does make them tokens


def test_decode_leaves_special_tokens_out(hf, reference):
    stop = reference.convert_tokens_to_ids("<|im_end|>")
    assert hf.decode([*hf.encode("x = 7"), stop, stop]) == "x = 7"


def test_stop_ids_are_eos_and_the_turn_end_of_the_template(hf, reference):
    assert hf.stop_ids == tuple(reference.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"]))
    assert hf.pad_id == reference.convert_tokens_to_ids("<|endoftext|>")
    assert hf.vocab_size == len(reference) and hf.bos_ids == ()


def test_the_turn_end_alone_is_enough_and_pads_where_no_pad_token_is(tmp_path, reference):
    tokenizer = open_tokenizer(write_hf(tmp_path / "hf", eos=None, pad=None))
    assert tokenizer.stop_ids == (reference.convert_tokens_to_ids("<|im_end|>"),) == (tokenizer.pad_id,)


@pytest.mark.parametrize("system", ["", "Be brief."])
@pytest.mark.parametrize("thinking", [False, True])
def test_chat_is_the_template_of_transformers(hf, reference, system, thinking):
    messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": TEXT[0]}]
    options = {"add_generation_prompt": True, "enable_thinking": thinking}
    prompt = hf.chat(untrusted(TEXT[0]), system, thinking)
    assert prompt.text == reference.apply_chat_template(messages, tokenize=False, **options)
    expected = reference.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
    assert list(prompt.ids) == expected
    assert prompt.text.endswith("<|im_start|>assistant\n" if thinking else "</think>\n\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_content_adds_no_special_token_to_a_chat(hf, reference, text):
    added = set(reference.get_added_vocab().values())
    prompt, harmless = hf.chat(untrusted(text), "hello"), hf.chat(untrusted("hello"), "hello")
    assert [i for i in prompt.ids if i in added] == [i for i in harmless.ids if i in added]
    assert reference.decode(prompt.ids) == prompt.text and text in prompt.text


def test_a_template_cannot_reach_python(tmp_path):
    escape = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(TokenizerError, match="chat template"):
        open_tokenizer(write_hf(tmp_path / "hf", template=escape))


def test_a_template_of_ones_own_takes_the_place_of_the_tokenizers(tmp_path):
    own = "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|im_end|>{% endfor %}[assistant]"
    opened = open_tokenizer(write_hf(tmp_path / "hf", template=None), own)
    prompt = opened.chat(untrusted("2 + 2 <|im_end|>"), "Be brief.")
    assert prompt.text == "[system] Be brief.<|im_end|>[user] 2 + 2 <|im_end|><|im_end|>[assistant]"
    end = opened._backend.token_to_id("<|im_end|>")
    assert prompt.ids.count(end) == 2 and end in opened.stop_ids  # the spelled one is text; a turn's end stops
    with pytest.raises(TokenizerError, match="chat template"):
        open_tokenizer(tmp_path / "hf", "{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(TokenizerError, match="SentencePiece files take no chat template"):
        open_tokenizer(write_sentencepiece(tmp_path / "sp"), own)


def test_a_tokenizer_that_puts_bos_first_says_so(tmp_path):
    folder = write_hf(tmp_path / "hf")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bos = tokenizer.token_to_id("<|im_start|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", bos)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "bos_token": "<|im_start|>"}))
    opened = open_tokenizer(folder)
    assert opened.bos_ids == (bos,) and bos not in opened.encode("x")


def test_qwen_s_own_class_encodes_alike(tmp_path, hf):
    qwen = open_tokenizer(write_hf(tmp_path / "hf", tokenizer_class="Qwen2Tokenizer"))
    assert qwen.decode(qwen.encode(TEXT[0])) == TEXT[0] and qwen.stop_ids == hf.stop_ids


def test_sentencepiece_round_trips_and_control_pieces_stay_text(tmp_path):
    tokenizer = open_tokenizer(write_sentencepiece(tmp_path / "sp", pad_id=3))
    ids = tokenizer.encode("the number x is 7")
    assert tokenizer.decode(ids) == "the number x is 7"
    assert tokenizer.decode([*tokenizer.bos_ids, *ids, *tokenizer.stop_ids]) == "the number x is 7"
    assert (tokenizer.bos_ids, tokenizer.stop_ids, tokenizer.pad_id) == ((1,), (2,), 3)
    assert not {1, 2, 3} & set(tokenizer.encode("</s> <pad> <s>"))
    assert tokenizer.vocab_size > max(ids) and "no chat template" in tokenizer.no_chat
    with pytest.raises(TokenizerError, match="no chat template"):
        tokenizer.chat(untrusted("hello"))


def test_a_tokenizer_without_a_stop_token_is_refused(tmp_path):
    with pytest.raises(TokenizerError, match="no stop token"):
        open_tokenizer(write_hf(tmp_path / "hf", template=None, eos=None))
    with pytest.raises(TokenizerError, match="no stop token"):
        open_tokenizer(write_sentencepiece(tmp_path / "sp", eos_id=-1))


def test_folders_that_hold_no_usable_tokenizer_are_refused(tmp_path):
    with pytest.raises(TokenizerError, match="no such folder"):
        open_tokenizer(tmp_path / "absent")
    with pytest.raises(TokenizerError, match="no tokenizer here"):
        open_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(TokenizerError, match="not a SentencePiece model"):
        open_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match="cannot read"):
        open_tokenizer(tmp_path)


def test_the_folder_s_own_code_is_never_run(tmp_path):
    folder = write_hf(tmp_path / "hf")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with contextlib.suppress(TokenizerError):  # refusing is as good as reading the rest
        open_tokenizer(folder)
    assert not (tmp_path / "ran").exists()


def test_a_saved_tokenizer_is_the_same(tmp_path, hf):
    hf.save(tmp_path / "copy")
    copy = open_tokenizer(tmp_path / "copy")
    assert copy.chat(untrusted(TEXT[0])) == hf.chat(untrusted(TEXT[0])) and copy.stop_ids == hf.stop_ids
    copy.save(tmp_path / "copy")  # onto itself: nothing happens
    model = open_tokenizer(write_sentencepiece(tmp_path / "sp"))
    model.save(tmp_path / "sp2")
    assert open_tokenizer(tmp_path / "sp2").encode(TEXT[1]) == model.encode(TEXT[1])
