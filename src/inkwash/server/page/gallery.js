// The history: a card for every job, its progress while it is made, its pictures when they are there.

import { local } from "./api.js";
import { Card, Cards } from "./cards.js";
import { $, h, plain, report, say } from "./dom.js";
import { PICTURED, ended } from "./jobs.js";
import { t } from "./words.js";

const SMALL = 128; // pixels of a side up to which pixels are shown as such

export const small = (image) => image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth <= SMALL));

/** What a job was asked, as a picture would say it. */
export function asked(job) {
  const { options = {}, label, ...rest } = job.asked;
  return { model: job.model, ...(label ? { class: label } : {}), ...rest, ...options };
}

class Entry extends Card {
  constructor(gallery, job) {
    const pictures = h("div", { class: "pictures" });
    super(job.id, pictures);
    Object.assign(this, { gallery, pictures, shown: "" });
  }

  update(job) {
    this.job = job;
    this.node.dataset.state = job.state;
    const text = job.texts.join(" · ") || job.asked.prompt || job.asked.label;
    text ? plain(this.title, text) : say(this.title, job.kind);
    plain(this.model, job.model);
    this.progress(!ended(job), job.state === "running" && job.total ? job.done / job.total : undefined);
    this.tell(job);
    const doubted = [...new Set(job.pictures.map((p) => p.facts.doubted).filter(Boolean))].join(", ");
    doubted ? say(this.said, "doubted", { what: doubted }) : plain(this.said, job.error ?? "");
    this.said.classList.toggle("bad", Boolean(job.error));
    const shown = JSON.stringify([job.state, job.pictures.length, job.previews.length]);
    if (shown === this.shown) return; // rebuilt nodes would lose the focus
    this.shown = shown;
    this.show(job);
    this.act(job);
  }

  tell(job) {
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
    const alt = job.asked.prompt ?? job.asked.label ?? t(job.kind);
    const early = ended(job) ? [] : job.previews.slice(-1).map((url) => tile(url, ""));
    const done = job.pictures.map((p, i) => tile(p.url, `${alt} (${i + 1})`, { onclick: () => this.gallery.view.open(job, i) }));
    this.pictures.replaceChildren(...early, ...done);
    this.pictures.hidden = !early.length && !done.length;
  }

  act(job) {
    const { jobs, reuse } = this.gallery;
    this.offer(
      !ended(job) && this.button("cancel", () => jobs.act(job.id, "cancel")),
      ["failed", "cancelled", "interrupted"].includes(job.state) && this.button("retry", () => jobs.act(job.id, "retry")),
      ["generate", "edit"].includes(job.kind) && this.button("reuse", () => reuse(this.job.pictures[0]?.facts ?? asked(this.job), job.kind)),
      ended(job) && this.deletion(() => jobs.delete(job.id)),
    );
  }
}

/** jobs: the queue. view: the large picture. reuse: what takes settings up. */
export class Gallery {
  constructor(jobs, view, reuse) {
    Object.assign(this, { jobs, view, reuse });
    this.cards = new Cards($("jobs"), (job) => new Entry(this, job));
    jobs.addEventListener("job", (event) => this.put(event.detail.job, event.detail.before));
    jobs.addEventListener("gone", (event) => this.drop(event.detail));
    jobs.addEventListener("page", () => {
      $("older").hidden = !jobs.more;
      this.count();
    });
    $("older").addEventListener("click", () => jobs.older().then(() => report($("turned"), null), (error) => report($("turned"), error)));
  }

  put(job, before) {
    if (!PICTURED.includes(job.kind)) return;
    this.cards.put(job, job.number);
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
    this.cards.drop(id);
    this.count();
  }

  count() {
    $("empty").hidden = this.cards.size > 0;
  }
}
