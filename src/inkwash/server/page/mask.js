// A mask, painted over a picture. It is one byte a pixel, 1 where something new is wanted: exact at any zoom, and undone by a copy.

import { h, say } from "./dom.js";
import { chooser } from "./slot.js";

const INK = [196, 48, 36, 150];
const MEMORY = 128 << 20; // bytes of masks to go back to
const ZOOMS = [0.05, 64];

export class Mask extends EventTarget {
  constructor() {
    super();
    this.width = this.height = 0;
    this.tool = "brush";
    this.spot = { x: 0, y: 0 }; // where the brush is, in pixels of the picture
    this.picture = h("canvas", { class: "picture" });
    this.paint = h("canvas", { class: "paint" });
    this.ring = h("div", { class: "ring" });
    this.sheet = h("div", { class: "sheet" }, this.picture, this.paint);
    this.stage = h("div", { class: "stage", tabindex: "0", role: "application", name: "stage" }, this.sheet, this.ring);
    this.stage.removeAttribute("title"); // it would hang over what is painted
    this.told = h("p", { class: "note", role: "status" });
    this.node = h("div", { class: "mask" }, this.bar(), this.stage, this.told);
    this.listen();
  }

  bar() {
    const button = (key, sign, act) => h("button", { type: "button", class: "quiet sign", "data-act": key, name: key, onclick: act }, sign);
    this.tools = ["brush", "eraser"].map((key) => h("button", { type: "button", class: "quiet", "data-act": key, t: key, onclick: () => this.take(key) }));
    this.size = h("input", { type: "range", min: "1", max: "100", value: "12", name: "brushSize", oninput: () => this.place() });
    this.open = chooser("importMask", (file) => this.load(file));
    this.take("brush");
    return h("div", { class: "bar", role: "toolbar", name: "brush" }, ...this.tools, this.size,
      button("undo", "↶", () => this.undo()), button("redo", "↷", () => this.redo()),
      button("zoomOut", "−", () => this.zoom(1 / 1.5)), button("zoomIn", "+", () => this.zoom(1.5)), button("fit", "⤢", () => this.fit()),
      h("button", { type: "button", class: "quiet", "data-act": "invert", t: "invert", onclick: () => this.invert() }),
      h("button", { type: "button", class: "quiet", "data-act": "clear", t: "clear", onclick: () => this.change(() => this.on.fill(0)) }),
      this.open,
      h("button", { type: "button", class: "quiet", "data-act": "exportMask", t: "exportMask", onclick: () => this.save() }));
  }

  take(tool) {
    this.tool = tool;
    for (const button of this.tools) button.setAttribute("aria-pressed", String(button.dataset.act === tool));
  }

  /** A picture to paint over. A mask of its size stays. */
  show(bitmap) {
    const same = bitmap.width === this.width && bitmap.height === this.height;
    [this.width, this.height] = [bitmap.width, bitmap.height];
    for (const canvas of [this.picture, this.paint]) [canvas.width, canvas.height] = [this.width, this.height];
    this.picture.getContext("2d").drawImage(bitmap, 0, 0);
    if (!same) {
      this.on = new Uint8Array(this.width * this.height);
      [this.past, this.future] = [[], []];
      this.size.max = Math.max(2, Math.round(Math.max(this.width, this.height) / 2));
      this.size.value = Math.max(1, Math.round(Math.max(this.width, this.height) / 8));
      this.spot = { x: this.width >> 1, y: this.height >> 1 };
    }
    this.draw();
    this.fit();
    this.tell();
  }

  // ---- painting

  /** A disc of the brush's size. Its middle is a pixel where the size is odd, and a corner of four where it is even. */
  dab(x, y) {
    const size = Number(this.size.value);
    const half = (size - 1) / 2;
    const [left, top] = [Math.round(x - half), Math.round(y - half)];
    const value = this.tool === "brush" ? 1 : 0;
    for (let j = Math.max(0, top); j < Math.min(this.height, top + size); j++) {
      for (let i = Math.max(0, left); i < Math.min(this.width, left + size); i++) {
        if ((i - left - half) ** 2 + (j - top - half) ** 2 <= (half + 0.3) ** 2) this.on[j * this.width + i] = value;
      }
    }
    this.draw(left, top, size, size);
  }

