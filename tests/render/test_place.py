"""Where a text ends on a line, and what a terminal can do."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import get_character_cell_size
from wcwidth import wcwidth

from bgresp.render.screen import TextEnd
from bgresp.render.streams import features
from tests.render.screens import Shown

SURE = st.text(
    st.sampled_from("ab Zé«ñЖж…—世界한≤€™∑✓■✅😀☃שלםسلامไทย\u0e35\u0301\n\t"),
    max_size=80,
)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 0),
        ("abc", 3),
        ("a" * 10, 10),  # the cursor waits at the edge
        ("a" * 11, 1),
        ("a" * 30 + "\n", 0),
        ("世" * 5, 10),
        ("a" + "世" * 5, 2),  # the last one has no room
        ("ab\tc", 9),
        ("a" * 9 + "\t", 9),  # a tab stays at the edge
    ],
)
def test_the_column(text: str, column: int) -> None:
    """On 10 columns the text ends in that column."""
    place = TextEnd()
    place.advance(text, 10)
    assert column == place.column


@given(st.lists(SURE, max_size=5), st.integers(4, 40).map(lambda half: 2 * half))
def test_it_is_where_a_terminal_is(pieces: list[str], columns: int) -> None:
    """As long as it is sure, the column is the one of a terminal's cursor."""
    shown, place = Shown(columns, 100), TextEnd()
    streams = shown.streams()
    for piece in pieces:
        streams.answer(piece)
        place.advance(piece, columns)
        if place.slack:  # a tab at the edge
            return
        assert place.column == shown.screen.cursor.x


@pytest.mark.parametrize(
    "text",
    [
        "👩\u200d🚀",
        "❤\ufe0f",
        "\u0939\u093f\u0939",
        "🇩🇪",
        "👍🏽",
        "\u1112\u1161",
        "\U0001fadf",
    ],
)
def test_what_is_not_sure(text: str) -> None:
    """Where terminals differ in width the edge is not trusted, until the next line."""
    place = TextEnd()
    place.advance("a" * 8 + text, 10)
    assert place.is_tight(10)
    roomy = TextEnd()
    roomy.advance("a" * 8 + text, 80)
    assert not roomy.is_tight(80)
    place.advance("\n", 10)
    assert (0, False) == (place.slack, place.is_tight(10))


def test_what_is_sure_is_so_for_two_libraries() -> None:
    """Of a character that is not in doubt wcwidth says the same width as Rich."""
    every = map(
        chr, (*range(0xA0, 0x3100), *range(0xF900, 0x10000), *range(0x1F000, 0x1FA00))
    )
    sure = [each for each in every if not _slack(each)]
    differing = [
        each for each in sure if wcwidth(each) != get_character_cell_size(each)
    ]
    assert ([], True) == (differing, len(sure) > 8_000)


def _slack(text: str) -> int:
    place = TextEnd()
    place.advance(text, 80)
    return place.slack


WIDE = st.lists(
    st.sampled_from(["👩\u200d👩\u200d👧", "हिन्दी", "word", "≤", "🇩🇪", "मे"]).map(
        lambda word: word + " "
    ),
    max_size=60,
)


@given(WIDE, st.integers(20, 200))
def test_newlines_of_ours_stand_behind_a_space(words: list[str], columns: int) -> None:
    """Whatever comes, no word is parted, and a line is begun before its edge is lost."""
    place, said = TextEnd(), ""
    for word in words:
        said += place.flowed(word, columns)
    assert "".join(words) == said.replace(" \n", " ")
    for line in said.split("\n")[:-1]:
        ended = TextEnd()
        ended.advance(line, columns * 100)
        assert ended.column + ended.slack >= 0.8 * columns


UTF8 = {"TERM": "xterm-256color", "LANG": "en_US.UTF-8"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (UTF8, (True, True, False)),
        ({"TERM": "xterm"}, (True, True, False)),
        ({}, (False, False, False)),
        ({**UTF8, "TERM": "dumb"}, (False, False, False)),
        ({**UTF8, "CI": "true"}, (False, True, False)),
        ({**UTF8, "CI": "false"}, (True, True, False)),
        ({**UTF8, "LC_ALL": "C"}, (True, False, False)),
        ({**UTF8, "LANG": "C", "LC_CTYPE": "C.UTF-8"}, (True, False, False)),
        ({**UTF8, "LC_CTYPE": "C.UTF-8"}, (True, True, False)),
        ({**UTF8, "LANG": "de_DE.ISO-8859-1"}, (True, False, False)),
        ({**UTF8, "TERM": "linux"}, (True, False, False)),
        ({**UTF8, "TERM_PROGRAM": "ghostty"}, (True, True, True)),
        ({**UTF8, "TERM_PROGRAM": "ghostty", "TMUX": "x"}, (True, True, False)),
        ({**UTF8, "VTE_VERSION": "8001"}, (True, True, True)),
        ({**UTF8, "VTE_VERSION": "7600"}, (True, True, False)),
        (
            {**UTF8, "TERM_FEATURES": "T3CwLrMSc7UUw9Ts3BFGsSyHNoSxFP"},
            (True, True, True),
        ),
        ({**UTF8, "WT_SESSION": "1", "BGRESP_NO_OSC": "1"}, (True, True, False)),
        ({"TERM": "xterm", "WT_SESSION": "1"}, (True, True, True)),
        ({"TERM": "xterm", "ConEmuANSI": "ON"}, (True, True, True)),
    ],
)
def test_features_of_a_terminal(
    environ: Mapping[str, str], expected: tuple[bool, bool, bool]
) -> None:
    """The cursor moves, more than ASCII is drawn, progress is shown: where it can be."""
    can = features(environ)
    assert expected == (can.moves, can.unicode, can.taskbar)
