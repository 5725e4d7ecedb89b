"""No text of a server reaches the terminal with a code point that acts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.text import one_line, printable

_RISKY = st.sampled_from("\x1b\x9b\r\u202e\u2066\u200b\ufeff\U000e0041\udc80")
TEXT = st.text(_RISKY | st.characters(), max_size=40)
# Written as ranges, apart from the code's own: RELIABILITY.md 5.1.
UNSAFE = [
    *range(0x09),
    *range(0x0B, 0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200B,
    *(0x200E, 0x200F),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xE0000, 0xE0080),
]


@given(TEXT)
def test_nothing_unsafe_comes_out(text: str) -> None:
    """For any input the output holds no control, bidi, invisible or lone surrogate."""
    points = {ord(point) for point in printable(text)}
    assert not points & set(UNSAFE)
    assert not any(0xD800 <= point <= 0xDFFF for point in points)
    assert not any(unicodedata.category(chr(p)) == "Cc" for p in points - {9, 10})


def test_each_unsafe_code_point_is_shown() -> None:
    """An unsafe code point is written out, so that a person sees that it was there."""
    for point in UNSAFE:
        expected = "\\r" if point == 0x0D else f"\\u{{{point:x}}}"
        assert f"a{expected}b" == printable(f"a{chr(point)}b")


@given(TEXT)
def test_making_safe_twice_changes_nothing(text: str) -> None:
    """Safe text stays as it is."""
    assert printable(text) == printable(printable(text))


@given(TEXT, TEXT)
def test_a_sequence_split_over_events_is_caught(one: str, other: str) -> None:
    """Two halves made safe apart are as safe as the whole."""
    assert printable(one + other) == printable(one) + printable(other)


@pytest.mark.parametrize(
    "text",
    [
        "\u0646\u0645\u06cc\u200c\u0634\u0648\u062f",
        "\u0915\u094d\u200d\u0937",
        "\U0001f469\u200d\U0001f4bb",
        "a\tb\nc",
        "é 漢字 \u00a0 [/foo] :x:",
        "",
    ],
)
def test_writing_systems_keep_their_joiners(text: str) -> None:
    """Persian, Hindi and emoji look as they should; tab and newline stay."""
    assert text == printable(text)


def test_a_lone_surrogate_becomes_a_replacement() -> None:
    """Half a character can be printed on any terminal."""
    assert "a\ufffdb" == printable("a\ud800b")


@given(TEXT, st.integers(1, 60))
def test_a_message_is_one_safe_line(text: str, limit: int) -> None:
    """What a server says in a message is one line, safe and not too long."""
    line = one_line(text, limit=limit)
    assert line == printable(line)
    assert len(line) <= limit
    assert not set(line) & {"\n", "\t"}


def test_a_long_message_says_that_it_was_cut() -> None:
    """A message that was cut ends in an ellipsis, and white space is one space."""
    assert "a b c" == one_line(" a\n\tb  c ")
    assert "aaa…" == one_line("aaaaaaaa", limit=4)
