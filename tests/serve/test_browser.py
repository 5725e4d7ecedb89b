"""The page of the endpoint in a real browser: what a person sees, and can do."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgresp.serve import daemon
from tests.serve.browser import chromium, keys, look
from tests.serve.endpoints import (
    Connect,
    Launch,
    Serve,
    Served,
    create,
    poll,
    wait_until,
)

pytestmark = [pytest.mark.proof, pytest.mark.timeout(240)]
TAB, ENTER = "\ue004", "\ue007"
HOSTILE = (
    "<img/src=x/onerror=document.title='owned'> "
    "<script>document.title='owned'</script> "
    "</pre><iframe/src=javascript:alert(1)> \u202egnp.exe <b>bold</b>"
)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def page(window: Any) -> Iterator[Any]:
    """Lend the browser; a script error or a breach of the policy fails the test."""
    look(window)
    yield window
    complaints = [
        entry["message"]
        for entry in window.get_log("browser")
        if "Failed to load resource" not in entry["message"]
    ]
    assert [] == complaints
    window.get("about:blank")


def home(served: Served) -> str:
    return served.base_url.removesuffix("v1")


def row(driver: Any, job_id: str) -> Callable[[str], Any]:
    """Return what finds a part of a job's row, or None while it is not there."""

    def part(selector: str) -> Any:
        found = driver.find_elements(
            "css selector", f'[data-id="{job_id}"] {selector}'.strip()
        )
        return found[0] if found else None

    wait_until(lambda: part(""))
    return part


def text(driver: Any, selector: str) -> str:
    found: str = driver.find_element("css selector", selector).text
    return found


def shot(driver: Any, name: str) -> None:
    """Keep a picture for a person where PICTURES names a folder."""
    if folder := os.environ.get("PICTURES"):
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_a_job_is_seen_growing_and_cancelled_by_a_click(
    page: Any, served: Served
) -> None:
    """A job appears, its text grows while it runs, and a click on Cancel ends it."""
    page.get(home(served))
    wait_until(lambda: page.find_element("id", "none").is_displayed())
    sdk = served.sdk()
    first = create(sdk, "hold")
    part = row(page, first.id)
    wait_until(lambda: part(".tail").text == "first")
    part("summary").click()
    wait_until(lambda: part(".answer").text.strip() == "first")
    assert "in progress" == part(".status").text
    served.engine.released.set()
    wait_until(lambda: part(".answer").text == "first second")
    wait_until(lambda: "completed" == part(".status").text)
    assert not part(".cancel").is_displayed()
    assert "demo · " in part(".facts").text
    assert "2 tokens" in part(".facts").text
    served.engine.released.clear()
    second = create(sdk, "hold")
    part = row(page, second.id)
    wait_until(lambda: part(".cancel").is_displayed())
    assert f"Cancel {second.id}" == part(".cancel").get_attribute("aria-label")
    part(".cancel").click()
    wait_until(lambda: "cancelled" == part(".status").text)
    assert "cancelled" == poll(sdk, second.id).status
    assert "0 running · 0 waiting · 2 ended" == text(page, "#counts")


def test_the_keyboard_is_enough(page: Any, served: Served) -> None:
    """Tab and Enter reach and work everything; the focus stays when a row moves."""
    sdk = served.sdk()
    job = create(sdk, "hold")
    page.get(home(served))
    part = row(page, job.id)
    wait_until(lambda: part(".tail").text == "first")
    keys(page, TAB)
    assert page.switch_to.active_element == part("summary")
    outline = part("summary").value_of_css_property("outline-style")
    assert "solid" == outline
    keys(page, ENTER)
    wait_until(lambda: part(".answer").is_displayed())
    keys(page, TAB)
    assert page.switch_to.active_element == part(".answer")
    keys(page, TAB)
    assert page.switch_to.active_element == part(".cancel")
    keys(page, ENTER)
    wait_until(lambda: "cancelled" == part(".status").text)
    assert page.switch_to.active_element == part("summary")


def test_a_hostile_answer_is_text(
    page: Any, launch: Launch, connect: Connect, state: Path
) -> None:
    """An answer, a prompt, a model's or a tenant's name that is markup is shown as it is."""
    launch("--pace", "0.001")
    running = daemon.find(state)
    assert running is not None
    sdk = connect(state).with_options(default_headers={"x-on-behalf-of": "<b>eve</b>"})
    job = sdk.responses.create(model="<i>m</i>", input=HOSTILE, background=True)
    done = poll(sdk, job.id)
    page.get(daemon.page_url(running))
    part = row(page, job.id)
    part("summary").click()
    wait_until(lambda: part(".answer").is_displayed())
    wait_until(lambda: part(".answer").get_property("textContent") == done.output_text)
    assert "<script>" in done.output_text
    assert "<i>m</i> · " in part(".facts").text
    assert "for <b>eve</b>" in part(".facts").text
    assert "<img/src=x" in part(".prompt").text
    assert "bgresp" == page.title
    for tag in ("img", "iframe", "b", "i", "li script"):
        assert [] == page.find_elements("css selector", tag)
    for markup in ("innerHTML = '<b></b>'", "setAttribute('onclick', 'x')"):
        page.execute_script(f"try {{ document.body.{markup} }} catch {{}}")
    assert [] == page.find_elements("css selector", "b")
    page.get_log("browser")  # the policy said no to what the line above tried


