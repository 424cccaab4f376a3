"""The page in a real Chromium. Skipped where there is none."""

import base64
import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from inkwash.inference.provenance.exif import with_comment
from inkwash.inference.provenance.write import encode
from live import PROMPT, Server, opened, png

FACTS = {
    "model": "reader",
    "prompt": "a picture 水墨, number 3",
    "seed": 77,
    "steps": 5,
    "guidance": 2.5,
    "negative": "dark",
    "size": "8x8",
}
A1111 = (
    "a castle, (ink:1.2)\non a hill\nNegative prompt: blurry, text\n"
    "Steps: 23, Sampler: Euler a, CFG scale: 6.5, Seed: 1234567, Size: 8x8, Model hash: 6ce0161689, Model: deliberate_v2, "
    'Lora hashes: "a: 1, b: 2"'
)
SLOW = {"prompt": "slow", "n": 10, "steps": 200}
ASYNC = {"Prefer": "respond-async"}


def ended(page, id: str) -> dict:
    return page.until(
        lambda: next((c for c in page.cards() if c["id"] == id and c["state"] in ("done", "cancelled")), None), f"the end of {id}"
    )


def drawn(page, server) -> dict:
    page.put("Prompt", PROMPT)
    page.put("Steps", 2)
    return ended(page, page.begun(server, lambda: page.press("#go"))["id"])


def delete(page, id: str) -> None:
    """Pressed once the button asks, and pressed again it does."""
    page.press(f"#{id} [data-act=delete]")
    assert page.text(f"#{id} [data-act=delete]") == "Delete this and its pictures?"
    page.press(f"#{id} [data-act=delete]")


def slow(server, times: int) -> list[str]:
    """Jobs that take a while, one after the other: a preview keeps each from being drawn together with others."""
    return [server.post("/v1/images/generations", {**SLOW, "partial_images": 1}, headers=ASYNC)[2]["id"] for _ in range(times)]


def cancel(server, ids: list[str]) -> None:
    for id in ids[::-1]:
        server.post(f"/v1/jobs/{id}/cancel")


def test_a_prompt_becomes_a_picture(page, server):
    from selenium.webdriver.common.keys import Keys

    page.one("#draw textarea").send_keys(PROMPT)
    page.put("Steps", 3)
    page.put("Pictures", 2)
    id = page.begun(server, lambda: page.one("#draw textarea").send_keys(Keys.CONTROL, Keys.ENTER))["id"]
    card = ended(page, id)
    assert card["title"] == PROMPT and len(card["pictures"]) == 2 and all(url.startswith(server.url) for url in card["pictures"])
    page.until(lambda: page.widths(id) == [8, 8], "pixels")
    job = server.get(f"/v1/jobs/{id}")[2]
    assert job["asked"]["options"] == {"steps": 3} and job["asked"]["n"] == 2
    page.press(f"#{id} .tile")
    assert "Seed" in page.text("#view dl") and page.js("return document.querySelector('#view a').download").endswith(".png")
    page.one("#view").send_keys(Keys.ESCAPE)
    assert not page.js("return document.querySelector('#view').open")
    delete(page, id)
    page.until(lambda: id not in [c["id"] for c in page.cards()], "it to go")


def test_what_the_server_refuses_is_told_beside_the_form(page):
    page.put("Prompt", "x")
    page.put("Steps", 999)
    page.press("#go")
    said = page.until(lambda: page.text("#said"), "a message")
    assert "at most 200" in said and page.one("#said").get_attribute("role") == "status"
    assert all("400 (Bad Request)" in error for error in page.errors())  # which the browser says of itself


