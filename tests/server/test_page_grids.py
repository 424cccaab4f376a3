"""The page's grids and the forms that follow what the server says, in a real Chromium. Skipped where there is none."""

import time

from live import PROMPT, opened

SHOWN = "return document.querySelector(`[id='${arguments[0]}'] .labelled img`)?.naturalWidth > 0"


def put(page, **fields) -> None:
    for label, value in fields.items():
        page.put(label, value, "#grids")


def axes(page, **given: tuple[str, str]) -> None:
    """x=("steps", "1, 2"): a name and a line of values for each."""
    for letter, (name, line) in given.items():
        label = {"x": "X, columns", "y": "Y, rows", "z": "Z, sheets"}[letter]
        put(page, **{label: name, f"Values of {letter.upper()}": line})


def begun(page, server) -> str:
    """The id of the grid that the form asks for. The server says what was there: the page may not have read its history yet."""
    known = {grid["id"] for grid in server.get("/v1/grids")[2]["data"]}
    shown = "return [...document.querySelectorAll('#sheets > .card')].map((c) => c.id)"
    page.press("#grid-go")
    return page.until(lambda: next((id for id in page.js(shown) if id not in known), None), "a grid")


def state(page, id: str) -> str:
    return page.text(f"[id='{id}'] .state")


def choose(page, which: str, value: str) -> None:
    page.js("const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))", which, value)


def test_a_grid_is_drawn_and_stays(page, server, tmp_path):
    page.press("#tab-grids")
    assert page.value("X, columns", "#grids") == "seed" and page.value("Values of X", "#grids") == "1-4", "something to begin with"
    put(page, Prompt=PROMPT, Seed=5)
    axes(page, x=("steps", "2, 3"), y=("guidance", "1，2.5"), z=("solver", "ddim, heun"))
    id = begun(page, server)
    page.until(lambda: state(page, id) == "8 of 8: done", "all cells")
    told = server.get(f"/v1/grids/{id}")[2]
    assert [(a["name"], a["values"]) for a in told["axes"].values()] == [
        ("steps", [2, 3]), ("guidance", [1, 2.5]), ("solver", ["ddim", "heun"]),
    ]  # fmt: skip
    size = opened(server.get(f"/v1/grids/{id}/picture")[2]).size
    assert size[0] > 2 * 128 and size[1] > 4 * 128
    measure = "const i = document.querySelector(`[id='${arguments[0]}'] .labelled img`); return [i.naturalWidth, i.naturalHeight, i.width]"
    page.until(lambda: page.js(SHOWN, id) and page.js(measure, id) == [*size, size[0]], "its picture, as large as it is")
    page.open(f"{server.url}/?#grids")
    page.until(lambda: page.js(SHOWN, id), "it after a reload")
    assert state(page, id) == "8 of 8: done" and PROMPT in page.text(f"[id='{id}'] .note")
    put(page, Prompt=PROMPT)
    axes(page, x=("steps", "2, 5000"))
    page.press("#grid-go")
    assert "are too many; at most 200" in page.until(lambda: page.text("#grid-said"), "what is wrong")
    assert all("400 (Bad Request)" in error for error in page.errors())  # which the browser says of itself
    for theme in ("light", "dark"):
        choose(page, "theme", theme)
        page.driver.save_screenshot(tmp_path / f"{theme}.png")
    choose(page, "language", "zh")
    assert (page.text("#tab-grids"), page.text("#grid-go"), state(page, id)) == ("格子图", "画格子图", "8/8：完成")
    assert page.value("Y，行", "#grids") == "" and "X 的取值" in page.text("#grids")
    page.driver.save_screenshot(tmp_path / "chinese.png")


def test_a_grid_is_stopped_and_goes_on(page, server):
    page.press("#tab-grids")
    put(page, Prompt=PROMPT, Steps=50)
    axes(page, x=("eta", "0, 0.3, 0.6"))
    id = begun(page, server)
    page.press(f"[id='{id}'] [data-act=cancel]")
    page.until(lambda: "cancelled" in state(page, id), "its end")
    page.press(f"[id='{id}'] [data-act=resume]")
    page.until(lambda: state(page, id) == "3 of 3: done" and page.js(SHOWN, id), "all of it")
    assert not page.js("return document.querySelector(`[id='${arguments[0]}'] [data-act=resume]`)", id)


def quick(server, count: int) -> list[str]:
    """Grids of one cell, all drawn."""
    ask = {"model": "free", "steps": 1}
    ids = [server.post("/v1/grids", {**ask, "axes": {"x": {"name": "seed", "values": [k]}}})[2]["id"] for k in range(count)]
    end = time.monotonic() + 60
    while any(not server.get(f"/v1/grids/{id}")[2]["counts"]["done"] for id in ids):
        assert time.monotonic() < end
        time.sleep(0.1)
    return ids


