"""How requests reach an endpoint: through which proxy, and whose certificates hold.

Read from the environment here, not by httpx: its own reading of NO_PROXY fails on what
Docker and OrbStack write there (a network such as `10.0.0.0/8`, `::1`), and knows
neither REQUESTS_CA_BUNDLE nor CURL_CA_BUNDLE.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from bgresp.core.dialect import is_loopback
from bgresp.core.errors import ConfigError
from bgresp.core.text import one_line

# Files or folders of certificates; the first that is set holds.
CA_VARIABLES: Final = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
_SEPARATORS: Final = re.compile(r"[,\s]+")
_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:]*):(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Route:
    """The way to one base URL; None where there is no proxy, or no own certificates.

    `proxy` may hold a password: `proxy_name` is for people. `ca_source` is the variable
    that named `ca_path`.
    """

    proxy: str | None = None
    proxy_source: str | None = None
    ca_path: str | None = None
    ca_source: str | None = None

    @property
    def proxy_name(self) -> str | None:
        """Return the proxy's host and port."""
        if self.proxy is None:
            return None
        return urlsplit(self.proxy).netloc.rpartition("@")[2] or "no host"

    @property
    def told(self) -> str:
        """Return the way as a line for people."""
        proxy = "no proxy"
        if self.proxy is not None:
            proxy = f"by the proxy {self.proxy_name} of {self.proxy_source}"
        if self.ca_path is None:
            return f"{proxy}, certificates of certifi"
        return f"{proxy}, certificates of {self.ca_source} ({self.ca_path})"


def route(base_url: str, environ: Mapping[str, str]) -> Route:
    """Choose the way to a base URL; there is no proxy to this machine itself."""
    proxy, proxy_source = _proxy(base_url, environ)
    for name in CA_VARIABLES:
        if environ.get(name):
            return Route(proxy, proxy_source, environ[name], name)
    return Route(proxy, proxy_source)


def context(way: Route) -> ssl.SSLContext:
    """Return what certificates are checked with, made once a process.

    Raises ConfigError that names the variable.
    """
    try:
        return _context(way.ca_path)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        said = one_line(getattr(error, "strerror", None) or str(error), limit=200)
        raise ConfigError(
            f"cannot set up the connection: {way.ca_source} {way.ca_path}: {said}",
            hint=f"check {way.ca_source}",
        ) from None


@lru_cache(maxsize=4)
def _context(path: str | None) -> ssl.SSLContext:
    if path is None:
        return httpx.create_ssl_context(trust_env=False)
    if Path(path).is_dir():
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


def _proxy(base_url: str, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    parts = urlsplit(base_url)
    host, proxies = parts.hostname or "", getproxies()
    port = parts.port or (80 if parts.scheme == "http" else 443)
    kind = next((k for k in (parts.scheme, "all") if proxies.get(k)), None)
    if kind is None or is_loopback(base_url):
        return None, None
    # The system may except hosts, too.
    if proxy_bypass(host) or is_excepted(host, port, proxies.get("no", "")):
        return None, None
    name = f"{kind.upper()}_PROXY"
    source = next((n for n in (name.lower(), name) if environ.get(n)), "the system")
    proxy = proxies[kind]
    return proxy if "://" in proxy else f"http://{proxy}", source


def is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Say whether NO_PROXY names a host and port; an entry that is no name is nothing.

    Entries as curl, Go and Docker write them: `*`, a domain (with all below it, a dot
    or `*.` before it or not), an address, a network, each with a port or not.
    """
    host = host.lower().rstrip(".")
    for entry in _SEPARATORS.split(no_proxy.lower()):
        with_port = _PORT.fullmatch(entry)
        name = entry if with_port is None else with_port[1]
        if with_port is not None and int(with_port[2]) != port:
            continue
        if name == "*" or _has(name.strip("[]"), host):
            return True
    return False


def _has(name: str, host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False
