"""Which proxy and which certificates requests go by, whatever the environment holds."""

import ssl
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from bgresp.api import transport
from bgresp.api.transport import Route, context, is_excepted, route, system_certificates
from bgresp.core.errors import ConfigError

PROXY = "http://proxy.test:3128"
FAR = "https://llm.example.com/v1"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Name a proxy for everything."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    return monkeypatch


@pytest.mark.parametrize(
    ("excepted", "base_url", "is_direct"),
    [
        ("", FAR, False),
        ("*", FAR, True),
        ("example.com", FAR, True),
        (".example.com,::1", FAR, True),
        ("ample.com", FAR, False),
        ("10.0.0.0/8,127.0.0.0/8,::1/128,fe80::/10", FAR, False),
        ("10.0.0.0/8", "https://10.1.2.3/v1", True),
        ("10.0.0.0/8", "https://11.1.2.3/v1", False),
        ("fd00::/8", "https://[fd12::1]:8443/v1", True),
        ("[fd12::1]", "https://[fd12::1]:8443/v1", True),
        ("192.168.0.0/33,%%,[,/", "https://192.168.0.1/v1", False),
        ("x, example.com:443", "https://llm.example.com:8443/v1", False),
        ("x llm.example.com:8443", "https://LLM.Example.com.:8443/v1", True),
        ("[fd12::1]:8443", "https://[fd12::1]:8443/v1", True),
        ("*.example.com,*.local", FAR, True),
        ("[::1,:::,://,/,.,*.,[]:80", FAR, False),
        ("", "http://localhost:8000/v1", True),
        ("", "http://127.0.0.1:8000/v1", True),
        ("", "http://[::1]:8000/v1", True),
    ],
)
def test_what_goes_by_no_proxy(
    excepted: str, base_url: str, is_direct: bool, proxied: pytest.MonkeyPatch
) -> None:
    """NO_PROXY takes names, addresses and networks of both kinds; rubbish is no fault."""
    proxied.setenv("NO_PROXY", excepted)
    found = route(base_url, {"ALL_PROXY": PROXY})
    assert (None if is_direct else PROXY) == found.proxy


@given(st.text(alphabet="a1.:/[]*%,@ -é\x00", max_size=40))
def test_no_entry_breaks_anything(no_proxy: str) -> None:
    """Whatever NO_PROXY holds, a host is excepted or not, and `*` excepts all."""
    for host in ("a.test", "fd08::9", "10.0.0.1", ""):
        assert is_excepted(host, 443, no_proxy) in {True, False}
        assert is_excepted(host, 443, f"{no_proxy},*")


def test_the_proxy_of_a_scheme_comes_first(proxied: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY beats ALL_PROXY, one without a scheme speaks http, no secret shows."""
    proxied.setenv("https_proxy", "user:hunter2@other.test:8080")
    found = route(FAR, {"https_proxy": "set"})
    assert "http://user:hunter2@other.test:8080" == found.proxy
    assert "by the proxy other.test:8080 of https_proxy" in found.told
    assert "hunter2" not in found.told


@pytest.mark.parametrize(
    ("environ", "source"),
    [
        ({}, None),
        ({"CURL_CA_BUNDLE": "c"}, "CURL_CA_BUNDLE"),
        ({"CURL_CA_BUNDLE": "c", "REQUESTS_CA_BUNDLE": "r"}, "REQUESTS_CA_BUNDLE"),
        ({"REQUESTS_CA_BUNDLE": "r", "SSL_CERT_DIR": "d"}, "SSL_CERT_DIR"),
        ({"SSL_CERT_DIR": "d", "SSL_CERT_FILE": "f"}, "SSL_CERT_FILE"),
        ({"SSL_CERT_FILE": "", "CURL_CA_BUNDLE": "c"}, "CURL_CA_BUNDLE"),
    ],
)
@pytest.mark.parametrize("base_url", [FAR, "https://127.0.0.1:1/v1"])
def test_whose_certificates_hold(
    environ: dict[str, str], source: str | None, base_url: str
) -> None:
    """The first variable that is set names them, on loopback too."""
    found = route(base_url, environ)
    assert (source, environ.get(source or "")) == (found.ca_source, found.ca_path)


def test_certificates_are_read_from_files_and_folders(tmp_path: Path) -> None:
    """A CA's file holds; a folder is looked up in when needed, the system's too."""
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    assert 1 == context(Route(ca_path=str(ca))).cert_store_stats()["x509_ca"]
    folder = context(Route(ca_path=str(tmp_path)))
    assert 0 == folder.cert_store_stats()["x509_ca"]
    usual = context(Route())
    assert usual is context(Route())
    assert {ssl.CERT_REQUIRED} == {folder.verify_mode, usual.verify_mode}
    has_store = system_certificates() is not None
    assert has_store == (0 == usual.cert_store_stats()["x509_ca"])
    told = f"of the system ({system_certificates()})" if has_store else "of certifi"
    assert Route().told.endswith(told)


@pytest.mark.parametrize(("count", "is_store"), [(0, False), (49, False), (50, True)])
def test_a_few_certificates_are_no_systems(
    count: int, *, is_store: bool, tmp_path: Path
) -> None:
    """A folder with a company's own alone does not take the place of certifi's."""
    for number in range(count):
        (tmp_path / f"{number:08x}.0").touch()
    (tmp_path / "ca-certificates.crt").touch()
    assert is_store == transport._is_store(str(tmp_path))
    assert not transport._is_store(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_is_no_certificate_is_named(
    content: str | None, tmp_path: Path
) -> None:
    """A file that is missing, or holds something else, is a setting to be mended."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    way = Route(ca_path=str(path), ca_source="REQUESTS_CA_BUNDLE")
    with pytest.raises(ConfigError, match="REQUESTS_CA_BUNDLE") as caught:
        context(way)
    assert "check REQUESTS_CA_BUNDLE" == caught.value.hint
