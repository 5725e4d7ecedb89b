"""Speak to one endpoint; the only package that knows httpx."""

import sys

# httpx imports its own command line where click is installed, and with it rich and
# pygments: half of what it costs. Where it is not to be had, it goes without.
_NAME = "httpx._main"
if "httpx" not in sys.modules:
    sys.modules[_NAME] = None  # type: ignore[assignment]  # what an import fails on
    import httpx  # noqa: F401

    del sys.modules[_NAME]
