"""A real Chromium without a window, driven by Selenium and Debian's own driver."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

BROWSER: Final = shutil.which("chromium")
DRIVER: Final = shutil.which("chromedriver")
PHONE: Final = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}


@contextmanager
def chromium(place: Path) -> Iterator[Any]:
    """Lend a browser that keeps all it writes in `place`, and logs every request."""
    if BROWSER is None or DRIVER is None:
        pytest.skip("apt-get install chromium chromium-driver")
    pytest.importorskip("selenium", reason="pip install selenium")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = BROWSER
    # No sandbox: tests may be root. No proxy, no background traffic: only the page's.
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"),
        *("--no-proxy-server", "--disable-background-networking", "--disable-gpu"),
        f"--user-data-dir={place / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    place.mkdir(parents=True, exist_ok=True)
    service = Service(DRIVER, env={**os.environ, "HOME": str(place)})
    driver = Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def look(driver: Any, *, scheme: str = "light", phone: bool = False) -> None:
    """Let the page be seen as in a light or dark theme, on a desk or in a hand."""
    theme = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
    if phone:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    else:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def keys(driver: Any, *pressed: str) -> None:
    """Press keys where the focus is."""
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*pressed).perform()
