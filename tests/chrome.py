"""A real Chromium that drives the page: how it is started, and what tests wait for and look at."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BINARY, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--lang=en-US", "--accept-lang=en-US", "--window-size=1280,1000",
)  # fmt: skip
PATIENCE = 40.0  # seconds: the machine may be busy

DROP = """
const [name, type, text, where] = arguments;
const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const carried = new DataTransfer();
carried.items.add(new File([bytes], name, { type }));
const target = document.querySelector(where);
for (const kind of ["dragenter", "dragover", "drop"]) {
  target.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: carried }));
}
"""


class Chrome:
    """A browser at a server. Everything it asked for and said is kept."""

    def __init__(self, profile: Path):
        if BINARY is None or DRIVER is None:
            pytest.skip("Chromium and its driver are not installed: apt-get install chromium chromium-driver")
        options = webdriver.ChromeOptions()
        options.binary_location = BINARY
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.until(lambda: self.js("return document.querySelector('#draw-form select').options.length > 0"), "the models")

    def js(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def cdp(self, command: str, **values: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, values)

    def until(self, test: Callable[[], Any], what: str) -> Any:
        """What the test gives, once it is true."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(self.driver, PATIENCE, 0.05, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: test(), f"waited for {what}")

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def press(self, selector: str) -> None:
        self.js("document.querySelector(arguments[0]).click()", selector)

    def put(self, label: str, value: Any, inside: str = "#draw") -> None:
        """Type into the field of that label, as it is in the page's language."""
        script = """const label = [...document.querySelectorAll(arguments[0] + ' label')].find((l) => l.textContent === arguments[1]);
        const field = document.getElementById(label.htmlFor); field.value = arguments[2];
        for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true }));"""
        self.js(script, inside, label, str(value))

    def value(self, label: str, inside: str = "#draw") -> str:
        script = """const label = [...document.querySelectorAll(arguments[0] + ' label')].find((l) => l.textContent === arguments[1]);
        return document.getElementById(label.htmlFor).value"""
        return self.js(script, inside, label)

    def cards(self) -> list[dict[str, Any]]:
        """The gallery as it is shown."""
        return self.js("""return [...document.querySelectorAll('#jobs > .card')].map((c) => ({
            id: c.id, state: c.dataset.state, title: c.querySelector('.asked').textContent, told: c.querySelector('.state').textContent,
            value: c.querySelector('progress').value, pictures: [...c.querySelectorAll('button.tile img')].map((i) => i.src) }))""")

    def begun(self, server: Any, press: Callable[[], Any]) -> dict[str, Any]:
        """The card of the job that press() asks for. The server says what was there: the page may not have read its history yet."""
        known = {job["id"] for job in server.get("/v1/jobs?limit=200")[2]["data"]}
        press()
        return self.until(lambda: next((c for c in self.cards() if c["id"] not in known), None), "a card")

    def widths(self, id: str) -> list[int]:
        """Of a card's pictures, in pixels, 0 for one that is not there yet. Looked at: what is out of sight is not loaded at all."""
        return self.js(
            """const card = document.getElementById(arguments[0]); card.scrollIntoView();
            return [...card.querySelectorAll('button.tile img')].map((i) => i.complete ? i.naturalWidth : 0)""",
            id,
        )

    def drop(self, name: str, type: str, data: bytes, where: str = "body") -> None:
        self.js(DROP, name, type, base64.b64encode(data).decode(), where)

    def asked(self) -> set[str]:
        """Every address that was asked for since the last look."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
