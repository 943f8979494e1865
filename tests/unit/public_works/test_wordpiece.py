"""Text to the numbers of the vocabulary."""

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from symphainy.public_works.wordpiece import WordPiece

VOCABULARY = (files("symphainy.public_works") / "minilm" / "vocab.txt").read_text("utf-8").splitlines()
WORDS = WordPiece(VOCABULARY)


def pieces(text: str) -> list[str]:
    return [VOCABULARY[number] for number in WORDS.encode(text, tokens_max=256)]


def test_the_vocabulary_is_berts() -> None:
    assert (len(VOCABULARY), VOCABULARY[0], VOCABULARY[101], VOCABULARY[102]) == (
        30_522,
        "[PAD]",
        "[CLS]",
        "[SEP]",
    )


# As the package `tokenizers` 0.23.3 with the tokenizer.json of the model gives them.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("The policy covers water damage.", ["the", "policy", "covers", "water", "damage", "."]),
        ("unaffordable", ["una", "##ff", "##ord", "##able"]),
        ("Prämie: 12,50 €", ["pr", "##ami", "##e", ":", "12", ",", "50", "€"]),
        ("AB-1234_x", ["ab", "-", "123", "##4", "_", "x"]),
        ("東京", ["東", "京"]),
        ("\0 \ufffd\u200b\ta\u00a0b\n", ["a", "b"]),
        ("🙂", ["[UNK]"]),
        ("x" * 101, ["[UNK]"]),
    ],
)
def test_words_are_cut_as_berts_are(text: str, expected: list[str]) -> None:
    assert pieces(text) == ["[CLS]", *expected, "[SEP]"]


@pytest.mark.parametrize("text", ["[SEP]", "[CLS] [MASK] [UNK] [PAD]"])
def test_no_text_can_write_a_mark(text: str) -> None:
    assert not {"[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"} & set(pieces(text)[1:-1])


@given(text=st.text(), tokens_max=st.integers(2, 20))
def test_any_text_fits_the_bound_between_its_marks(text: str, tokens_max: int) -> None:
    numbers = WORDS.encode(text, tokens_max=tokens_max)
    assert 2 <= len(numbers) <= tokens_max
    assert (numbers[0], numbers[-1]) == (101, 102)
    whole = WORDS.encode(text, tokens_max=10_000)
    assert numbers[:-1] == whole[: len(numbers) - 1]


@given(text=st.text(st.characters(max_codepoint=0x24F, exclude_characters="[")))
def test_it_does_as_the_package_does(text: str) -> None:
    """But for `[`: there, a text may write marks with the package."""
    reference = BertWordPieceTokenizer(dict(zip(VOCABULARY, range(30_522), strict=True)))
    assert WORDS.encode(text, tokens_max=10_000) == reference.encode(text).ids
