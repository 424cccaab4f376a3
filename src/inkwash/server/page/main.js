// The page: sections, language, theme, and what belongs to no section.

import { askWith, blob, get, local } from "./api.js";
import { $, h, name, report, say, translate } from "./dom.js";
import { Editing } from "./edit.js";
import { ModelForm } from "./form.js";
import { Gallery } from "./gallery.js";
import { Grids } from "./grids.js";
import { Jobs } from "./jobs.js";
import { facts as parsed, read } from "./png.js";
import { chooser, picture } from "./slot.js";
import { Tools } from "./tools.js";
import { Training } from "./training.js";
import { View } from "./view.js";
import { knows, language, speak, t } from "./words.js";

const TABS = ["draw", "edit", "grids", "tools", "train"];
const DRAFT = "inkwash.draft";
const jobs = new Jobs();
const drawing = new ModelForm("generate");
const editing = new Editing(jobs);
const grids = new Grids(jobs);
const tools = new Tools(jobs);
const training = new Training(jobs);
let models = [];

// ---- sections

function open(tab) {
  for (const other of TABS) {
    $(other).hidden = other !== tab;
    $(`tab-${other}`).setAttribute("aria-selected", String(other === tab));
    $(`tab-${other}`).tabIndex = other === tab ? 0 : -1;
  }
  document.body.dataset.tab = tab;
  history.replaceState(null, "", `#${tab}`);
  grids.show(tab === "grids");
  training.show(tab === "train");
  if (tab === "edit") editing.shown();
}

function sections() {
  name($("tabs"), "sections");
  for (const tab of TABS) $(`tab-${tab}`).addEventListener("click", () => open(tab));
  $("tabs").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    const to = TABS[(TABS.indexOf(document.body.dataset.tab) + by + TABS.length) % TABS.length];
    open(to);
    $(`tab-${to}`).focus();
  });
  const asked = location.hash.slice(1);
  open(TABS.includes(asked) ? asked : "draw");
}

// ---- language and theme

function spoken() {
  document.documentElement.lang = language() === "zh" ? "zh-Hans" : "en";
  translate();
}

function choices() {
  name($("language"), "language");
  $("language").value = language();
  $("language").addEventListener("change", (event) => {
    speak(event.target.value);
    spoken();
  });
  name($("theme"), "theme");
  const dress = (theme) => (document.documentElement.dataset.theme = theme);
  $("theme").value = localStorage.getItem("inkwash.theme") ?? "auto";
  dress($("theme").value);
  $("theme").addEventListener("change", (event) => {
    localStorage.setItem("inkwash.theme", event.target.value);
    dress(event.target.value);
  });
  $("help").addEventListener("click", () => $("keys").showModal());
  $("keys-close").addEventListener("click", () => $("keys").close());
}

// ---- the key

askWith((wrong) => new Promise((done) => {
  const lock = $("lock");
  $("lock-key").value = "";
  if (wrong) say($("lock-said"), "keyWrong");
  lock.addEventListener("close", () => done($("lock-key").value.trim() || null), { once: true });
  if (!lock.open) lock.showModal();
}));

// ---- drawing

const said = h("p", { class: "said", role: "status", id: "said" });

function drawForm() {
  const form = $("draw-form");
  const restore = h("p", { class: "note restore" }, h("span", { t: "restore" }), " ", chooser("choose", restored));
  form.append(drawing.node, h("div", { class: "go" }, h("button", { class: "main", id: "go", t: "draw" })), said, restore);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    report(said, null);
    try {
      await jobs.begin("/v1/images/generations", drawing.values());
      report(said, { key: "sent" });
    } catch (error) {
      report(said, error);
    }
  });
  form.addEventListener("input", () => sessionStorage.setItem(DRAFT, JSON.stringify(drawing.values())));
}

/** Take up settings. from: the name of the file, where it was one. */
function reuse(facts, kind = "generate", from = null) {
  const edit = kind === "edit" && from === null;
  open(edit ? "edit" : "draw");
  const form = edit ? editing.form : drawing;
  const { taken, missed } = form.fill(facts);
  form.prompt.focus();
  if (from === null) return;
  const list = (keys) => keys.map((key) => (key === "model" ? facts.model : knows(key) ? t(key) : key)).join(", ");
  say(said, missed.length ? "restoredBut" : "restored", { file: from, what: list(taken), missed: list(missed) });
}

async function restored(file) {
  const { facts, parameters } = await read(file);
  said.classList.remove("bad");
  if (facts ?? parameters) reuse(facts ?? parsed(parameters), "generate", file.name);
  else report(said, { key: "silent", values: { file: file.name } });
}

function dropping() {
  let depth = 0; // of dragenter and dragleave, which every child sends too
  const veil = (by) => ($("veil").hidden = (depth = Math.max(0, depth + by)) === 0);
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => carries(event) && document.body.dataset.tab === "draw" && veil(1));
  addEventListener("dragleave", (event) => carries(event) && document.body.dataset.tab === "draw" && veil(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    veil(-Infinity);
    const file = [...(event.dataTransfer?.files ?? [])].find(picture);
    if (file) restored(file);
  });
}

// ---- pictures of the gallery

async function fileOf(shown) {
  const data = await blob(local(shown.url));
  return new File([data], local(shown.url).split("/").at(-1), { type: data.type });
}

const view = new View($("view"), {
  reuse: (job, shown) => reuse(shown.facts, job.kind),
  edit: async (job, shown) => {
    open("edit");
    await editing.take(await fileOf(shown), shown.facts);
  },
  upscale: async (job, shown) => {
    open("tools");
    await tools.use("upscale", await fileOf(shown));
  },
  caption: async (job, shown) => {
    open("tools");
    await tools.use("caption", await fileOf(shown));
  },
}, (key) => !["edit", "caption"].includes(key) || models.some((m) => m.inkwash.does.includes(key)));

// ---- models

async function loadModels() {
  let limits;
  for (;;) {
    try {
      ({ data: models, inkwash: { limits } } = await get("/v1/models"));
      break;
    } catch {
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
  for (const part of [drawing, editing, grids, tools, training]) part.models(models, limits);
  translate();
}

// ---- everything together

addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  const form = event.target.closest?.("form") ?? $(document.body.dataset.tab).querySelector("form");
  form?.requestSubmit();
});

jobs.addEventListener("online", (event) => {
  if (event.detail && !$("status").hidden && models.length) loadModels(); // another server may be there now
  $("status").hidden = event.detail;
  if (!event.detail) say($("status"), models.length ? "offline" : "loading");
});
jobs.addEventListener("job", ({ detail: { job, before } }) => {
  if (job.kind === "serve" && job.state === "done" && models.length && !models.some((m) => m.id === job.model)) loadModels();
});

new Gallery(jobs, view, reuse);
drawForm();
choices();
sections();
dropping();
spoken();
loadModels().then(() => {
  const draft = sessionStorage.getItem(DRAFT);
  if (draft) drawing.fill(JSON.parse(draft));
});
jobs.run();
