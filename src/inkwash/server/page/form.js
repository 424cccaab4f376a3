// A form made of what a model says it can be told: its options as JSON schema, in /v1/models.

import { field, h, plain, say } from "./dom.js";
import { knows, t } from "./words.js";

export const APART = ["size", "tile", "overlap", "lora", "strength", "rounds"]; // fields of their own, or not for strangers: as the server has it
const FIRST = ["steps", "guidance", "negative"];

export const label = (key) => (knows(key) ? { t: key } : {});

/** The schema of an option without its other possibilities: to be unset, or another word than those of a list. */
export const usual = (facts) => ({ ...facts, ...facts.anyOf?.find((k) => k.type !== "null") });

/** A control for one option: {node, get, set, can}. get gives undefined where the model's default stands. most: that the server allows. */
export function control(key, facts, most = Infinity) {
  const kind = usual(facts);
  kind.maximum = Math.min(kind.maximum ?? Infinity, most);
  const typed = CONTROLS[kind.type] ?? CONTROLS.string;
  const made = kind.enum ? choice(kind, facts.anyOf?.find((k) => k.pattern)) : typed(kind, Boolean(facts.anyOf));
  const { input, value, put, more, can = () => true } = made;
  const node = kind.type === "boolean" ? h("label", { class: "tick" }, input, h("span", label(key))) : field(label(key), input, more);
  if (!knows(key)) plain(node.querySelector("label, span"), facts.title ?? key);
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  put(facts.default);
  return {
    node,
    get: () => (same(value(), facts.default ?? null) ? undefined : value()),
    set: (given) => put(given ?? facts.default),
    can,
  };
}

/** One of a list. other: the schema of what is possible beside it; a last entry opens a field for that. */
function choice(kind, other) {
  const known = kind.enum.map((v) => h("option", { value: String(v) }, String(v)));
  const input = h("select", {}, ...known, other && h("option", { value: "", t: "other" }));
  const more = other && h("input", { type: "text", name: "other", pattern: other.pattern, placeholder: other.examples[0], autocomplete: "off" });
  const listed = () => input.selectedIndex < kind.enum.length;
  const follow = () => more && (more.hidden = listed());
  input.addEventListener("change", follow);
  return {
    input, more,
    value: () => (listed() ? kind.enum[input.selectedIndex] : more.value.trim()),
    put(v) {
      input.value = kind.enum.includes(v) ? String(v) : "";
      if (more) more.value = listed() ? "" : v;
      follow();
    },
    can: (v) => kind.enum.includes(v) || Boolean(other && new RegExp(other.pattern).test(v)),
  };
}

function number(kind, optional) {
  const whole = kind.type === "integer";
  const input = h("input", { type: "number", step: whole ? "1" : "any", inputmode: whole ? "numeric" : "decimal" });
  for (const [ours, theirs] of [["min", kind.minimum ?? kind.exclusiveMinimum], ["max", kind.maximum]]) if (Number.isFinite(theirs)) input[ours] = theirs;
  if (optional) input.dataset.hint = "unset";
  return { input, value: () => (input.value === "" ? kind.default ?? null : Number(input.value)), put: (v) => (input.value = v ?? "") };
}

const CONTROLS = {
  number, integer: number,
  string() {
    const input = h("input", { type: "text", autocomplete: "off" });
    return { input, value: () => input.value, put: (v) => (input.value = v ?? "") };
  },
  boolean() {
    const input = h("input", { type: "checkbox" });
    return { input, value: () => input.checked, put: (v) => (input.checked = Boolean(v)) };
  },
  array(kind) {
    const ends = kind.prefixItems.map((item, i) => h("input", { type: "number", step: "any", name: i ? "to" : "from" }));
    const input = h("div", { class: "pair", role: "group" }, ...ends);
    return { input, value: () => ends.map((e) => Number(e.value)), put: (v) => ends.forEach((e, i) => (e.value = v?.[i] ?? "")) };
  },
};

/** What is asked of a model that draws: `verb` is generate or edit. The model's options follow the choice of the model.
 *
 * axes: what the cells of a grid differ in. How many pictures, of which kind, and whether they are shown on their way is not asked then.
 */
export class ModelForm {
  constructor(verb, axes = null) {
    this.verb = verb;
    this.known = [];
    this.limits = {};
    this.options = {};
    this.model = h("select");
    this.prompt = h("textarea", { rows: "3", "data-hint": "hint", spellcheck: "true" });
    this.class = h("select");
    this.count = h("input", { type: "number", min: "1", max: "10", value: "1" });
    this.seed = h("input", { type: "number", min: "0", step: "1", "data-hint": "random" });
    this.size = h("input", { type: "text", "data-hint": "natural", pattern: "[1-9][0-9]*x[1-9][0-9]*", autocomplete: "off" });
    this.format = h("select", {}, ...["png", "jpeg", "webp"].map((v) => h("option", { value: v }, v.toUpperCase())));
    this.previews = h("input", { type: "checkbox", defaultChecked: !axes });
    this.strength = h("input", { type: "number", min: "0.05", max: "1", step: "0.05", value: "0.6" });
    this.first = h("div", { class: "row first" });
    this.rest = h("div", { class: "row" });
    this.none = h("p", { class: "note", t: "unprompted" });
    this.cannot = h("p", { class: "note", t: "cannot", hidden: true });
    this.words = field({ t: "prompt" }, this.prompt);
    this.classes = field({ t: "class" }, this.class);
    this.node = h("div", { class: "stack" }, this.cannot,
      field({ t: "model" }, this.model), this.words, this.classes, this.none, axes,
      h("div", { class: verb === "edit" ? "row three" : "row" }, !axes && field({ t: "count" }, this.count), field({ t: "seed" }, this.seed), verb === "edit" && field({ t: "strength" }, this.strength)),
      this.first,
      h("details", {}, h("summary", { t: "more" }), this.rest,
        h("div", { class: "row" }, field({ t: "size" }, this.size), !axes && field({ t: "format" }, this.format)),
        !axes && h("label", { class: "tick" }, this.previews, h("span", { t: "previews" })),
        h("button", { type: "button", class: "quiet", t: "reset", onclick: () => this.reset() })),
    );
    this.model.addEventListener("change", () => this.follow());
    this.size.addEventListener("input", () => {
      const pixels = this.size.value.split(/[x×]/i).reduce((area, side) => area * Number(side), 1);
      this.size.setCustomValidity(pixels > this.limits.pixels ? t("tooLarge", { n: this.limits.pixels }) : "");
    });
  }

