"""From a row to the draft of its request."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from bgresp.core.dialect import Dialect
from bgresp.core.manifest import Row
from bgresp.core.model import Job
from bgresp.core.request import Request, check_clashes
from bgresp.engine.draft import Draft, drafted


@dataclass(frozen=True, slots=True)
class Maker:
    """What all rows of a batch share; a row's own fields win over `request` and `job`.

    `text` reads and checks a row's prompt: None where its body says it all.
    """

    job: Job
    request: Request
    dialect: Dialect
    text: Callable[[Row], str | None]
    stream: bool = False
    keep: bool = True

    def draft(self, row: Row) -> Draft:
        """Return the draft of a row.

        Raises UsageError, RefusedError: nothing may be sent then.
        """
        base = self.request
        body = {**(base.body or {}), **(row.body or {})}
        asked = replace(
            base,
            text=self.text(row),
            model=row.model or base.model,
            metadata={**base.metadata, **row.metadata},
            body=body or None,
            variables={**base.variables, **row.variables},
        )
        own = Request(
            text=asked.text,
            model=row.model,
            metadata=row.metadata,
            attachments=base.attachments,
            body=asked.body,
            changes=base.changes,
        )
        check_clashes(own, self.dialect)
        record = replace(
            self.job,
            row=row.id,
            name=row.name,
            labels={**self.job.labels, **row.labels},
            submitted_at=time.time(),
        )
        draft = drafted(record, asked, self.dialect, stream=self.stream)
        return replace(draft, keep=self.keep)
