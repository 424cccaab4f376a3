// Changing a picture: where the mask was painted, or, without one, all over. The mask stays when the prompt changes.

import { form } from "./api.js";
import { $, h, report } from "./dom.js";
import { ModelForm } from "./form.js";
import { Mask } from "./mask.js";
import { chooser, target } from "./slot.js";

export class Editing {
  constructor(jobs) {
    this.jobs = jobs;
    this.source = null;
    this.form = new ModelForm("edit");
    this.mask = new Mask();
    this.mask.addEventListener("change", () => (this.form.strength.disabled = !this.mask.empty));
    this.said = h("p", { class: "said", role: "status" });
    this.wanted = h("div", { class: "wanted" }, h("p", { t: "editHere" }), chooser("choose", (file) => this.take(file)));
    this.mask.node.hidden = true;
    this.node = h("form", { class: "editing", novalidate: true },
      h("div", { class: "easel" }, h("p", { class: "note", t: "editNote" }), this.wanted, this.mask.node),
      h("div", { class: "stack" }, this.form.node,
        h("div", { class: "go" }, h("button", { class: "main", id: "edit-go", t: "edit" }), chooser("another", (file) => this.take(file))), this.said));
    $("edit").append(this.node);
    target($("edit"), (file) => this.take(file));
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  models(all, limits) {
    this.form.models(all, limits);
  }

  shown() {
    this.mask.fit(); // hidden, it had no size
  }

  /** A picture to work on, and what it says of itself. */
  async take(file, facts = null) {
    try {
      const bitmap = await createImageBitmap(file);
      this.source = file;
      this.wanted.hidden = true;
      this.mask.node.hidden = false;
      this.mask.show(bitmap);
      report(this.said, null);
      if (facts) this.form.fill({ prompt: facts.prompt, class: facts.class, model: facts.model }, false);
    } catch (error) {
      report(this.said, error);
    }
  }

  async send() {
    report(this.said, null);
    try {
      if (!this.source) return report(this.said, Object.assign(new Error(), { key: "noPicture" }));
      const masked = !this.mask.empty;
      const more = masked ? { mask: await this.mask.file() } : { strength: Number(this.form.strength.value) };
      await this.jobs.begin("/v1/images/edits", form({ image: this.source, ...more, ...this.form.values() }));
      report(this.said, { key: "sent" });
    } catch (error) {
      report(this.said, error);
    }
  }
}
