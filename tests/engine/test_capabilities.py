"""What a probe saw: kept as JSON, and never more than the dialect allows."""

from hypothesis import given
from hypothesis import strategies as st

from bgresp.engine.endpoints import (
    UNTRIED,
    Ability,
    Capabilities,
    Finding,
    Verdict,
    applied,
)
from tests.endpoint import dialect

FINDINGS = st.dictionaries(
    st.sampled_from(Ability),
    st.builds(Finding, st.sampled_from(Verdict), st.text(max_size=20)),
)
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


@given(FINDINGS)
def test_a_card_is_read_as_it_was_written(findings: dict[Ability, Finding]) -> None:
    """A finding is lost or changed on its way to the disk and back."""
    card = Capabilities(
        "https://a.example/v1", "openai", "m", 1.5, ("resp_1",), findings
    )
    found = Capabilities.read(card.to_dict())
    assert found is not None
    assert [card.of(a) for a in Ability] == [found.of(a) for a in Ability]
    told = (card.base_url, card.dialect, card.probed_at)
    assert told == (found.base_url, found.dialect, found.probed_at)


@given(JSON, st.dictionaries(st.sampled_from(Ability), JSON))
def test_what_is_no_card_is_none(value: object, table: dict[str, object]) -> None:
    """Reading a file that somebody wrote raises, or makes findings up."""
    assert Capabilities.read(value) is None
    found = Capabilities.read({"schema": "bgresp.probe/1", "abilities": value})
    assert found is not None
    assert all(found.of(ability) == UNTRIED for ability in Ability)
    assert (
        Capabilities.read({"schema": "bgresp.probe/1", "abilities": table}) is not None
    )


@given(FINDINGS)
def test_a_card_only_takes_away(findings: dict[Ability, Finding]) -> None:
    """A card gives an endpoint an operation, or takes one that it was seen to have."""
    known = dialect("local")
    card = Capabilities(known.base_url, known.name, findings=findings)
    left = applied(known, card)
    assert left.ops.items() <= known.ops.items()
    assert set(known.ops) - set(left.ops) <= {"cancel", "stream"}
    assert ("cancel" in left.ops) != card.lacks(Ability.CANCEL)
    if not card.lacks(Ability.STREAM_LATER):
        assert (known.streaming.attach, True) == (
            left.streaming.attach,
            "stream" in left.ops,
        )
    assert card.lacks(Ability.RESUME) == (not left.streaming.resume)
    assert known.limits == left.limits