  line(from, to) {
    const far = Math.hypot(to.x - from.x, to.y - from.y);
    const steps = Math.max(1, Math.ceil(far / Math.max(1, Number(this.size.value) / 4)));
    for (let i = 1; i <= steps; i++) this.dab(from.x + ((to.x - from.x) * i) / steps, from.y + ((to.y - from.y) * i) / steps);
  }

  draw(x = 0, y = 0, width = this.width, height = this.height) {
    const [left, top] = [Math.max(0, x), Math.max(0, y)];
    const [w, hh] = [Math.min(this.width, x + width) - left, Math.min(this.height, y + height) - top];
    if (w <= 0 || hh <= 0) return;
    const image = new ImageData(w, hh);
    for (let j = 0; j < hh; j++) {
      for (let i = 0; i < w; i++) if (this.on[(top + j) * this.width + left + i]) image.data.set(INK, 4 * (j * w + i));
    }
    this.paint.getContext("2d").putImageData(image, left, top);
  }

  /** Do something that can be undone. */
  change(act) {
    if (!this.width) return;
    this.remember();
    act();
    this.draw();
    this.tell();
  }

  remember() {
    this.past.push(this.on.slice());
    this.future = [];
    while (this.past.length * this.on.length > MEMORY && this.past.length > 1) this.past.shift();
  }

  undo() {
    this.turn("past", "future");
  }

  redo() {
    this.turn("future", "past");
  }

  turn(from, to) {
    if (!this.width || !this[from].length) return;
    this[to].push(this.on);
    this.on = this[from].pop();
    this.draw();
    this.tell();
  }

  invert() {
    this.change(() => this.on.forEach((v, i) => (this.on[i] = 1 - v)));
  }

  get empty() {
    return !this.width || !this.on.includes(1);
  }

  tell() {
    const n = this.on.reduce((a, b) => a + b, 0);
    n ? say(this.told, "masked", { n: Math.max(1, Math.round((100 * n) / this.on.length)) }) : say(this.told, "noMask");
    this.dispatchEvent(new Event("change"));
  }

  // ---- files

  /** As the API wants it: transparent where something new is wanted. */
  file() {
    const canvas = h("canvas", { width: this.width, height: this.height });
    const image = new ImageData(this.width, this.height);
    for (let i = 0; i < this.on.length; i++) image.data[4 * i + 3] = this.on[i] ? 0 : 255;
    canvas.getContext("2d").putImageData(image, 0, 0);
    return new Promise((done) => canvas.toBlob((data) => done(new File([data], "mask.png", { type: "image/png" })), "image/png"));
  }