def test_it_comes_back_with_the_server(
    page: Any, launch: Launch, connect: Connect, state: Path
) -> None:
    """After the server's restart the page goes on by itself, without a reload."""
    process = launch()
    running = daemon.find(state)
    assert running is not None
    old = create(connect(state), "before")
    page.get(daemon.page_url(running))
    part = row(page, old.id)
    page.execute_script("window.mark = 'the same page'")
    process.kill()
    process.wait()
    wait_until(lambda: "trying again" in text(page, "#trouble"))
    launch("--port", daemon.page_url(running).split(":")[-1].strip("/"))
    wait_until(lambda: "" == text(page, "#trouble"))
    new = create(connect(state), "after")
    row(page, new.id)
    assert part("") is not None
    assert "the same page" == page.execute_script("return window.mark")


def test_the_key_is_sent_as_a_header_alone(
    page: Any, launch: Launch, connect: Connect, state: Path
) -> None:
    """What `serve --open` opens shows the jobs, and the key is in no URL that is asked."""
    launch("--detached")
    running = daemon.find(state)
    assert running is not None
    assert running.key is not None
    job = create(connect(state), "x")
    page.get_log("performance")
    said: list[str] = []
    daemon.open_page(state, running, say=said.append)
    assert running.key not in "".join(said)
    page.get((state / "serve" / "open.html").as_uri())
    row(page, job.id)
    assert daemon.page_url(running) == page.current_url
    page.refresh()
    row(page, job.id)
    sent = [
        json.loads(entry["message"])["message"] for entry in page.get_log("performance")
    ]
    requests = [
        message["params"]["request"]
        for message in sent
        if message["method"] == "Network.requestWillBeSent"
    ]
    asked = [one for one in requests if one["url"].startswith("http")]
    assert len(asked) > 5
    for request in asked:
        assert request["url"].startswith(daemon.page_url(running))
        headers = {
            name: value
            for name, value in request["headers"].items()
            if name.lower() != "authorization"
        }
        assert running.key not in request["url"] + json.dumps(headers)


def test_without_the_key_it_asks(page: Any, serve: Serve) -> None:
    """Without a key, or with a wrong one, nothing is shown until the right one is given."""
    served = serve(key="se+cr%et")
    job = create(served.sdk(), "x")
    page.get(f"{home(served)}#key=wrong")
    wait_until(lambda: "does not know this key" in text(page, "#trouble"))
    assert [] == page.find_elements("css selector", ".job")
    page.find_element("id", "key").send_keys("se+cr%et", ENTER)
    row(page, job.id)
    assert not page.find_element("id", "locked").is_displayed()
    page.execute_script("sessionStorage.clear()")
    page.get(f"{home(served)}?#key=se%2Bcr%25et")
    row(page, job.id)


def test_it_is_whole_in_every_light(page: Any, serve: Serve) -> None:
    """Light and dark differ, and nothing is wider than a telephone or hard to hit there."""
    served = serve(count=1)
    sdk = served.sdk()
    poll(
        sdk, create(sdk, "Explain in one paragraph why the sky is blue, please " * 3).id
    )
    poll(sdk, create(sdk, "fail").id)
    poll(sdk, create(sdk, "Name three trees.", max_output_tokens=9).id)
    runs = create(sdk, "hold")
    poll(sdk, runs.id, "in_progress")
    waits = create(sdk, "word " * 400)
    sdk.responses.cancel(create(sdk, "hold").id)
    papers = set()
    for scheme in ("light", "dark"):
        for phone in (False, True):
            look(page, scheme=scheme, phone=phone)
            page.get(home(served))
            row(page, waits.id)
            row(page, runs.id)("summary").click()
            wait_until(lambda: text(page, "#running .answer").strip() == "first")
            page.execute_script("scrollTo(0, 0)")
            shot(page, f"{scheme}-{'phone' if phone else 'desk'}")
            papers.add(
                page.find_element("tag name", "body").value_of_css_property(
                    "background-color"
                )
            )
            wide, seen = page.execute_script(
                "return [document.documentElement.scrollWidth, innerWidth]"
            )
            assert wide <= seen
            for one in page.find_elements("css selector", "summary, .cancel"):
                assert one.size["height"] >= 44 or not one.is_displayed()
    assert 2 == len(papers)


def test_more_is_shown_when_asked(page: Any, served: Served) -> None:
    """Of many jobs that ended 50 are shown, and 50 more with each click."""
    sdk = served.sdk()
    for job in [create(sdk, f"job {n}") for n in range(60)]:
        poll(sdk, job.id)
    page.get(home(served))

    def shown(count: int) -> None:
        listed = "#ended > li"
        wait_until(lambda: count == len(page.find_elements("css selector", listed)))

    shown(50)
    page.find_element("id", "more").click()
    shown(60)
    wait_until(lambda: not page.find_element("id", "more").is_displayed())
