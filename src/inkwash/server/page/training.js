// Training: begun, watched while its curve grows, stopped. What was trained is served at once.

import { blob, get, local, post } from "./api.js";
import { Card, Cards } from "./cards.js";
import { $, field, h, name, plain, report, say } from "./dom.js";
import { ended, pause } from "./jobs.js";
import { t } from "./words.js";

const LOOK = 2000; // milliseconds between two looks at what is being trained
const WIDTH = 480;
const HEIGHT = 160;

const svg = (tag, given) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(given)) node.setAttribute(key, value);
  return node;
};

const short = (v) => (v === 0 || (Math.abs(v) >= 0.01 && Math.abs(v) < 1e5) ? String(Number(v.toPrecision(4))) : v.toExponential(2));

/** A curve of one figure over the steps. */
function plot(points, key) {
  const known = points.filter((p) => Number.isFinite(p.figures?.[key]));
  const values = known.map((p) => p.figures[key]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const last = Math.max(...known.map((p) => p.step), 1);
  const first = Math.min(...known.map((p) => p.step), last);
  const x = (step) => 6 + ((WIDTH - 12) * (step - first)) / (last - first || 1);
  const y = (v) => HEIGHT - 8 - (HEIGHT - 16) * (high > low ? (v - low) / (high - low) : 0.5);
  const at = known.map((p) => `${x(p.step).toFixed(1)},${y(p.figures[key]).toFixed(1)}`);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot" });
  for (const part of [0, 0.5, 1]) picture.append(svg("line", { x1: 0, x2: WIDTH, y1: 8 + part * (HEIGHT - 16), y2: 8 + part * (HEIGHT - 16), class: "grid" }));
  if (at.length > 1) picture.append(svg("polyline", { points: at.join(" "), class: "stroke" }));
  if (at.length) picture.append(svg("circle", { cx: at.at(-1).split(",")[0], cy: at.at(-1).split(",")[1], r: 4, class: "tip" }));
  return { picture, n: at.length, low, high, last, now: values.at(-1) };
}

/** What may be chosen: once, since it stays the same while the server runs. */
function choices(select, names, first = names[0]) {
  if (select.options.length) return;
  select.append(...names.map((name) => h("option", { value: name }, name)));
  select.value = first;
}

class Lesson extends Card {
  constructor(training, { id, model, asked }) {
    const figure = h("select", { name: "figure", hidden: true, onchange: () => this.draw() });
    const parts = { figure, plot: h("div", { class: "curve" }), axis: h("p", { class: "note axis" }), grid: h("div", { class: "samples" }) };
    super(id, ...Object.values(parts));
    Object.assign(this, parts, { training, samples: "" });
    plain(this.title, model);
    plain(this.model, asked.recipe);
  }

  /** What is not told anew, such as a curve, stays. */
  update(news) {
    const job = (this.job = { ...this.job, ...news });
    this.progress(!ended(job), job.total ? job.done / job.total : undefined);
    if (job.state === "running" && job.total) say(this.state, "percent", { n: Math.floor((100 * job.done) / job.total) });
    else say(this.state, job.state === "running" ? "training" : job.state);
    report(this.said, job.error ? new Error(job.error) : null);
    const known = Object.keys(job.curve?.at(-1)?.figures ?? {});
    if (known.length && known.length !== this.figure.options.length) {
      this.figure.replaceChildren(...known.map((key) => h("option", { value: key }, key)));
      this.figure.hidden = false;
    }
    this.draw();
    this.act(job);
    this.look(job.samples ?? []);
  }

  draw() {
    const { curve = [], model } = this.job;
    if (!this.figure.value) return;
    const { picture, n, low, high, last, now } = plot(curve, this.figure.value);
    if (!n) return;
    name(picture, "curve", { name: this.figure.value, n, value: short(now) });
    this.plot.replaceChildren(picture);
    this.axis.textContent = `${model}: ${short(now)}  (${short(low)} – ${short(high)}), ${last}`;
  }

  act(job) {
    const button = (key, verb) => this.button(key, async () => {
      this.update(await post(`/v1/jobs/${job.id}/${verb}`));
      this.training.stirred();
    });
    this.offer(!ended(job) && button("stop", "cancel"), ended(job) && job.state !== "done" && button("retry", "retry"));
  }

  /** The first and the latest sample grid. They need the key, so they are fetched and not linked. */
  async look(samples) {
    const shown = [...new Set([samples[0], samples.at(-1)])].filter(Boolean);
    if (shown.join() === this.samples) return;
    this.samples = shown.join();
    const pictures = await Promise.all(shown.map(async (url) => {
      const label = String(Number(url.split("/").at(-1).split(".")[0]));
      const image = h("img", { src: URL.createObjectURL(await blob(local(url))), class: "pixels", alt: t("sample", { name: label }) });
      return h("figure", {}, image, h("figcaption", {}, label));
    }));
    for (const old of this.grid.querySelectorAll("img")) URL.revokeObjectURL(old.src);
    this.grid.replaceChildren(...pictures);
  }
}

export class Training {
  constructor(jobs) {
    this.jobs = jobs;
    this.whole = new Map(); // when what is shown of a training to its last point had ended, by its id
    this.lessons = new Cards(h("ol", { class: "jobs", id: "lessons" }), (job) => new Lesson(this, job));
    this.visible = false;
    this.wake = () => {};
    this.recipe = h("select");
    this.data = h("select");
    this.title = h("input", { type: "text", autocomplete: "off", pattern: "[A-Za-z0-9][A-Za-z0-9_.\\-]*" });
    this.budget = h("input", { type: "text", value: "10m", autocomplete: "off" });
    this.steps = h("input", { type: "number", min: "1", "data-hint": "unset" });
    this.others = [["start"], ["teacher", "plan", "text"], ["plan", "text"]].map(([name, ...recipes]) => {
      const select = h("select", {}, h("option", { value: "", t: recipes.length ? "none" : "nothing" }));
      return { name, recipes, select, row: field({ t: name }, select) };
    }); // models that a training may be given; two of them only some recipes ask for
    this.settings = h("textarea", { rows: "2", "data-hint": "settingsHint", spellcheck: "false" });
    this.archive = h("input", { type: "file", accept: ".zip,application/zip" });
    this.said = h("p", { class: "said", role: "status" });
    this.off = h("p", { class: "note", t: "off", hidden: true });
    this.button = h("button", { class: "main", t: "begin", id: "train-go" });
    this.none = h("p", { class: "note", t: "noTrainings" });
    this.node = h("form", { class: "stack", novalidate: true }, this.off,
      h("div", { class: "row" }, field({ t: "recipe" }, this.recipe), field({ t: "name" }, this.title)),
      h("div", { class: "row" }, field({ t: "data" }, this.data), field({ t: "archive" }, this.archive)),
      h("div", { class: "row" }, field({ t: "budget" }, this.budget), field({ t: "steps" }, this.steps), ...this.others.map((o) => o.row)),
      h("details", {}, h("summary", { t: "more" }), field({ t: "settings" }, this.settings)),
      h("div", { class: "go" }, this.button), this.said, h("p", { class: "note", t: "trainNote" }));
    $("train").append(this.node, h("h2", { t: "trainings" }), this.none, this.lessons.list);
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.recipe.addEventListener("change", () => this.suit());
    document.addEventListener("visibilitychange", () => this.wake());
    jobs.addEventListener("elsewhere", () => this.wake());
    this.run();
  }

  models(all) {
    for (const { select } of this.others) {
      const chosen = select.value;
      select.replaceChildren(select.options[0], ...all.map((m) => h("option", { value: m.id }, m.id)));
      select.value = chosen;
    }
  }

  /** Only what the recipe asks for is shown. */
  suit() {
    for (const { recipes, row } of this.others) row.hidden = recipes.length > 0 && !recipes.includes(this.recipe.value);
  }

  show(visible) {
    this.visible = visible;
    if (visible) this.wake();
  }

  async begin() {
    report(this.said, null);
    this.button.disabled = true; // an archive may take long, and two of one name are refused
    try {
      const body = { recipe: this.recipe.value, name: this.title.value.trim(), data: this.data.value, settings: this.set() };
      if (this.archive.files[0]) body.data = (await post("/v1/training/archives", this.archive.files[0])).name;
      if (this.budget.value.trim() && !this.steps.value) body.budget = this.budget.value.trim();
      if (this.steps.value) body.steps = Number(this.steps.value);
      for (const { name, select, row } of this.others) if (select.value && !row.hidden) body[name] = select.value;
      const job = await post("/v1/training", body);
      this.put(job);
      report(this.said, { key: "sent" });
      this.stirred();
    } catch (error) {
      report(this.said, error);
    }
    this.button.disabled = false;
  }

  /** name = value, a line each; a value is JSON, or a word. */
  set() {
    const lines = this.settings.value.split("\n").filter((line) => line.trim());
    return Object.fromEntries(lines.map((line) => {
      const [, key, value] = line.match(/^\s*([\w.-]+)\s*=\s*(.+?)\s*$/) ?? [];
      if (!key) throw Object.assign(new Error(), { key: "badSetting", values: { line } });
      try {
        return [key, JSON.parse(value)];
      } catch {
        return [key, value];
      }
    }));
  }

  /** A training was begun or stopped from here. */
  stirred() {
    this.jobs.stirred();
    this.wake();
  }

  put(job) {
    this.lessons.put(job, job.number);
    this.none.hidden = true;
  }

  /** What is allowed, what is there, and curves of what is open or not yet known. */
  async refresh() {
    const page = await get("/v1/training");
    this.off.hidden = page.allowed;
    this.button.disabled ||= !page.allowed;
    choices(this.recipe, page.recipes, "diffusion");
    this.suit();
    choices(this.data, page.sources);
    for (const job of page.data) {
      if (ended(job) && this.whole.get(job.id) === job.finished) continue;
      const told = await get(`/v1/training/${job.id}`);
      this.put(told);
      this.whole.set(told.id, told.finished);
    }
    return page.data.some((job) => !ended(job));
  }

  async run() {
    for (;;) {
      const woken = new Promise((done) => (this.wake = done)); // by what comes while this looks, too
      let open = false;
      if (this.visible && !document.hidden) open = await this.refresh().catch(() => true);
      await Promise.race([pause(open ? LOOK : 5 * LOOK), woken]);
    }
  }
}
