// A place for one picture: chosen, dropped, or handed over from the gallery.

import { h, name as named } from "./dom.js";

export const picture = (file) => /^image\/(png|jpeg|webp)$/.test(file?.type ?? "");

/** A button that opens the file chooser. take: called with the file. */
export function chooser(key, take, accept = "image/png,image/jpeg,image/webp") {
  const input = h("input", { type: "file", accept, hidden: true, tabindex: "-1" });
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = ""; // the same file may be chosen again
  });
  return h("span", {}, h("button", { type: "button", class: "quiet", t: key, onclick: () => input.click() }), input);
}

/** Take pictures that are dropped on a node, before the page takes their settings. */
export function target(node, take) {
  const over = (event) => {
    event.preventDefault();
    event.stopPropagation();
    node.classList.toggle("over", event.type === "dragover");
  };
  node.addEventListener("dragover", over);
  node.addEventListener("dragleave", over);
  node.addEventListener("drop", (event) => {
    over(event);
    const file = [...event.dataTransfer.files].find(picture);
    if (file) take(file);
  });
}

export class Slot {
  constructor(key) {
    this.file = null;
    this.image = h("img", { alt: "", hidden: true });
    const choose = chooser("choose", (file) => this.put(file));
    this.node = h("div", { class: "slot", role: "group" }, this.image, h("span", { class: "note", t: key }), choose);
    named(this.node, key);
    target(this.node, (file) => this.put(file));
  }

  put(file) {
    URL.revokeObjectURL(this.image.src);
    this.file = file;
    this.image.src = URL.createObjectURL(file);
    this.image.hidden = false;
  }
}
