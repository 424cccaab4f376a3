// One picture, large, with what it says of its making and what can be done with it.

import { local } from "./api.js";
import { h } from "./dom.js";
import { small } from "./gallery.js";
import { knows, t } from "./words.js";

const SHOWN = ["prompt", "class", "negative", "model", "seed", "steps", "solver", "guidance", "strength", "size", "scale"];

export class View {
  /** actions: by key, called with (job, picture). can: whether the server does that. */
  constructor(dialog, actions, can) {
    Object.assign(this, { dialog, actions, can });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") this.step(-1);
      if (event.key === "ArrowRight") this.step(1);
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  open(job, index) {
    [this.job, this.index] = [job, index];
    this.show();
    if (!this.dialog.open) this.dialog.showModal();
  }

  step(by) {
    const n = this.job.pictures.length;
    if (n < 2) return;
    this.index = (this.index + by + n) % n;
    this.show();
    this.dialog.querySelector(by < 0 ? "[data-act=before]" : "[data-act=after]").focus();
  }

  show() {
    const picture = this.job.pictures[this.index];
    const url = local(picture.url);
    const image = h("img", { src: url, alt: picture.facts.prompt ?? picture.facts.class ?? t(this.job.kind) });
    small(image);
    const button = (key, act) => h("button", { type: "button", class: "quiet", "data-act": key, t: key, onclick: act });
    const several = this.job.pictures.length > 1;
    const act = (key) => button(key, () => {
      this.dialog.close();
      this.actions[key](this.job, picture);
    });
    const facts = SHOWN.filter((key) => (key !== "strength" || this.job.kind !== "generate") && picture.facts[key] !== undefined && picture.facts[key] !== "" && picture.facts[key] !== null);
    const scaled = picture.made && picture.made.join() !== picture.size.join() && picture.made.join("x");
    this.dialog.replaceChildren(
      h("div", { class: "frame" }, image),
      h("div", { class: "beside" },
        h("h2", { t: "facts" }),
        h("dl", {}, ...facts.flatMap((key) => [h("dt", knows(key) ? { t: key } : {}), h("dd", {}, String(picture.facts[key]))]),
          ...(scaled ? [h("dt", { t: "made" }), h("dd", {}, scaled)] : [])),
        h("div", { class: "buttons" },
          several && button("before", () => this.step(-1)), several && button("after", () => this.step(1)),
          ...Object.keys(this.actions).filter((key) => this.can(key)).map(act),
          h("a", { class: "button quiet", href: url, download: `inkwash-${picture.seed ?? this.job.id}.${url.split(".").at(-1)}`, t: "download" })),
        h("button", { type: "button", class: "main", t: "close", onclick: () => this.dialog.close() })),
    );
    this.dialog.setAttribute("aria-label", image.alt);
  }
}
