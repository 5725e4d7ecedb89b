"""The way to an endpoint: through which proxy, and trusting whose certificates.

Both are read from the environment here, not by httpx: its own reading of NO_PROXY fails
on what Docker and OrbStack write there (a network such as `10.0.0.0/8`, `::1`), and
knows neither REQUESTS_CA_BUNDLE nor CURL_CA_BUNDLE.
"""

import os
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bgresp.core.endpoint import is_loopback
from bgresp.core.errors import ConfigError
from bgresp.core.text import one_line

# Files or folders of certificates; the first that is set holds.
CA_VARIABLES: Final = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
LEAST_STORE: Final = 50  # certificates of a system; there are about 140
_HASHED: Final = r"[0-9a-f]{8}\.[0-9]+"  # as `openssl rehash` names them
_SEPARATORS: Final = r"[,\s]+"
_PORT: Final = r"(\[[^\]]*\]|[^:]*):(\d{1,5})"


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
            folder = system_certificates()
            store = "certifi" if folder is None else f"the system ({folder})"
            return f"{proxy}, certificates of {store}"
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
    path = path or system_certificates()
    if path is None:
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    if Path(path).is_dir():
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


@lru_cache(maxsize=1)
def system_certificates() -> str | None:
    """Return the folder in which OpenSSL looks up a certificate when it needs it.

    That costs nothing, where reading certifi's costs what a whole submit does. None
    where there is no such folder, or one with so few that it is no system's store.
    """
    folder = ssl.get_default_verify_paths().openssl_capath
    return folder if _is_store(folder) else None


def _is_store(folder: str) -> bool:
    try:
        names = os.listdir(folder)  # noqa: PTH208  costs no Path for each
    except OSError:
        return False
    return sum(re.fullmatch(_HASHED, name) is not None for name in names) >= LEAST_STORE


def _proxy(base_url: str, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    named = any(name.lower().endswith("_proxy") for name in environ)
    if is_loopback(base_url) or not (named or sys.platform == "darwin"):
        return None, None
    from urllib.request import getproxies, proxy_bypass  # a dear import

    parts = urlsplit(base_url)
    host, proxies = parts.hostname or "", getproxies()
    port = parts.port or (80 if parts.scheme == "http" else 443)
    kind = next((k for k in (parts.scheme, "all") if proxies.get(k)), None)
    if kind is None:
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
    for entry in re.split(_SEPARATORS, no_proxy.lower()):
        with_port = re.fullmatch(_PORT, entry, re.ASCII)
        name = entry if with_port is None else with_port[1]
        if with_port is not None and int(with_port[2]) != port:
            continue
        if name == "*" or _has(name.strip("[]"), host):
            return True
    return False


def _has(name: str, host: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        address = ip_address(host)
    except ValueError:
        domain = name.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False