  /** The models that can do this; the choice stays where it can. limits: of the server, for one request. */
  models(all, limits) {
    this.limits = limits;
    this.count.max = limits.images;
    this.prompt.maxLength = limits.prompt;
    const able = all.filter((m) => m.inkwash.does.includes(this.verb));
    this.cannot.hidden = able.length > 0;
    if (JSON.stringify(able) === JSON.stringify(this.known)) return;
    const chosen = this.model.value;
    this.known = able;
    this.model.replaceChildren(...able.map((m) => h("option", { value: m.id }, m.id)));
    if (able.some((m) => m.id === chosen)) this.model.value = chosen;
    this.follow();
  }

  get facts() {
    return this.known.find((m) => m.id === this.model.value)?.inkwash;
  }

  follow() {
    const facts = this.facts;
    if (!facts) return;
    const kept = Object.fromEntries(Object.entries(this.options).map(([key, c]) => [key, c.get()]));
    const names = Object.keys(facts.options).filter((key) => !APART.includes(key));
    this.options = Object.fromEntries(names.map((key) => [key, control(key, facts.options[key], key === "steps" ? this.limits.steps : undefined)]));
    for (const key of names) if (kept[key] !== undefined) this.options[key].set(kept[key]);
    this.first.replaceChildren(...FIRST.filter((k) => names.includes(k)).map((k) => this.options[k].node));
    this.rest.replaceChildren(...names.filter((k) => !FIRST.includes(k)).map((k) => this.options[k].node));
    this.words.hidden = !facts.reads;
    this.classes.hidden = facts.reads || !facts.classes.length;
    this.none.hidden = facts.reads || facts.classes.length > 0;
    this.class.replaceChildren(h("option", { value: "", t: "anything" }), ...facts.classes.map((c) => h("option", { value: c }, c)));
  }

  reset() {
    for (const option of Object.values(this.options)) option.set(undefined);
    [this.size.value, this.seed.value, this.count.value, this.format.value] = ["", "", "1", "png"];
    this.previews.checked = this.previews.defaultChecked;
  }

  /** The body of a request. What stands at the model's default is left to the model. */
  values() {
    const facts = this.facts;
    const out = { model: this.model.value, n: Number(this.count.value) || 1 };
    const prompt = facts?.reads ? this.prompt.value.trim() : this.class.value;
    if (prompt) out.prompt = prompt;
    if (this.seed.value !== "") out.seed = Number(this.seed.value);
    if (this.size.value.trim()) out.size = this.size.value.trim().toLowerCase().replace("×", "x");
    if (this.format.value !== "png") out.output_format = this.format.value;
    if (this.previews.checked) out.partial_images = 3;
    for (const [key, option] of Object.entries(this.options)) if (option.get() !== undefined) out[key] = option.get();
    return out;
  }

  /** Set what a picture, or a job, says of itself. whole: options that it does not tell become the model's own. Returns the names of what was taken up and of what was not. */
  fill(facts, whole = true) {
    const taken = [];
    const missed = [];
    const take = (key, can, set) => {
      if (facts[key] === undefined || facts[key] === null) return;
      (can ? taken : missed).push(key);
      if (can) set(facts[key]);
    };
    take("model", this.known.some((m) => m.id === facts.model), (v) => {
      this.model.value = v;
      this.follow();
    });
    if (whole) for (const option of Object.values(this.options)) option.set(undefined); // what is not told was the model's own
    const shape = this.facts?.shape;
    const natural = shape ? `${shape[2]}x${shape[1]}` : "";
    if (!this.facts?.reads && this.facts?.classes.includes(facts.prompt)) facts = { ...facts, class: facts.prompt, prompt: null }; // as drafts name it
    take("prompt", this.facts?.reads, (v) => (this.prompt.value = v));
    take("class", this.facts?.classes.includes(facts.class), (v) => (this.class.value = v));
    take("seed", true, (v) => (this.seed.value = v));
    take("n", true, (v) => (this.count.value = v));
    take("size", /^\d+x\d+$/.test(facts.size ?? ""), (v) => (this.size.value = v === natural ? "" : v));
    if (this.verb === "edit") take("strength", true, (v) => (this.strength.value = v));
    for (const [key, option] of Object.entries(this.options)) take(key, option.can(facts[key]), (v) => option.set(v));
    return { taken, missed };
  }
}

/** A choice among models that do something, and what else can be chosen. */
export function fillModels(select, all, verb, more = []) {
  const able = all.filter((m) => m.inkwash.does.includes(verb)).map((m) => m.id);
  const chosen = select.value;
  const option = (name) => {
    const node = h("option", { value: name });
    say(node, "interpolation", { name });
    return node;
  };
  select.replaceChildren(...able.map((id) => h("option", { value: id }, id)), ...more.map(option));
  if ([...able, ...more].includes(chosen)) select.value = chosen;
  return able.length + more.length > 0;
}
