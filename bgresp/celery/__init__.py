"""Celery tasks: submit and collect over a fleet that shares nothing but its broker.

`celery -A bgresp.celery worker` runs them; `install(app)` brings them into an app of
your own.
"""

import os
from typing import Final

try:
    from celery import Celery

    from bgresp.celery.tasks import INTENTS_KEPT, Tasks, install
except ModuleNotFoundError as missing:
    raise ImportError(
        f"bgresp.celery needs {missing.name}: pip install 'bgresp[celery]'"
    ) from None

__all__ = ["Tasks", "app", "collect", "heard", "install", "run", "submit"]

BROKER: Final = (
    os.environ.get("BGRESP_BROKER_URL")
    or os.environ.get("CELERY_BROKER_URL")
    or "redis://localhost:6379/0"
)

# Never the current app: that is for the program that imports this to choose.
app = Celery("bgresp", set_as_current=False)
app.conf.update(
    broker_url=BROKER,
    broker_read_url=BROKER,  # these two win over CELERY_BROKER_URL
    broker_write_url=BROKER,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 300},
    result_backend=os.environ.get("CELERY_RESULT_BACKEND") or BROKER,
    result_expires=INTENTS_KEPT,
    worker_prefetch_multiplier=1,
)
_tasks: Final = install(app)
submit, collect, heard, run = _tasks.submit, _tasks.collect, _tasks.heard, _tasks.run
