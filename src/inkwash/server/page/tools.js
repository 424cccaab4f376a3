// Three small tools: a picture made larger, painted in another's manner, put into words.

import { form } from "./api.js";
import { $, field, h, report } from "./dom.js";
import { fillModels } from "./form.js";
import { Slot } from "./slot.js";
import { language } from "./words.js";

const INTERPOLATED = ["lanczos", "bicubic", "nearest"];

export class Tools {
  constructor(jobs) {
    this.jobs = jobs;
    this.upscaler = h("select");
    this.captioner = h("select");
    this.tools = { upscale: this.upscale(), caption: this.caption(), style: this.style() };
    $("tools").append(...Object.values(this.tools).map((tool) => tool.node));
  }

  models(all) {
    fillModels(this.upscaler, all, "upscale", INTERPOLATED);
    const can = fillModels(this.captioner, all, "caption");
    this.tools.caption.able(can);
  }

  /** Do it to this picture, with the settings as they stand. */
  async use(name, file) {
    const tool = this.tools[name];
    tool.slots.image.put(file);
    tool.node.scrollIntoView({ block: "nearest" });
    tool.button.focus();
    await tool.send();
  }

  upscale() {
    const scale = h("select", {}, ...[2, 3, 4, 8].map((n) => h("option", { value: String(n) }, `${n} ×`)));
    scale.value = "4";
    return this.tool("upscale", { image: "picture" }, [field({ t: "model" }, this.upscaler), field({ t: "scale" }, scale)], () => ({
      model: this.upscaler.value, scale: Number(scale.value),
    }));
  }

  caption() {
    const lang = h("select", {}, h("option", { value: "en", t: "english" }), h("option", { value: "zh", t: "chinese" }));
    lang.value = language();
    return this.tool("caption", { image: "picture" }, [field({ t: "model" }, this.captioner), field({ t: "describeIn" }, lang)], () => ({
      model: this.captioner.value, lang: lang.value,
    }));
  }

  style() {
    const strength = h("input", { type: "number", min: "0", max: "100", step: "any", value: "1" });
    const steps = h("input", { type: "number", min: "1", max: "1000", value: "50" });
    const keep = h("input", { type: "checkbox" });
    const more = [field({ t: "strength" }, strength), field({ t: "steps" }, steps), h("label", { class: "tick" }, keep, h("span", { t: "keepColour" }))];
    return this.tool("style", { image: "photograph", painting: "painting" }, more, () => ({
      strength: Number(strength.value), steps: Number(steps.value), keep_colour: keep.checked,
    }));
  }

  /** slots: fields of the request and what their pictures are called. values: the other fields. */
  tool(name, slots, fields, values) {
    const places = Object.fromEntries(Object.entries(slots).map(([key, words]) => [key, new Slot(words)]));
    const said = h("p", { class: "said", role: "status" });
    const button = h("button", { class: "main", t: name });
    const cannot = h("p", { class: "note", t: "cannot", hidden: true });
    const node = h("form", { class: "tool stack", id: `tool-${name}`, novalidate: true },
      h("h2", { t: name }), h("p", { class: "note", t: `${name}Note` }), cannot,
      h("div", { class: "row" }, ...Object.values(places).map((slot) => slot.node)), h("div", { class: "row" }, ...fields),
      h("div", { class: "go" }, button), said);
    const send = async () => {
      report(said, null);
      const files = Object.fromEntries(Object.entries(places).map(([key, slot]) => [key, slot.file]));
      if (Object.values(files).includes(null)) return report(said, Object.assign(new Error(), { key: "noPicture" }));
      try {
        await this.jobs.begin(`/v1/images/${name}s`, form({ ...files, ...values() }));
        report(said, { key: "sent" });
      } catch (error) {
        report(said, error);
      }
    };
    node.addEventListener("submit", (event) => {
      event.preventDefault();
      send();
    });
    const able = (can) => {
      button.disabled = !can;
      cannot.hidden = can;
    };
    return { node, slots: places, button, send, able };
  }
}