def shown(page) -> list[str]:
    return page.js("return [...document.querySelectorAll('#sheets > .card')].map((c) => c.id)")


def test_older_grids_come_at_a_key(page, server):
    from selenium.webdriver.common.keys import Keys

    ids = quick(server, 13)[::-1]
    page.open(f"{server.url}/?#grids")
    page.until(lambda: shown(page) == ids[:12], "the newest page")
    button = page.one("#older-grids")
    assert button.is_displayed() and button.accessible_name == "Older grids"
    button.send_keys(Keys.ENTER)
    page.until(lambda: shown(page)[:13] == ids, "the page before")
    while button.is_displayed():
        count = len(shown(page))
        button.send_keys(Keys.ENTER)
        page.until(lambda: len(shown(page)) > count, "one more")  # noqa: B023 (called at once)
    assert shown(page) == [grid["id"] for grid in server.get("/v1/grids?limit=200")[2]["data"]], "in the end, all of them"


def test_a_grid_is_deleted_by_key_once_it_has_asked(page, server):
    from selenium.webdriver.common.keys import Keys

    other, id = quick(server, 2)
    (job,) = [cell["job"] for cell in server.get(f"/v1/grids/{id}")[2]["cells"]]
    page.open(f"{server.url}/?#grids")
    page.until(lambda: page.js(SHOWN, id) and page.js(SHOWN, other), "their pictures")
    page.until(lambda: job in [c["id"] for c in page.cards()], "the cell's picture in the gallery")
    button = page.one(f"[id='{id}'] [data-act=delete]")
    button.send_keys(Keys.ENTER)
    assert button.text == "Delete this and its pictures?"
    button.send_keys(Keys.TAB)
    assert button.text == "Delete" and server.get(f"/v1/grids/{id}")[0] == 200, "looking elsewhere takes the question back"
    choose(page, "language", "zh")
    button.send_keys(Keys.ENTER)
    assert button.text == "删除这一项和它的图片吗？"
    button.send_keys(Keys.ENTER)
    page.until(lambda: id not in shown(page) and job not in [c["id"] for c in page.cards()], "it to go, there and in the gallery")
    assert server.get(f"/v1/grids/{id}")[0] == 404 and other in shown(page)
    assert server.ask("DELETE", f"/v1/grids/{other}")[0] == 200
    page.press("#tab-grids")  # which looks at once
    page.until(lambda: other not in shown(page), "what was deleted elsewhere to go too")
    slow = server.post("/v1/grids", {"prompt": PROMPT, "steps": 200, "axes": {"x": {"name": "guidance", "values": [1, 2, 3, 4]}}})[2]["id"]
    page.press("#tab-grids")
    page.until(lambda: slow in shown(page), "another one")
    offered = "return [...document.querySelectorAll(`[id='${arguments[0]}'] .buttons > *`)].map((b) => b.dataset.act)"
    assert len({"cancel", "delete"} & set(page.js(offered, slow))) == 1, "what goes on is cancelled first"
    page.until(lambda: "delete" in page.js(offered, slow), "its end")


def test_forms_offer_what_there_is_and_bound_what_they_take(page, server):
    field = """const label = [...document.querySelectorAll('#draw label')].find((l) => l.textContent === arguments[0]);
        return document.getElementById(label.htmlFor)"""
    bounds = [page.js(f"{field}[arguments[1]]", *of) for of in (("Pictures", "max"), ("Steps", "max"), ("Prompt", "maxLength"))]
    assert bounds == ["10", "200", 4000] and page.js(f"{field}.options.length", "Solver") == 9, "eight solvers, and another"
    for size, fits in {"9000x9000": False, "64x64": True, "": True}.items():
        page.put("Size", size)
        assert page.js(f"{field}.validity.valid", "Size") is fits
    other = "return document.querySelector('#draw [placeholder^=diffusers]')"
    assert not page.js(other).is_displayed()
    page.press("#draw summary")
    page.put("Solver", "")
    field = page.js(other)
    assert field.is_displayed() and field.accessible_name == "another"
    field.send_keys("diffusers:DDIM")
    page.put("Prompt", PROMPT)
    card = page.begun(server, lambda: page.press("#go"))
    page.until(lambda: page.text("#said") == "Sent.", "a word of it")
    assert card["title"] == PROMPT
    page.press("#tab-train")
    chosen = page.until(lambda: page.value("Recipe", "#train"), "the recipes")
    assert chosen == "diffusion" and page.js("return document.querySelector('#train select').options.length") > 30