def test_a_reload_in_the_middle_of_a_job_loses_nothing(page, server):
    ids = slow(server, 8)
    try:
        page.until(lambda: any(c["id"] in ids and c["state"] == "running" for c in page.cards()), "a job that runs")
        page.open(server.url)
        assert server.get(f"/v1/jobs/{ids[-1]}")[2]["state"] in ("queued", "running"), "the reload was in the middle"
        running = page.until(lambda: next((c for c in page.cards() if c["id"] in ids and 0 < c["value"] < 1), None), "progress")
        now = lambda: next(c for c in page.cards() if c["id"] == running["id"])  # noqa: E731
        page.until(lambda: now()["value"] > running["value"] or now()["state"] == "done", "more progress, without another reload")
        page.press(f"#{ids[-1]} [data-act=cancel]")
        assert ended(page, ids[-1])["state"] == "cancelled"
        assert page.js("return document.querySelector(`#${arguments[0]} [data-act=retry]`) !== null", ids[-1])
    finally:
        cancel(server, ids)
    for id in ids:
        assert ended(page, id)["state"] in ("done", "cancelled")


def test_a_reload_finds_what_runs_behind_a_long_queue(page, server):
    ids = slow(server, 32)
    try:
        page.open(server.url)
        left = {j["id"] for state in ("running", "queued") for j in server.get(f"/v1/jobs?limit=200&state={state}")[2]["data"]}
        assert len(left) > 24, "more than a page"
        page.until(lambda: left <= {c["id"] for c in page.cards()}, "all that is open")
        page.until(lambda: any(c["id"] in ids[:8] and c["value"] > 0 for c in page.cards()), "what runs, and is followed")
    finally:
        cancel(server, ids)
    page.until(lambda: not any(c["state"] in ("queued", "running") for c in page.cards()), "the end of all")


def test_two_tabs_agree(page, server):
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    second = page.driver.current_window_handle
    try:
        page.open(server.url)
        page.driver.switch_to.window(first)
        page.put("Prompt", "seen twice")
        page.put("Steps", 150)
        page.press("#go")
        card = page.until(lambda: next((c for c in page.cards() if c["title"] == "seen twice"), None), "it in the first tab")
        page.driver.switch_to.window(second)
        page.until(lambda: card["id"] in [c["id"] for c in page.cards()], "it in the second tab")
        there = ended(page, card["id"])
        page.driver.switch_to.window(first)
        assert ended(page, card["id"]) == there and len(there["pictures"]) == 1
        delete(page, card["id"])
        page.driver.switch_to.window(second)
        page.until(lambda: card["id"] not in [c["id"] for c in page.cards()], "it to go in the other tab")
        assert not page.errors()
    finally:
        page.driver.switch_to.window(second)
        page.driver.close()
        page.driver.switch_to.window(first)


def mask_of(page) -> Image.Image:
    """What "Save mask" gives."""
    script = """const done = arguments[0], make = URL.createObjectURL;
    URL.createObjectURL = (blob) => {
      URL.createObjectURL = make;
      const reader = new FileReader();
      reader.onload = () => done(reader.result.split(",")[1]);
      reader.readAsDataURL(blob);
      return make(blob);
    };
    document.querySelector("#edit [data-act=exportMask]").click();"""
    return opened(base64.b64decode(page.driver.execute_async_script(script)))


def painted(page) -> set[tuple[int, int]]:
    mask = mask_of(page)
    assert mask.mode == "RGBA" and mask.size == (8, 8)
    return {(x, y) for x in range(8) for y in range(8) if mask.getpixel((x, y))[3] == 0}


