"""The ledger at scale: what a look-up reads does not grow with the jobs (case 55)."""

import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from bgresp.core.model import Job, Status
from bgresp.ledger import files
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.line import encode, new_key
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

START = 1_700_000_000.0
OPEN = 1000  # one job in so many is open
MOST = 3 * 1024 * 1024


def read_bytes() -> int:
    """Return the bytes that this process read by system calls so far; not mmap's."""
    told = Path("/proc/self/io").read_text("ascii")
    return int(told.split("rchar: ")[1].split()[0])


def filled(state: Path, number: int, every: int = OPEN) -> list[str]:
    """Write a ledger of so many jobs, two lines each; return some ids.

    One in `every` so many is open.
    """
    rng = random.Random(number)
    files.prepare(state)
    ids = []
    with (state / "ledger.jsonl").open("ab") as file:
        for n in range(number):
            key = new_key(START + n, rng.getrandbits(80), after=None)
            intent = Job(key=key, model="m", submitted_at=START + n, dialect="openai")
            id_ = f"resp_{rng.getrandbits(128):032x}"
            status = Status.COMPLETED if n % every else Status.QUEUED
            file.write(encode(intent))
            file.write(encode(intent._replace(id=id_, status=status)))
            ids.append(id_)
    return ids


def cost(state: Path, look: Callable[[Ledger], object]) -> int:
    """Return the bytes that a fresh process would read for one look."""
    before = read_bytes()
    look(Ledger(state))
    return read_bytes() - before


def looks(ids: list[str]) -> dict[str, Callable[[Ledger], object]]:
    middle = ids[len(ids) // 2]

    def submit(ledger: Ledger) -> None:
        with ledger.submitting(Job(key="", submitted_at=START)) as job:
            ledger.record(job._replace(id="resp_new", status=Status.QUEUED))

    return {
        "list": lambda ledger: list(islice(ledger.newest(), 50)),
        "status of one id": lambda ledger: ledger.by_id(middle),
        "submit": submit,
        "open jobs": lambda ledger: sum(1 for _ in ledger.open_jobs()),
    }


@pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="/proc/self/io is Linux's"
)
def test_what_a_look_reads_does_not_grow(
    tmp_path: Path, figure: Figure, full: bool
) -> None:
    """A list, a status or a submit reads the whole ledger, or more of a larger one."""
    sizes = (100_000, 1_000_000) if full else (10_000, 100_000)
    costs: dict[int, dict[str, int]] = {}
    for number in sizes:
        state = tmp_path / str(number)
        ids = filled(state, number)
        list(islice(Ledger(state).newest(), 1))  # what is derived is made once
        costs[number] = {name: cost(state, look) for name, look in looks(ids).items()}
    small, large = (costs[number] for number in sizes)
    whole = (tmp_path / str(sizes[1]) / "ledger.jsonl").stat().st_size
    for name in ("list", "status of one id", "submit"):
        assert large[name] < MOST < whole, (name, large)
        assert large[name] < 2 * small[name] + 65536, (name, small, large)
    told = ", ".join(f"{name} {large[name] >> 10} KiB" for name in large)
    figure(f"scale: {sizes[1]} jobs, {whole >> 20} MiB; read for {told}")


def test_updates_of_old_jobs_do_not_slow_a_list(tmp_path: Path, figure: Figure) -> None:
    """Ten thousand recent updates of old jobs make a list read them all."""
    number = 20_000
    filled(tmp_path, number)
    ledger = Ledger(tmp_path)
    before = cost(tmp_path, lambda some: list(islice(some.newest(), 50)))
    with ledger.path.open("ab") as file:
        for job in islice(ledger.newest(), 10_000, 20_000):
            file.write(encode(job._replace(checked_at=START)))
    Ledger(tmp_path).tend()
    after = cost(tmp_path, lambda some: list(islice(some.newest(), 50)))
    assert after < before + MOST
    figure(f"scale: after 10 000 updates of old jobs a list reads {after >> 10} KiB")


@pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="/proc/self/io is Linux's"
)
def test_what_an_end_costs_does_not_grow_with_the_open_jobs(
    tmp_path: Path, figure: Figure
) -> None:
    """Each so many jobs that end, where they stand of all open ones is read again."""
    costs = {}
    for number in (500, 20_000):
        filled(tmp_path / str(number), number, every=1)
        ledger = Ledger(tmp_path / str(number), run_bytes=4096)
        jobs = list(islice(ledger.open_jobs(), 400))
        before = read_bytes()
        for job in jobs:
            ledger.record(job._replace(status=Status.COMPLETED))
        costs[number] = read_bytes() - before
    figure(
        f"scale: 400 ends of 20 000 open jobs read {costs[20_000] >> 10} KiB, "
        f"of 500 {costs[500] >> 10} KiB"
    )
    assert costs[20_000] < costs[500] + MOST
