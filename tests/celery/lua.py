"""As much Lua as the scripts of Redis's clients use: local, if, return, comparisons.

Values are bytes, numbers, booleans and None, which is nil. What is not understood
raises SyntaxError: a script is never half run by guess.
"""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"""\s+|--[^\n]*|(?P<text>'[^']*'|"[^"]*")|(?P<number>\d+)"""
    r"""|(?P<name>[A-Za-z_][\w.]*)|(?P<sign>~=|==|<=|>=|[-+<>=()\[\],])"""
)
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "~=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONSTANTS: Final = {"nil": None, "false": False, "true": True}
_BLOCK_ENDS: Final = ("end", "else", "")


class _Returned(Exception):  # noqa: N818  it is a jump, no error
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def run(
    source: str,
    call: Callable[..., Any],
    keys: Sequence[bytes],
    args: Sequence[bytes],
) -> Any:
    """Run a script; return what it returned."""
    values: dict[str, Any] = {"KEYS": keys, "ARGV": args, **_CONSTANTS}
    script = _Script(list(_tokens(source)), call, values)
    try:
        script.block(live=True)
    except _Returned as returned:
        return returned.value
    script.take("")
    return None


def _tokens(source: str) -> Iterator[str]:
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if found is None:
            raise SyntaxError(f"the twin speaks no such Lua: {source[at : at + 20]!r}")
        at = found.end()
        if found.lastgroup:
            yield found.group()
    yield ""


class _Script:
    """A script that is run as it is read; what is not live is only read."""

    def __init__(
        self, tokens: list[str], call: Callable[..., Any], values: dict[str, Any]
    ) -> None:
        self.tokens, self.at = tokens, 0
        self.call, self.values = call, values

    def next(self) -> str:
        return self.tokens[self.at]

    def take(self, wanted: str | None = None) -> str:
        word = self.next()
        if wanted is not None and word != wanted:
            raise SyntaxError(f"{word!r} where {wanted!r} should be")
        self.at += 1
        return word

    def block(self, *, live: bool) -> None:
        while self.next() not in _BLOCK_ENDS:
            self.statement(live=live)

    def statement(self, *, live: bool) -> None:
        word = self.next()
        if word == "if":
            self.take()
            yes = _true(self.either(live=live))
            self.take("then")
            self.block(live=live and yes)
            if self.next() == "else":
                self.take()
                self.block(live=live and not yes)
            self.take("end")
        elif word == "return":
            self.take()
            value = self.either(live=live)
            if live:
                raise _Returned(value)
        elif word == "local" or self.tokens[self.at + 1] == "=":
            name = self.take() if word != "local" else (self.take(), self.take())[1]
            self.take("=")
            value = self.either(live=live)
            if live:
                self.values[name] = value
        else:
            self.either(live=live)

    def either(self, *, live: bool) -> Any:
        """Read `a or b`."""
        value = self.compared(live=live)
        while self.next() == "or":
            self.take()
            other = self.compared(live=live and not _true(value))
            value = value if _true(value) else other
        return value

    def compared(self, *, live: bool) -> Any:
        left = self.term(live=live)
        if self.next() not in _COMPARE:
            return left
        sign = self.take()
        right = self.term(live=live)
        if not live:
            return None
        alike = type(left) is type(right)
        if sign in {"==", "~="}:
            return (alike and left == right) is (sign == "==")
        if not alike:
            raise TypeError(f"attempt to compare {left!r} with {right!r}")
        return _COMPARE[sign](left, right)

    def term(self, *, live: bool) -> Any:
        word = self.take()
        if word == "not":
            return not _true(self.term(live=live))
        if word[:1] in {"'", '"'}:
            return word[1:-1].encode()
        if word.isdigit():
            return float(word)
        if self.next() == "(":
            return self.called(word, live=live)
        if not word.isidentifier():
            raise SyntaxError(f"the twin speaks no such Lua: {word!r}")
        value: Any = self.values.get(word)
        if self.next() == "[":
            self.take()
            which = self.either(live=live)
            self.take("]")
            value = value[int(which) - 1] if live else None
        return value

    def called(self, name: str, *, live: bool) -> Any:
        self.take("(")
        given = [self.either(live=live)]
        while self.next() == ",":
            self.take()
            given.append(self.either(live=live))
        self.take(")")
        if not live:
            return None
        if name == "tonumber":
            return float(given[0])
        if name != "redis.call":
            raise SyntaxError(f"the twin has no function {name}")
        return self.call(*given)


def _true(value: Any) -> bool:
    return value is not None and value is not False