def drag(page, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Paint with the mouse from one pixel of an 8x8 picture to another."""
    from selenium.webdriver.common.action_chains import ActionChains

    box = page.js("const b = document.querySelector('.sheet canvas').getBoundingClientRect(); return [b.left, b.top, b.width / 8]")
    stage = page.js(
        "const b = document.querySelector('.stage').getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]"
    )
    far = [[box[i] + (p[i] + 0.5) * box[2] - stage[i] for i in range(2)] for p in (start, end)]
    hand = ActionChains(page.driver, duration=80).move_to_element_with_offset(page.one(".stage"), *map(round, far[0])).click_and_hold()
    hand.move_by_offset(*(round(b) - round(a) for a, b in zip(*far))).release().perform()


def test_a_mask_is_drawn_with_the_mouse(page, server):
    from selenium.webdriver.common.keys import Keys

    page.press("#tab-edit")
    page.drop("red.png", "image/png", png(), "#edit")
    page.until(lambda: page.js("return document.querySelector('.paint').width === 8"), "the picture")
    page.js("const s = document.querySelector('.bar input[type=range]'); s.value = 1; s.dispatchEvent(new Event('input'))")
    drag(page, (1, 2), (5, 2))
    row = {(x, 2) for x in range(1, 6)}
    assert painted(page) == row
    shown = page.js("""const c = document.querySelector('.paint');
        return [...c.getContext('2d').getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 3 && _ > 0).length""")
    assert shown == len(row)
    drag(page, (3, 4), (3, 6))
    column = {(3, y) for y in range(4, 7)}
    page.press("[data-act=eraser]")
    drag(page, (1, 2), (2, 2))
    left = (row | column) - {(1, 2), (2, 2)}
    assert painted(page) == left
    stage = page.one(".stage")
    stage.send_keys(Keys.CONTROL, "z")
    assert painted(page) == row | column
    stage.send_keys(Keys.CONTROL, Keys.SHIFT, "z")
    assert painted(page) == left
    stage.send_keys("i")
    assert len(painted(page)) == 64 - len(left)
    stage.send_keys(Keys.CONTROL, "z")
    page.put("Prompt", PROMPT, "#edit")
    assert painted(page) == left, "the mask stays when the prompt changes"
    page.put("Steps", 2, "#edit")
    card = page.begun(server, lambda: page.press("#edit-go"))
    made = opened(server.get(ended(page, card["id"])["pictures"][0])[2]).convert("RGB")
    kept = {(x, y) for x in range(8) for y in range(8) if made.getpixel((x, y)) == (200, 30, 30)}
    assert kept >= {(x, y) for x in range(8) for y in range(8)} - left and not left <= kept


def test_a_mask_is_drawn_with_the_keyboard_and_read_from_a_file(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.press("#tab-edit")
    page.drop("red.png", "image/png", png(), "#edit")
    page.until(lambda: page.js("return document.querySelector('.paint').width === 8"), "the picture")
    stage = page.one(".stage")
    stage.send_keys("[")  # an eighth of the picture is one pixel already
    stage.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ENTER, Keys.ARROW_RIGHT, Keys.ENTER)
    assert painted(page) == {(3, 3), (4, 3)}
    page.press("[data-act=clear]")
    assert painted(page) == set()
    given = Image.new("L", (8, 8))
    given.paste(255, (6, 6, 8, 8))
    out = io.BytesIO()
    given.save(out, "PNG")
    script = """const files = new DataTransfer(), input = document.querySelector('.mask input[type=file]');
    files.items.add(new File([Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0))], 'm.png', { type: 'image/png' }));
    input.files = files.files; input.dispatchEvent(new Event('change'))"""
    page.js(script, base64.b64encode(out.getvalue()).decode())
    page.until(lambda: "6 %" in page.text(".mask > .note"), "the mask to be read")
    assert painted(page) == {(6, 6), (7, 6), (6, 7), (7, 7)}
    page.press("[data-act=zoomIn]")
    drag(page, (3, 3), (3, 3))
    assert (3, 3) in painted(page), "closer, the pointer still finds its pixel"
    corner = "const b = document.querySelector('.sheet canvas').getBoundingClientRect(); return [b.left, b.top, b.width]"
    before = page.js(corner)
    page.js("document.querySelector('.stage').dispatchEvent(new WheelEvent('wheel', { deltaY: 300, clientX: 300, clientY: 400 }))")
    assert page.js(corner)[2] < before[2]
    stage.send_keys("0")
    fitted, before = page.js(corner), painted(page)
    hand = ActionChains(page.driver, duration=80).move_to_element(stage).key_down(Keys.SPACE)
    hand.click_and_hold().move_by_offset(40, 25).release().key_up(Keys.SPACE).perform()
    moved = page.js(corner)
    assert [round(m - f) for m, f in zip(moved, fitted)] == [40, 25, 0] and painted(page) == before
    beyond = """const [a, b] = ['.stage', '.ring'].map((q) => document.querySelector(q).getBoundingClientRect());
    const [x, y] = [b.left + b.width / 2, b.top + b.height / 2];
    return x < a.left - 2 || y < a.top - 2 || x > a.right + 2 || y > a.bottom + 2"""
    page.js("document.querySelector('.stage').dispatchEvent(new WheelEvent('wheel', { deltaY: -3000, clientX: 300, clientY: 400 }))")
    hand = ActionChains(page.driver, duration=80).move_to_element(stage).key_down(Keys.SPACE)
    hand.click_and_hold().move_by_offset(-180, -120).release().key_up(Keys.SPACE).perform()
    before = page.js(corner)
    stage.send_keys(*[Keys.ARROW_LEFT] * 8, *[Keys.ARROW_UP] * 8)
    assert not page.js(beyond) and page.js(corner)[:2] != before[:2], "the view follows the brush"


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_picture_of_ours_gives_its_settings_back(page, form):
    page.drop(f"ours.{form}", f"image/{form}", encode(Image.new("RGB", (8, 8), "red"), FACTS, form))
    page.until(lambda: f"ours.{form}" in page.text("#said"), "the settings")
    found = {label: page.value(label) for label in ("Model", "Prompt", "Seed", "Steps", "Guidance", "Not in the picture", "Size")}
    assert list(found.values()) == ["reader", FACTS["prompt"], "77", "5", "2.5", "dark", ""]


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_picture_of_another_program_gives_its_settings_too(page, form):
    info, out = PngInfo(), io.BytesIO()
    info.add_text("parameters", A1111)
    more = {"pnginfo": info} if form == "png" else {"exif": b"Exif\0\0" + with_comment(A1111)}
    Image.new("RGB", (8, 8)).save(out, form.upper(), **more)
    page.drop(f"castle.{form}", f"image/{form}", out.getvalue())
    said = page.until(lambda: page.text("#said"), "the settings")
    found = [page.value(label) for label in ("Prompt", "Not in the picture", "Steps", "Guidance", "Seed")]
    assert found == ["a castle, (ink:1.2)\non a hill", "blurry, text", "23", "6.5", "1234567"]
    assert "deliberate_v2" in said.partition("Not known here")[2] and page.value("Model") == "reader"
    page.drop("plain.png", "image/png", png())
    page.until(lambda: "plain.png does not say" in page.text("#said"), "what a picture without settings says")


def test_both_languages_and_both_themes(page, server):
    assert page.js("return document.documentElement.lang") == "en" and page.text("#tab-draw") == "Draw"
    page.js("const s = document.getElementById('language'); s.value = 'zh'; s.dispatchEvent(new Event('change'))")
    page.js("const s = document.getElementById('theme'); s.value = 'dark'; s.dispatchEvent(new Event('change'))")
    assert (
        page.js("return document.documentElement.lang") == "zh-Hans"
        and page.text("#go") == "作画"
        and page.text("#gallery-title") == "画廊"
    )
    page.open(server.url)
    assert page.text("#tab-train") == "训练" and page.js("return getComputedStyle(document.body).colorScheme") == "dark"
    page.put("提示词", PROMPT)
    page.put("步数", 2)
    page.press("#go")
    page.until(lambda: page.text("#said") == "已提交。", "a word of it")
    page.js("localStorage.clear()")
    agent = page.js("return navigator.userAgent")
    try:
        page.cdp("Network.setUserAgentOverride", userAgent=agent, acceptLanguage="zh-CN,en")
        page.open(server.url)
        assert page.text("#tab-edit") == "修改", "the reader's own language, unless another is chosen"
    finally:
        page.cdp("Network.setUserAgentOverride", userAgent=agent, acceptLanguage="en-US")


def test_every_control_has_a_name_and_nothing_is_too_wide_for_a_telephone(page, server):
    from selenium.webdriver.common.keys import Keys

    drawn(page, server)
    page.cdp("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=False)
    try:
        for tab in ("draw", "edit", "grids", "tools", "train"):
            page.press(f"#tab-{tab}")
            assert page.js("return document.documentElement.scrollWidth") <= 360, tab
            controls = page.driver.find_elements(
                "css selector", f"header button, header select, #{tab} :is(input, select, textarea, button)"
            )
            nameless = [c.get_attribute("outerHTML")[:120] for c in controls if c.is_displayed() and not c.accessible_name.strip()]
            assert len(controls) > 8 and not nameless, tab
    finally:
        page.cdp("Emulation.clearDeviceMetricsOverride")
    page.press("#tab-draw")
    page.one("#tab-draw").send_keys(Keys.ARROW_RIGHT)
    assert page.js("return document.activeElement.id") == "tab-edit" and page.one("#edit").is_displayed()


def test_the_tools_take_a_picture_from_the_gallery(page, server):
    def pressed(selector: str) -> str:
        return page.begun(server, lambda: page.press(selector))["id"]

    card = drawn(page, server)
    page.press(f"#{card['id']} .tile")
    told = ended(page, pressed("#view [data-act=caption]"))
    assert server.get(f"/v1/jobs/{told['id']}")[2]["kind"] == "caption" and told["title"] and not told["pictures"]
    page.press(f"#{card['id']} .tile")
    larger = pressed("#view [data-act=upscale]")  # by interpolation: no model here enlarges
    page.until(lambda: page.widths(larger) == [32], "four times the size")
    page.drop("a.png", "image/png", png((24, 16)), "#tool-style .slot:nth-child(1)")
    page.drop("b.png", "image/png", png((20, 20), colour=(0, 90, 200)), "#tool-style .slot:nth-child(2)")
    page.put("Steps", 2, "#tool-style")
    styled = pressed("#tool-style .main")
    page.until(lambda: page.widths(styled) == [24], "the painted photograph")


@pytest.mark.slow
def test_a_training_is_begun_and_watched(page):
    page.press("#tab-train")
    page.until(lambda: page.js("return document.querySelectorAll('#train select')[0].options.length > 1"), "what may be trained on")
    for recipe, asks in (("plan", {"Learn from"}), ("text", {"Learn from", "After the plans of"}), ("vae", set())):
        page.put("Recipe", recipe, "#train")
        rows = "return [...document.querySelectorAll('#train .field:not([hidden]) label')].map((l) => l.textContent)"
        assert {"Begin from"} | asks == {"Begin from", "Learn from", "After the plans of"} & set(page.js(rows))
    for label, value in {"Recipe": "vae", "Name": "lesson", "Data": "digits", "Steps": 40}.items():
        page.put(label, value, "#train")
    small = ("train.batch = 4", "train.precision = fp32", "train.samples = 4", "train.log_every = 0.1", "model.net.width = 4")
    page.put("Further settings", "\n".join(small), "#train")
    page.press("#train-go")
    page.until(lambda: page.js("return document.querySelector('#lessons svg circle') !== null"), "a curve")
    page.until(lambda: page.js("return document.querySelector('#lessons img')?.naturalWidth > 0"), "samples")
    page.until(
        lambda: "lesson" in page.js("return [...document.querySelectorAll('#draw select option')].map((o) => o.value)"), "it to be served"
    )


def test_a_server_with_a_key_is_asked_for_it(chrome, models, tmp_path):
    running = Server(tmp_path, [models["free"]], key="a key of more than 16".replace(" ", "-"))
    try:
        chrome.driver.get(running.url)
        for given in ("wrong", running.key):
            chrome.until(lambda: chrome.js("return document.getElementById('lock').open"), "the question")
            chrome.js("document.getElementById('lock-key').value = arguments[0]", given)
            chrome.press("#lock button")
        chrome.until(lambda: chrome.js("return document.querySelector('#draw-form select').options.length === 1"), "the models")
        assert chrome.js("return Object.values(sessionStorage)").count(running.key) == 1
        assert running.key not in str(chrome.js("return {...localStorage}")) + chrome.js("return document.cookie")
        chrome.press("#go")
        chrome.until(lambda: any(c["pictures"] for c in chrome.cards()), "a picture")
    finally:
        chrome.driver.get("about:blank")
        running.stop()
        chrome.errors()
