"""What the jobs of the tail can be found by: built at first use, then kept up."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bgresp.ledger import runs
from bgresp.ledger.scan import Scan


@dataclass(slots=True)
class Words:
    """Keys of a scan by their terms; a newer record of a job may have lost one."""

    _keys: dict[bytes, set[str]] = field(default_factory=dict)
    _done: int = 0

    def under(self, scan: Scan, term: bytes) -> set[str]:
        """Return the keys that bear a whole term, or once did."""
        self._follow(scan)
        return self._keys.get(term, set())

    def starting(self, scan: Scan, term: bytes) -> Iterator[str]:
        """Yield the keys under terms that begin so."""
        self._follow(scan)
        for known, keys in self._keys.items():
            if known.startswith(term):
                yield from keys

    def _follow(self, scan: Scan) -> None:
        for key in scan.taken[self._done :]:
            for term in runs.terms(key, scan.entries[key]):
                self._keys.setdefault(term, set()).add(key)
        self._done = len(scan.taken)
