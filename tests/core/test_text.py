"""No text of a server reaches the terminal with a code point that acts."""

import re
import sys
import unicodedata
from collections.abc import Iterable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bgresp.core.text import one_line, printable

SELECTORS = ("\ufe0e", "\ufe0f")
ISSUE_12 = [
    *(0xAD, 0x115F, 0x1160, 0x3164, 0xFFA0, 0x180E, 0x034F, 0x17B4, 0xFE00, 0xFE0F),
    *(0xFFF9, 0xFFFA, 0xFFFB, 0x0600, 0x06DD, 0xE0100, 0xE01EF, 0x1D173),
]
_RISKY = st.sampled_from(
    "\x1b\x9b\r\u202e\u2066\u200b\ufeff\U000e0041\udc80\ufe0f\u27641#\u20e3\u3164\xad"
)
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
    assume(not one.endswith(SELECTORS))  # what it selects may be yet to come
    shown = printable(one) + printable(other, after=one[-1:])
    assert printable(one + other) == shown


def test_a_selector_apart_from_its_sign_is_shown() -> None:
    """A selector at the begin of an answer, or after its end, reaches the terminal."""
    assert "\\u{fe0f}" == printable("\ufe0f")
    assert "\\u{fe0f}" == printable("\ufe0f", after="a")
    assert "\ufe0f" == printable("\ufe0f", after="\u2764")
    assert "1\\u{fe0f}" == printable("1\ufe0f")


def kept(points: Iterable[int]) -> set[int]:
    """Return those code points that come out between two letters."""
    alone = ((point, printable(f"a{chr(point)}b")) for point in points)
    return {point for point, shown in alone if shown == f"a{chr(point)}b"}


# The words of Unicode's names for what shows nothing, though it is a letter or a mark.
NOTHING = re.compile(
    "HANGUL.* FILLER|VARIATION SELECTOR|GRAPHEME JOINER|VOWEL INHERENT"
)


def test_what_shows_nothing_or_acts_never_comes_out() -> None:
    """Of all code points one that is a control or invisible reaches a terminal raw.

    Or one that is a letter, a mark, a number or a sign does not.
    """
    by_category: dict[str, list[int]] = {}
    for point in range(sys.maxunicode + 1):
        by_category.setdefault(unicodedata.category(chr(point)), []).append(point)
    acting = {p for kind in ("Cc", "Cf", "Cs", "Zl", "Zp") for p in by_category[kind]}
    assert {9, 10, 0x200C, 0x200D} == kept(acting)
    # Braille blanks are what pictures in Braille are made of.
    for kind in by_category.keys() - {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn"}:
        points = set(by_category[kind])
        nothing = {p for p in points if NOTHING.search(unicodedata.name(chr(p), ""))}
        assert points - nothing == kept(points), kind
    reserved = {0x2065, 0xFFF0, 0xFDD0, 0xFFFE, 0x1FFFF, 0x10FFFF, 0xE0FFF}
    assert not kept(reserved)
    newer_emoji = {0x1FAE9, 0x1FADC, 0x1FAC6}  # of Unicode 16
    assert newer_emoji == kept(newer_emoji)


@pytest.mark.parametrize("point", ISSUE_12)
def test_the_invisible_of_issue_12_is_shown(point: int) -> None:
    """An invisible code point stands raw at any place of a text."""
    for before in ("", "a", " ", "\u0627", "\u4e16", "=", "1", "\n"):
        shown = printable(f"{before}{chr(point)}z")
        assert f"{before}\\u{{{point:x}}}z" == shown


EMOJI = [
    "\u2764\ufe0f",
    "1\ufe0f\u20e3 #\ufe0f\u20e3",
    "\U0001f441\ufe0f\u200d\U0001f5e8\ufe0f",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f926\U0001f3fd\u200d\u2642\ufe0f",
    "\U0001faff\ufe0f",  # not yet a sign in any Unicode
    "\u00a9\ufe0f \u203c\ufe0f \u2139\ufe0f \u2194\ufe0f \u2b50\ufe0e",
]


@pytest.mark.parametrize("text", EMOJI)
def test_emoji_stay_whole(text: str) -> None:
    """An emoji loses the selector that gives it its picture, or a second one stays."""
    assert text == printable(text)
    shown = printable(text.replace("\ufe0f", "\ufe0f\ufe0f"))
    assert text.count("\ufe0f") == shown.count("\\u{fe0f}") or "\u20e3" in text


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
    assert "aa1…" == one_line("aa1\ufe0f\u20e3bbb", limit=5)  # no key's cap any more
