// Grids: a picture for each combination of settings. Begun here, shown as the server's labelled picture while it fills, stopped, gone on with.

import { Axis, settings } from "./axis.js";
import { blob, events, get, post, remove } from "./api.js";
import { Card, Cards } from "./cards.js";
import { $, h, plain, report, say } from "./dom.js";
import { ModelForm } from "./form.js";
import { pause } from "./jobs.js";

const AXES = { x: "axisX", y: "axisY", z: "axisZ" };
const MISSING = ["failed", "interrupted", "cancelled"]; // states that can be gone on from
const PAGE = 12; // grids that are asked for at once
const LOOK = 1000; // milliseconds between two looks at a picture that fills

const open = (grid) => grid.counts.running + grid.counts.queued > 0;
const state = ({ counts }) => ["running", "queued", ...MISSING, "removed"].find((s) => counts[s] > 0) ?? "done";

class Sheet extends Card {
  constructor(grids, { id, axes, model, prompt }) {
    const words = Object.values(axes).map((axis) => `${axis.name}: ${axis.values.join(", ")}`);
    const image = h("img", { alt: words.join("; "), hidden: true });
    const frame = h("div", { class: "labelled", role: "group", tabindex: "0", "aria-label": words.join("; ") }, image);
    super(id, h("p", { class: "note" }, prompt ?? ""), frame);
    const load = h("a", { class: "button quiet", "data-act": "download", download: `inkwash-${id}.png`, t: "download", hidden: true });
    Object.assign(this, { grids, image, load, pictured: null, looking: false, near: false });
    plain(this.title, words.join(" × "));
    plain(this.model, model ?? "");
  }

  update(grid) {
    this.grid = grid;
    const { counts, cells } = grid;
    this.node.dataset.state = state(grid);
    this.progress(open(grid), counts.done / cells.length);
    say(this.state, "cells", { done: counts.done, n: cells.length, state: `$${state(grid)}` });
    const errors = [...new Set(cells.map((cell) => cell.error).filter(Boolean))];
    report(this.said, errors.length ? new Error(errors.join(" ")) : null);
    const button = (key, verb) => this.button(key, async () => {
      this.grids.put(await post(`/v1/grids/${grid.id}/${verb}`));
      this.grids.stirred();
    });
    this.offer(
      open(grid) && button("cancel", "cancel"),
      MISSING.some((s) => counts[s] > 0) && button("resume", "resume"),
      this.load,
      !open(grid) && this.deletion(() => this.grids.delete(this.grid)),
    );
    this.look();
  }

  /** The picture as it is by now, where it is near the window. It needs the key, so it is fetched and not linked. */
  async look() {
    const wanted = `${this.grid.counts.done} ${this.grid.counts.removed}`;
    if (!this.near || this.looking || this.pictured === wanted) return;
    this.looking = true;
    try {
      const url = URL.createObjectURL(await blob(`/v1/grids/${this.grid.id}/picture`));
      URL.revokeObjectURL(this.image.src);
      this.image.src = this.load.href = url;
      this.image.hidden = this.load.hidden = false;
      this.pictured = wanted;
      await pause(LOOK);
    } catch (error) {
      report(this.said, error);
    }
    this.looking = false;
    if (this.pictured === wanted) this.look(); // more may be there by now; after an error it waits for news
  }
}

export class Grids {
  constructor(jobs) {
    this.jobs = jobs;
    this.visible = false;
    this.wake = () => {};
    this.leave = new AbortController();
    this.axes = Object.fromEntries(Object.entries(AXES).map(([key, words]) => [key, new Axis(key, words)]));
    const axes = Object.values(this.axes).map((axis) => axis.node);
    this.form = new ModelForm("generate", h("div", { class: "axes" }, ...axes, h("p", { class: "note", t: "axesNote" })));
    this.said = h("p", { class: "said", role: "status", id: "grid-said" });
    this.button = h("button", { class: "main", t: "drawGrid", id: "grid-go" });
    this.trouble = h("p", { class: "said", role: "status" });
    this.none = h("p", { class: "note", t: "noGrids" });
    this.more = h("button", { type: "button", id: "older-grids", t: "olderGrids", hidden: true, onclick: () => this.older() });
    this.cards = new Cards(h("ol", { class: "jobs", id: "sheets" }), (grid) => this.sheet(grid));
    this.near = new IntersectionObserver((seen) => seen.forEach((entry) => this.approach(entry)), { rootMargin: "50%" });
    this.node = h("form", { class: "stack", novalidate: true }, this.form.node, h("div", { class: "go" }, this.button), this.said);
    $("grids").append(this.node, h("div", {}, h("h2", { t: "grids" }), this.trouble, this.none, this.cards.list, this.more));
    this.form.model.addEventListener("change", () => this.follow());
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    document.addEventListener("visibilitychange", () => this.attend());
    jobs.addEventListener("elsewhere", () => this.attend());
    this.run();
  }

  models(all, limits) {
    const first = !this.form.known.length;
    this.form.models(all, limits);
    this.follow();
    if (first) this.axes.x.choose("seed");
  }

