"""What a person gives as text is UTF-8, or told to be what it is."""

import codecs
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.text import BYTE_ORDER_MARK as MARK
from bgresp.core.text import NotUtf8Error, text_of
from bgresp.core.text import wide_encoding as wide

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# What may begin a text: no NUL, and no mark of its own.
PLAIN = TEXT.filter(lambda text: "\0" not in text and not text.startswith("\ufeff"))


@given(PLAIN, st.booleans())
def test_a_mark_is_no_part_of_the_text(text: str, marked: bool) -> None:
    """A byte order mark is sent to the endpoint, or a text is taken for UTF-16."""
    raw = text.encode("utf-8")
    assert text == text_of(MARK * marked + raw, "f")


@given(PLAIN, st.sampled_from(["utf-16", "utf-32"]))
def test_wide_text_with_a_mark_is_told(text: str, encoding: str) -> None:
    """UTF-16 or UTF-32 with a mark is read as something else, or without a way on."""
    with pytest.raises(NotUtf8Error, match=encoding.upper()) as caught:
        text_of(text.encode(encoding), "f")
    assert f"iconv -f {encoding.upper()} -t UTF-8 f > f.utf8" == caught.value.hint


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=2))
@pytest.mark.parametrize("name", ["UTF-16LE", "UTF-16BE"])
def test_wide_ascii_without_a_mark_is_told(name: str, text: str) -> None:
    """ASCII in UTF-16 without a mark is taken for text with NULs."""
    assert name == wide(text.encode(name))


@pytest.mark.parametrize("raw", [b"", b"a", b"\0", b"\0\0\0\0", b"a\0b", b"abc\0\0"])
def test_other_zeros_are_not_utf_16(raw: bytes) -> None:
    """A file with some zeros is said to be UTF-16."""
    assert wide(raw) is None


@pytest.mark.parametrize(("raw", "at"), [(b"ab\xff", 2), (MARK + b"ab\xff", 5)])
def test_the_first_bad_byte_is_named(raw: bytes, at: int) -> None:
    """What is neither is refused without saying where."""
    with pytest.raises(NotUtf8Error, match=rf"not UTF-8 \(byte {at}\)"):
        text_of(raw, "f")


def test_the_command_converts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command that is told does not do it, or splits a name with a space."""
    path = tmp_path_factory.mktemp("x") / "my file.txt"
    path.write_bytes(codecs.BOM_UTF16_LE + "héllo\r\n".encode("utf-16-le"))
    with pytest.raises(NotUtf8Error) as caught:
        text_of(path.read_bytes(), str(path))
    assert shlex.quote(str(path)) in caught.value.hint
    subprocess.run(["sh", "-c", caught.value.hint], check=True)
    converted = path.with_name("my file.utf8.txt")
    assert "héllo\r\n" == text_of(converted.read_bytes(), str(converted))
