// What every list on the page is made of: a card with a title, a state, its progress, a sentence and buttons, the newest first.

import { h, report, say } from "./dom.js";

export class Card {
  /** parts: what stands between the progress and the sentence. */
  constructor(id, ...parts) {
    this.title = h("p", { class: "asked" });
    this.model = h("span", { class: "model" });
    this.state = h("span", { class: "state" });
    this.bar = h("progress", { name: "progress", max: 1 });
    this.said = h("p", { class: "said", role: "status" });
    this.buttons = h("div", { class: "buttons" });
    this.node = h("li", { class: "card", id },
      h("div", { class: "line" }, this.title, this.model, this.state), this.bar, ...parts, this.said, this.buttons);
  }

  /** open: whether it goes on. share: how much is done, where that is known. */
  progress(open, share) {
    this.bar.hidden = !open;
    if (Number.isFinite(share)) this.bar.value = share;
    else this.bar.removeAttribute("value");
  }

  /** A button by the key of its word. What goes wrong is told beside it. */
  button(key, act) {
    const press = async () => {
      try {
        await act();
      } catch (error) {
        report(this.said, error);
      }
    };
    return h("button", { type: "button", class: "quiet", "data-act": key, t: key, onclick: press });
  }

  /** Pictures do not come back: a first press asks, a second one deletes, and looking elsewhere takes the question back. */
  deletion(act) {
    const ask = (sure) => {
      node.classList.toggle("sure", sure);
      say(node, sure ? "reallyDelete" : "delete");
    };
    const node = this.button("delete", () => (node.classList.contains("sure") ? act() : ask(true)));
    node.addEventListener("blur", () => ask(false));
    return node;
  }

  /** What can be done now, false for what cannot. The same buttons as before stay: new ones would lose the focus. */
  offer(...buttons) {
    const wanted = buttons.filter(Boolean);
    const keys = (nodes) => [...nodes].map((node) => node.dataset.act).join();
    if (keys(this.buttons.children) !== keys(wanted)) this.buttons.replaceChildren(...wanted);
  }
}

/** The cards of a list by the ids of what they show. make: a card for something. */
export class Cards extends Map {
  constructor(list, make) {
    super();
    Object.assign(this, { list, make });
  }

  /** rank: the higher stand first. Filled before it is shown: a screen reader reads changes out, and history is none. */
  put(thing, rank) {
    const known = this.get(thing.id);
    const card = known ?? Object.assign(this.make(thing), { rank });
    card.update(thing);
    if (known) return;
    this.set(thing.id, card);
    const next = [...this.list.children].find((node) => this.get(node.id).rank < rank);
    this.list.insertBefore(card.node, next ?? null);
  }

  drop(id) {
    this.get(id)?.node.remove();
    this.delete(id);
  }
}
