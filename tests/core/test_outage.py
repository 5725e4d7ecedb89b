"""An endpoint that does not answer is told of once, and its return once."""

from bgresp.core.observer import Outage
from bgresp.core.signals import Fault, FaultKind

AWAY = Fault(FaultKind.UNREACHABLE, "no route")
BUSY = Fault(FaultKind.RATE_LIMITED, "slow down")


def test_an_outage_is_told_once_however_many_notice() -> None:
    """Of many jobs whose endpoint is away the first is told of, each kind of fault once."""
    outage = Outage()
    assert "unreachable: no route; trying again" == outage.failed("a", AWAY, 10.0)
    assert outage.failed("b", AWAY, 11.0) is None
    assert outage.failed("a", AWAY, 12.0) is None
    assert "rate limited: slow down; trying again" == outage.failed("b", BUSY, 13.0)


def test_it_is_over_when_no_job_waits_any_more() -> None:
    """The first answer of many ends no outage; the last one does, and says how long."""
    outage = Outage()
    for key in "abc":
        outage.failed(key, AWAY, 10.0)
    assert outage.answered("a", 15.0) is None
    outage.left("b")
    assert "the endpoint is reachable again after 12s" == outage.answered("c", 22.0)
    assert outage.answered("c", 23.0) is None
    assert outage.failed("a", AWAY, 30.0) is not None, "the next one is told again"


def test_a_fault_of_one_job_is_told_each_time() -> None:
    """What is no fault of the endpoint is said of each job."""
    refused = Fault(FaultKind.REFUSED, "no")
    outage = Outage()
    assert ["refused: no"] * 2 == [outage.failed(key, refused, 1.0) for key in "ab"]
    assert outage.answered("a", 2.0) is None
