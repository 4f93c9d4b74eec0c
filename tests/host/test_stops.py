"""Stop strings: the earliest end, whole tokens, the same however the tokens come in chunks."""

import random

import pytest
from byte_level import write_hf

from lte_jax.host.tokenizers.stops import StopStrings
from lte_jax.host.tokenizers.tokenizer import open_tokenizer


def spell(ids) -> str:
    """Tokens of one to three letters, and one that spells nothing."""
    return "".join(["", "a", "b", "ab", "ba", "c\n", "\n\n", "cab"][i] for i in ids)


def fed(stops: StopStrings, tokens: list[int], sizes) -> int | None:
    """What `cut` says first, where the tokens come in chunks of these sizes."""
    seen = 0
    while seen < len(tokens):
        end = min(len(tokens), seen + next(sizes))
        found = stops.cut(tokens[:end], seen)
        if found is not None:
            return found
        seen = end
    return None


@pytest.mark.parametrize("seed", range(20))
def test_the_end_is_the_earliest_and_does_not_depend_on_the_chunks(seed):
    rng = random.Random(seed)
    tokens = [rng.choice([0, 0, 0, 1, 2, 3, 4, 5, 6, 7]) for _ in range(200)]
    strings = [rng.choice(["\n\ncab", "abbac", "c\n\n\n", "aabb", "bacabba"]) for _ in range(2)]
    ends = (end for end in range(1, 201) if any(s in spell(tokens[:end]) for s in strings))
    expected = next(ends, None)
    for most in (1, 3, 40, 200):
        stops = StopStrings(strings, spell)
        assert fed(stops, tokens, iter(lambda: rng.randint(1, most), None)) == expected


def test_a_string_is_found_across_many_tokens_that_spell_nothing():
    tokens = [1, *[0] * 90, 2]  # a, nothing, b
    assert fed(StopStrings(["ab"], spell), tokens, iter(lambda: 1, None)) == 92


def test_a_token_that_goes_on_behind_the_string_is_kept_whole():
    stops = StopStrings(["b"], spell)
    assert stops.cut([1, 4, 1], 0) == 2 and spell([1, 4]) == "aba"
    assert StopStrings(["z"], spell).cut([1, 4, 1], 0) is None


def test_a_string_of_several_bytes_per_character_is_found_in_a_real_tokenizers_tokens(tmp_path):
    tokenizer = open_tokenizer(write_hf(tmp_path))
    tokens = tokenizer.encode("so x = 7. 問題: next 問題: again")
    stops = StopStrings(["問題:"], tokenizer.decode)
    for size in (1, 2, 7, 100):
        end = fed(stops, tokens, iter(lambda: size, None))
        assert tokenizer.decode(tokens[:end]) == "so x = 7. 問題:"
