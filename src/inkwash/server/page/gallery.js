// The history: a card for every job, its progress while it is made, its pictures when they are there.

import { local } from "./api.js";
import { $, h, plain, report, say } from "./dom.js";
import { ended } from "./jobs.js";

const SHOWN = ["generate", "edit", "upscale", "style", "caption"];
const SMALL = 128; // pixels of a side up to which pixels are shown as such

export const small = (image) => image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth <= SMALL));

/** What a job was asked, as a picture would say it. */
export function asked(job) {
  const { options = {}, label, ...rest } = job.asked;
  return { model: job.model, ...(label ? { class: label } : {}), ...rest, ...options };
}

class Card {
  constructor(gallery, job) {
    this.gallery = gallery;
    this.shown = "";
    this.title = h("p", { class: "asked" });
    this.state = h("span", { class: "state" });
    this.model = h("span", { class: "model" });
    this.bar = h("progress", { name: "progress", max: 1 });
    this.pictures = h("div", { class: "pictures" });
    this.said = h("p", { class: "said" });
    this.buttons = h("div", { class: "buttons" });
    this.node = h("li", { class: "card", id: job.id },
      h("div", { class: "line" }, this.title, this.model, this.state), this.bar, this.pictures, this.said, this.buttons);
  }

  update(job) {
    this.job = job;
    this.node.dataset.state = job.state;
    const text = job.texts.join(" · ") || job.asked.prompt || job.asked.label;
    text ? plain(this.title, text) : say(this.title, job.kind);
    plain(this.model, job.model);
    this.progress(job);
    plain(this.said, job.error ?? [...new Set(job.pictures.map((p) => p.facts.doubted).filter(Boolean))].join(", "));
    if (!job.error && this.said.textContent) say(this.said, "doubted", { what: this.said.textContent });
    this.said.classList.toggle("bad", Boolean(job.error));
    const shown = JSON.stringify([job.state, job.pictures.length, job.previews.length]);
    if (shown === this.shown) return; // rebuilt nodes would lose the focus
    this.shown = shown;
    this.show(job);
    this.act(job);
  }

  progress(job) {
    this.bar.hidden = ended(job);
    if (job.state === "running" && job.total) this.bar.value = job.done / job.total;
    else this.bar.removeAttribute("value");
    if (job.state === "queued" && job.ahead) say(this.state, "ahead", { n: job.ahead });
    else if (job.state === "running" && job.total) say(this.state, "percent", { n: Math.floor((100 * job.done) / job.total) });
    else say(this.state, job.state);
  }

  show(job) {
    const tile = (url, alt, more) => {
      const image = h("img", { src: local(url), alt, loading: "lazy" });
      small(image);
      return more ? h("button", { type: "button", class: "tile", ...more }, image) : h("div", { class: "tile early" }, image);
    };
    const alt = job.asked.prompt ?? job.asked.label ?? job.kind;
    const early = ended(job) ? [] : job.previews.slice(-1).map((url) => tile(url, ""));
    const done = job.pictures.map((p, i) => tile(p.url, `${alt} (${i + 1})`, { onclick: () => this.gallery.view.open(job, i) }));
    this.pictures.replaceChildren(...early, ...done);
    this.pictures.hidden = !early.length && !done.length;
  }

  act(job) {
    const { jobs, reuse } = this.gallery;
    const attempt = (what) => () => what().catch((error) => report(this.said, error));
    const button = (key, act) => h("button", { type: "button", class: "quiet", "data-act": key, t: key, onclick: act });
    const again = ["failed", "cancelled", "interrupted"].includes(job.state);
    this.buttons.replaceChildren(...[
      !ended(job) && button("cancel", attempt(() => jobs.act(job.id, "cancel"))),
      again && button("retry", attempt(() => jobs.act(job.id, "retry"))),
      ["generate", "edit"].includes(job.kind) && button("reuse", () => reuse(job.pictures[0]?.facts ?? asked(job), job.kind)),
      ended(job) && this.deletion(attempt(() => jobs.delete(job.id))),
    ].filter(Boolean));
  }

  /** Pictures do not come back: a first press asks, a second one deletes, and looking elsewhere takes the question back. */
  deletion(act) {
    const ask = (sure) => {
      node.classList.toggle("sure", sure);
      say(node, sure ? "reallyDelete" : "delete");
    };
    const press = () => (node.classList.contains("sure") ? act() : ask(true));
    const node = h("button", { type: "button", class: "quiet", "data-act": "delete", t: "delete", onclick: press, onblur: () => ask(false) });
    return node;
  }
}

/** jobs: the queue. view: the large picture. reuse: what takes settings up. */
export class Gallery {
  constructor(jobs, view, reuse) {
    Object.assign(this, { jobs, view, reuse });
    this.cards = new Map();
    this.list = $("jobs");
    jobs.addEventListener("job", (event) => this.put(event.detail.job, event.detail.before));
    jobs.addEventListener("gone", (event) => this.drop(event.detail));
    jobs.addEventListener("page", () => {
      $("older").hidden = !jobs.more;
      this.count();
    });
    $("older").addEventListener("click", () => jobs.older().catch((error) => report($("announce"), error)));
  }

  put(job, before) {
    if (!SHOWN.includes(job.kind)) return;
    let card = this.cards.get(job.id);
    if (!card) {
      card = new Card(this, job);
      this.cards.set(job.id, card);
      const next = [...this.list.children].find((node) => this.cards.get(node.id).job.number < job.number);
      card.job = job;
      this.list.insertBefore(card.node, next ?? null);
    }
    card.update(job);
    this.announce(job, before);
    this.count();
  }

  /** Told to who does not see the bar: beginnings, quarters, ends. Not told: history. */
  announce(job, before) {
    const quarter = (j) => (j.total ? Math.floor((4 * j.done) / j.total) : 0);
    const kind = `$${job.kind}`;
    if (before && before.state !== job.state) say($("announce"), "said", { kind, state: `$${job.state}` });
    else if (before && job.state === "running" && quarter(before) !== quarter(job)) {
      say($("announce"), "said", { kind, state: `${25 * quarter(job)} %` });
    }
  }

  drop(id) {
    this.cards.get(id)?.node.remove();
    this.cards.delete(id);
    this.count();
  }

  count() {
    $("empty").hidden = this.cards.size > 0;
  }
}
