"""What the page shows of trainings that begin and end while it looks: answers are held back, and it gets no second look for free."""

STAND_IN = """
const ask = window.fetch.bind(window), wait = window.setTimeout.bind(window);
const json = (value) => new Response(JSON.stringify(value), { headers: { "Content-Type": "application/json" } });
const whole = { allowed: true, recipes: ["vae"], sources: ["digits"] };
const { lessons } = Object.assign(window, { lessons: {}, held: null, hold: false, looks: 0 });
window.setTimeout = (act, ms, ...rest) => (ms < 10000 ? wait(act, ms, ...rest) : 0);  // else it looks again by itself, late
window.fetch = async (path, options = {}) => {
  const [, id] = path.match(/^\\/v1\\/(?:training|jobs)\\/(\\w+)/) ?? [];
  if (path === "/v1/training") {
    const data = Object.values(lessons).map(({ curve, samples, ...job }) => ({ ...job }));
    window.looks++;
    if (window.hold) await new Promise((done) => (window.held = done));
    return json({ ...whole, data });
  }
  if (!(id in lessons)) return ask(path, options);
  if (!path.endsWith("/cancel")) return json(lessons[id]);
  const point = { step: 2, figures: { loss: 1 } };  // it ends while it is told to stop
  Object.assign(lessons[id], { state: "done", finished: 5, curve: [...lessons[id].curve, point] });
  const { curve, samples, ...job } = lessons[id];
  return json(job);
};
"""
TELL = """
const [id, number, state, finished = null, error = null] = arguments;
const told = { id, number, state, finished, error, model: id, asked: { recipe: "vae" }, done: 1, total: 2 };
window.lessons[id] = { ...told, curve: [{ step: 1, figures: { loss: 2 } }], samples: [] };
"""


def look(page) -> None:
    """What makes the page look at once."""
    page.press("#tab-train")


def ready(page) -> None:
    """At the trainings, with a server that answers about them as the test says."""
    page.press("#tab-train")
    page.until(lambda: page.value("Recipe", "#train"), "the recipes")
    page.js(STAND_IN)
    look(page)
    page.until(lambda: page.js("return window.looks > 0"), "a look after which it waits to be told")


def shown(page) -> list[str]:
    return page.js("return [...document.querySelectorAll('#lessons > .card')].map((c) => c.id).filter((id) => id in window.lessons)")


def test_a_training_that_begins_while_the_page_looks_is_shown(page):
    ready(page)
    page.js("window.hold = true")
    look(page)
    page.until(lambda: page.js("return window.held !== null"), "a look whose answer is on its way")
    page.js(TELL, "late", 1, "done", 1)
    look(page)
    page.js("window.hold = false; window.held()")
    page.until(lambda: shown(page) == ["late"], "what that answer had not in it")


def test_a_training_that_ends_while_it_is_stopped_shows_its_last_point(page):
    ready(page)
    page.js(TELL, "short", 1, "running")
    look(page)
    points = "return document.querySelector('#short svg')?.getAttribute('aria-label')"
    page.until(lambda: page.js(points) == "Curve of loss, 1 points, now 2", "its curve")
    page.press("#short [data-act=stop]")
    page.until(lambda: page.js(points) == "Curve of loss, 2 points, now 1", "the end of its curve")
    assert page.text("#short .state") == "done"


def test_a_training_that_ended_the_same_way_again_is_looked_at_again(page):
    ready(page)
    page.js(TELL, "twice", 1, "failed", 1, "no")
    look(page)
    page.until(lambda: page.text("#twice .said") == "no", "why it failed")
    page.js(TELL, "twice", 1, "failed", 2, "no, again")
    look(page)
    page.until(lambda: page.text("#twice .said") == "no, again", "why it failed the second time")


def test_a_training_that_another_tab_began_is_shown(page):
    ready(page)
    page.js(TELL, "theirs", 1, "done", 1)
    page.js("new BroadcastChannel('inkwash').postMessage(null)")
    page.until(lambda: shown(page) == ["theirs"], "it")