  /** The axes follow the choice of the model. */
  follow() {
    if (!this.form.facts) return;
    const known = settings(this.form.facts, this.form.known.map((m) => m.id));
    for (const axis of Object.values(this.axes)) axis.offer(known);
  }

  async begin() {
    report(this.said, null);
    this.button.disabled = true; // a second press would be a second grid
    try {
      const told = Object.entries(this.axes).map(([key, axis]) => [key, axis.told()]);
      const axes = Object.fromEntries(told.filter(([, axis]) => axis));
      this.put(await post("/v1/grids", { ...this.form.values(), axes }));
      report(this.said, { key: "sent" });
      this.stirred();
    } catch (error) {
      report(this.said, error);
    }
    this.said.scrollIntoView({ block: "nearest" }); // the form is a long one
    this.button.disabled = false;
  }

  sheet(grid) {
    const sheet = new Sheet(this, grid);
    this.near.observe(sheet.node);
    return sheet;
  }

  approach({ target, isIntersecting }) {
    const sheet = this.cards.get(target.id);
    if (!sheet) return; // it was deleted
    sheet.near = isIntersecting;
    sheet.look();
  }

  put(grid) {
    const before = this.cards.get(grid.id)?.grid;
    this.cards.put(grid, grid.number);
    this.none.hidden = true;
    if (before && state(before) !== state(grid)) say($("announce"), "said", { kind: "$grids", state: `$${state(grid)}` });
  }

  async delete({ id, cells }) {
    await remove(`/v1/grids/${id}`);
    this.drop(id);
    for (const { job } of cells) this.jobs.drop(job);
    this.stirred();
  }

  drop(id) {
    const sheet = this.cards.get(id);
    if (!sheet) return;
    sheet.near = false; // it looks no more
    this.near.unobserve(sheet.node);
    URL.revokeObjectURL(sheet.image.src);
    this.cards.drop(id);
    this.none.hidden = this.cards.size > 0;
  }

  /** A grid was begun, stopped, gone on with or deleted from here. */
  stirred() {
    this.jobs.stirred();
    this.wake();
  }

  show(visible) {
    this.visible = visible;
    this.attend();
  }

  /** Begin anew to look; while nobody does, no connection is kept. */
  attend() {
    this.leave.abort();
    this.wake();
  }

  /** The newest page, and what goes on of older ones; what is missing was deleted. Gives the grid that is worked on. */
  async refresh() {
    const known = this.known(); // what is begun meanwhile may be missing
    const page = await get(`/v1/grids?limit=${PAGE}`);
    const there = new Set(page.data.map((grid) => grid.id));
    const last = page.data.at(-1)?.number ?? 0;
    for (const grid of page.data) this.put(grid);
    for (const grid of known.filter(({ id }) => !there.has(id))) {
      if (grid.number > last || !page.more) this.drop(grid.id);
      else if (open(grid)) await this.again(grid.id);
    }
    if (this.oldest === undefined) this.turned(page);
    return this.known().filter(open).sort((a, b) => a.number - b.number)[0];
  }

  async again(id) {
    try {
      this.put(await get(`/v1/grids/${id}`));
    } catch (error) {
      this.missing(id, error);
    }
  }

  /** What was asked of one grid went wrong: it may have been deleted elsewhere. */
  missing(id, error) {
    if (error.status !== 404) throw error;
    this.drop(id);
  }

  known() {
    return [...this.cards.values()].map((sheet) => sheet.grid);
  }

  /** The page before. */
  async older() {
    try {
      const page = await get(`/v1/grids?limit=${PAGE}&before=${this.oldest}`);
      for (const grid of page.data) this.put(grid);
      this.turned(page);
      this.wake(); // one of them may be worked on
    } catch (error) {
      report(this.trouble, error);
    }
  }

  turned({ data, more }) {
    this.oldest = data.at(-1)?.number ?? this.oldest ?? 0;
    this.more.hidden = !more;
  }

  /** Each change of a cell as it happens. */
  async watch({ id }) {
    this.leave = new AbortController();
    try {
      for await (const { type, counts, ...told } of events(`/v1/grids/${id}/events`, this.leave.signal)) {
        const grid = this.cards.get(id)?.grid;
        if (!grid) return; // it was deleted
        const cells = grid.cells.map((cell) => (cell.job === told.job ? told : cell));
        this.put(type === "grid" ? { ...told, counts } : { ...grid, counts, cells });
      }
    } catch (error) {
      if (!this.leave.signal.aborted) this.missing(id, error);
    }
  }

  async run() {
    for (;;) {
      const woken = new Promise((done) => (this.wake = done)); // by what comes while this looks, too
      let now = null;
      try {
        now = this.visible && !document.hidden && (await this.refresh());
        report(this.trouble, null);
        if (now) await this.watch(now);
      } catch (error) {
        report(this.trouble, error);
      }
      await Promise.race([pause(now ? LOOK : 10 * LOOK), woken]);
    }
  }
}