  async save() {
    if (!this.width) return;
    const url = URL.createObjectURL(await this.file());
    h("a", { href: url, download: "mask.png" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  /** A mask from a file: what is transparent in it, or, where nothing is, what is white; as the server reads one. */
  async load(file) {
    const bitmap = await createImageBitmap(file);
    const size = (o) => `${o.width}×${o.height}`;
    if (size(bitmap) !== size(this)) return say(this.told, "maskSize", { a: size(bitmap), b: size(this) });
    const context = h("canvas", { width: this.width, height: this.height }).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, this.width, this.height);
    let clear = false;
    for (let i = 3; i < data.length; i += 4) clear ||= data[i] < 255;
    const value = (i) => (clear ? 255 - data[i + 3] : (data[i] + data[i + 1] + data[i + 2]) / 3);
    this.change(() => this.on.forEach((_, i) => (this.on[i] = value(4 * i) > 127 ? 1 : 0)));
  }

  // ---- looking closer

  fit() {
    const { clientWidth: w, clientHeight: hh } = this.stage;
    if (!this.width || !w) return;
    this.scale = Math.min(w / this.width, hh / this.height) * 0.94;
    this.left = (w - this.width * this.scale) / 2;
    this.top = (hh - this.height * this.scale) / 2;
    this.place();
  }

  /** Closer or farther, and the point (x, y) of the stage stays where it is. */
  zoom(by, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(ZOOMS[1], Math.max(ZOOMS[0], this.scale * by));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.place();
  }

  place() {
    if (!this.width) return;
    this.sheet.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.scale})`;
    this.sheet.classList.toggle("pixels", this.scale > 2);
    const size = Number(this.size.value);
    const at = (pixel, from) => from + (pixel + 0.5 - size / 2) * this.scale;
    const { style } = this.ring;
    style.width = style.height = `${size * this.scale}px`;
    style.transform = `translate(${at(this.spot.x, this.left)}px, ${at(this.spot.y, this.top)}px)`;
  }

  /** The pixel of the picture under the pointer; a fraction counts from the pixel's middle. */
  under(event) {
    const box = this.stage.getBoundingClientRect();
    return {
      x: (event.clientX - box.left - this.stage.clientLeft - this.left) / this.scale - 0.5,
      y: (event.clientY - box.top - this.stage.clientTop - this.top) / this.scale - 0.5,
    };
  }

  // ---- hands

  listen() {
    const { stage } = this;
    let doing = null; // "paint" or "pan"
    stage.addEventListener("pointerdown", (event) => {
      if (!this.width || event.button > 1) return;
      event.preventDefault();
      stage.focus({ preventScroll: true });
      stage.setPointerCapture(event.pointerId);
      doing = event.button === 1 || this.panning ? "pan" : "paint";
      this.spot = this.under(event);
      if (doing === "paint") this.remember();
      if (doing === "paint") this.dab(this.spot.x, this.spot.y);
      this.place();
    });
    stage.addEventListener("pointermove", (event) => {
      if (!this.width) return;
      if (doing === "pan") {
        this.left += event.movementX;
        this.top += event.movementY;
        return this.place();
      }
      const to = this.under(event);
      if (doing === "paint") this.line(this.spot, to);
      this.spot = to;
      this.place();
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      stage.addEventListener(kind, () => {
        if (doing === "paint") this.tell();
        doing = null;
      });
    }
    stage.addEventListener("wheel", (event) => {
      if (!this.width) return;
      event.preventDefault();
      const box = stage.getBoundingClientRect();
      this.zoom(1.0015 ** -event.deltaY, event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    stage.addEventListener("keydown", (event) => this.width && this.key(event));
    stage.addEventListener("keyup", (event) => event.key === " " && this.pan(false));
    stage.addEventListener("blur", () => this.pan(false));
    new ResizeObserver(() => this.fit()).observe(stage);
  }

  pan(on) {
    this.panning = on;
    this.stage.classList.toggle("pan", on);
  }

  key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const acts = {
      Enter: () => this.change(() => this.dab(this.spot.x, this.spot.y)), " ": () => this.pan(true),
      b: () => this.take("brush"), e: () => this.take("eraser"), i: () => this.invert(), 0: () => this.fit(),
      "[": () => this.grow(-1), "]": () => this.grow(1), "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5),
    };
    const held = event.ctrlKey || event.metaKey;
    if (held && event.key.toLowerCase() === "z") event.shiftKey ? this.redo() : this.undo();
    else if (held) return;
    else if (move) this.go(...move.map((v) => v * (event.shiftKey ? Math.max(2, Number(this.size.value)) : 1)));
    else if (acts[event.key]) acts[event.key]();
    else return;
    event.preventDefault();
  }

  grow(by) {
    this.size.value = Number(this.size.value) + by;
    this.place();
  }

  go(x, y) {
    const within = (v, most) => Math.min(most - 1, Math.max(0, Math.round(v)));
    this.spot = { x: within(this.spot.x + x, this.width), y: within(this.spot.y + y, this.height) };
    const [across, down] = [this.left + (this.spot.x + 0.5) * this.scale, this.top + (this.spot.y + 0.5) * this.scale];
    this.left += Math.min(Math.max(across, 0), this.stage.clientWidth) - across; // the brush stays in sight
    this.top += Math.min(Math.max(down, 0), this.stage.clientHeight) - down;
    this.place();
    const on = this.on[this.spot.y * this.width + this.spot.x];
    say(this.told, "at", { ...this.spot, what: on ? "$painted" : "$bare" });
  }
}
