// One axis of a grid: a setting and the values that it takes in turn, written in one line.

import { field, h, say } from "./dom.js";
import { APART, label, usual } from "./form.js";

const EXAMPLES = { integer: "5, 10, 20", number: "1, 2.5, 4", string: "… | …" };
const LONGEST = 1000; // values of a range: more than the server takes, which says so

/** What the cells of a grid may differ in, as JSON schema. models: the names of those that draw. */
export function settings(facts, models) {
  const own = Object.entries(facts.options).filter(([key, option]) => !APART.includes(key) && usual(option).type !== "array");
  const prompt = facts.reads ? { type: "string" } : facts.classes.length && { enum: facts.classes, words: "class" };
  return { seed: { type: "integer", typical: "1-4" }, ...(prompt && { prompt }), model: { enum: models }, ...Object.fromEntries(own) };
}

/** The kind of a setting's values. */
function kindOf(facts) {
  const kind = usual(facts);
  return kind.type === "boolean" ? { ...kind, enum: [false, true] } : kind;
}

/** The values of a line: between commas, texts between bars, whole numbers from - to. What does not fit is left for the server to judge. */
function read(line, kind) {
  const [, first, last] = (kind.type === "integer" && line.match(/^\s*(\d+)\s*[-–]\s*(\d+)\s*$/)) || [];
  if (first) return Array.from({ length: Math.min(LONGEST, Math.max(0, last - first + 1)) }, (_, i) => Number(first) + i);
  const text = kind.type === "string" && !kind.enum;
  const words = line.split(text || line.includes("|") ? "|" : /[,，、]/).map((word) => word.trim()).filter(Boolean);
  if (kind.enum) return words.map((word) => kind.enum.find((v) => String(v) === word) ?? word);
  return words.map((word) => (text || Number.isNaN(Number(word)) ? word : Number(word)));
}

export class Axis {
  constructor(letter, words) {
    this.settings = {};
    this.name = h("select", { onchange: () => this.begin() });
    this.line = h("input", { type: "text", autocomplete: "off", spellcheck: "false" });
    const values = field({}, this.line);
    say(values.firstChild, "valuesOf", { axis: letter.toUpperCase() });
    this.node = h("div", { class: "axis" }, field({ t: words }, this.name), values);
  }

  /** What may be chosen. The choice stays where it can. */
  offer(settings) {
    const chosen = this.name.value;
    const option = ([key, { words = key }]) => h("option", { value: key, ...label(words) }, label(words).t ? null : key);
    this.settings = settings;
    this.name.replaceChildren(h("option", { value: "", t: "none" }), ...Object.entries(settings).map(option));
    if (chosen in settings) this.name.value = chosen;
    else this.begin();
  }

  choose(name) {
    this.name.value = name;
    this.begin();
  }

  /** A line to begin with: all values, where those are known. */
  begin() {
    const kind = kindOf(this.settings[this.name.value] ?? {});
    this.line.disabled = !this.name.value;
    this.line.placeholder = EXAMPLES[kind.type] ?? "";
    this.line.value = kind.enum?.join(", ") ?? kind.typical ?? "";
  }

  /** As the API has it; null where there is none. */
  told() {
    const name = this.name.value;
    return name ? { name, values: read(this.line.value, kindOf(this.settings[name])) } : null;
  }
}
