// Elements, made and filled without markup: what a model or a stranger wrote is only ever text.

import { t } from "./words.js";

/** h("p", {class: "note", t: "draw"}, child, …). t: text, and name: label, by their keys in the word tables; on…: listeners. */
export function h(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "t") say(node, value);
    else if (key === "name") name(node, value);
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((c) => c !== undefined && c !== null && c !== false));
  return node;
}

/** A text in the reader's language, and again when that changes. */
export function say(node, key, values = {}) {
  node.dataset.t = key;
  node.dataset.values = JSON.stringify(values);
  const text = t(key, values);
  if (node.textContent !== text) node.textContent = text; // a live region that stays the same stays silent
}

/** A text that is the same in every language. */
export function plain(node, text) {
  delete node.dataset.t;
  if (node.textContent !== text) node.textContent = text;
}

/** The name of a button whose face is only a sign, or of a drawing. */
export function name(node, key, values = {}) {
  node.dataset.name = key;
  node.dataset.named = JSON.stringify(values);
  node.setAttribute("aria-label", t(key, values));
  node.title = t(key, values);
}

export function translate(root = document) {
  for (const node of root.querySelectorAll("[data-t]")) say(node, node.dataset.t, JSON.parse(node.dataset.values || "{}"));
  for (const node of root.querySelectorAll("[data-name]")) name(node, node.dataset.name, JSON.parse(node.dataset.named || "{}"));
  for (const node of root.querySelectorAll("[data-hint]")) node.placeholder = t(node.dataset.hint);
}

export const $ = (id) => document.getElementById(id);

let ids = 0;

/** A control under its label. */
export function field(label, control, ...more) {
  control.id ||= `f${++ids}`;
  const words = h("label", { for: control.id, id: `${control.id}-label`, ...label });
  if (control.tagName === "DIV") control.setAttribute("aria-labelledby", words.id); // a group has no label of its own
  return h("div", { class: "field" }, words, control, ...more);
}

/** An error, or a word of success, in the live region of its form. */
export function report(place, error) {
  place.classList.toggle("bad", error instanceof Error);
  if (!error) plain(place, "");
  else if (error.key) say(place, error.key, error.values);
  else plain(place, error.message);
}
