// The server's queue as this tab knows it. The server alone knows how far a job is: so tabs agree, and a reload loses nothing.
//
// A browser opens six connections to a server, in all tabs together. So one job is followed as it happens, the one that is being worked
// on, and only while the tab is looked at; the rest is asked for.

import { begin, events, get, post, remove } from "./api.js";

export const PICTURED = ["generate", "edit", "upscale", "style", "caption"];
const KINDS = [...PICTURED, "serve"].map((kind) => `&kind=${kind}`).join(""); // trainings are looked after where they are shown
const PAGE = 24;
export const pause = (ms) => new Promise((done) => setTimeout(done, ms));
export const ended = (job) => !["queued", "running"].includes(job.state);

export class Jobs extends EventTarget {
  constructor() {
    super();
    this.all = new Map(); // by id
    this.more = false;
    this.wake = () => {};
    this.others = new BroadcastChannel("inkwash");
    this.others.onmessage = ({ data: gone }) => {
      if (gone) this.drop(gone);
      this.dispatchEvent(new CustomEvent("elsewhere"));
      this.refresh().then(() => this.wake(), () => {});
    };
    document.addEventListener("visibilitychange", () => this.wake());
  }

  /** Send a request that becomes a job. */
  async begin(path, body) {
    return this.changed(await begin(path, body));
  }

  async act(id, verb) {
    return this.changed(await post(`/v1/jobs/${id}/${verb}`));
  }

  async delete(id) {
    await remove(`/v1/jobs/${id}`);
    this.drop(id);
    this.stirred(id);
  }

  changed(job) {
    this.put(job);
    this.stirred();
    return job;
  }

  /** Something was begun or stopped from here: look at once, in other tabs too. */
  stirred(gone = null) {
    this.wake();
    this.others.postMessage(gone);
  }

  put(job) {
    const known = this.all.get(job.id);
    if (JSON.stringify(known) === JSON.stringify(job)) return;
    this.all.set(job.id, job);
    this.dispatchEvent(new CustomEvent("job", { detail: { job, before: known } }));
  }

  drop(id) {
    this.all.delete(id);
    this.dispatchEvent(new CustomEvent("gone", { detail: id }));
  }

  /** The newest page; what is missing from it was deleted. */
  async refresh() {
    const known = [...this.all.values()]; // what is begun meanwhile may be missing
    const page = await get(`/v1/jobs?limit=${PAGE}${KINDS}`);
    const there = new Set(page.data.map((j) => j.id));
    const last = page.data.at(-1)?.number ?? 0;
    for (const job of known) if (!there.has(job.id) && (job.number > last || !page.more)) this.drop(job.id);
    for (const job of page.data.reverse()) this.put(job);
    const open = [...this.all.values()].filter((j) => !ended(j)).length;
    if (open < page.counts.queued + page.counts.running) await this.catchUp();
    if (this.oldest === undefined) this.turned(page, last);
  }

  /** What is open but older than the newest page, in a long queue. */
  async catchUp() {
    for (const state of ["running", "queued"]) for (const job of (await get(`/v1/jobs?limit=200&state=${state}${KINDS}`)).data) this.put(job);
  }

  /** The page before. */
  async older() {
    const page = await get(`/v1/jobs?limit=${PAGE}&before=${this.oldest}${KINDS}`);
    for (const job of page.data) this.put(job);
    this.turned(page, page.data.at(-1)?.number ?? this.oldest);
  }

  turned(page, oldest) {
    this.oldest = oldest;
    this.more = page.more;
    this.dispatchEvent(new CustomEvent("page"));
  }

  /** Whom to follow: what runs, else what comes first. */
  next() {
    const open = [...this.all.values()].filter((j) => !ended(j));
    const rank = (j) => [j.state === "running" ? 0 : 1, j.number];
    return open.sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1])[0];
  }

  async run() {
    for (;;) {
      try {
        await this.refresh();
        this.dispatchEvent(new CustomEvent("online", { detail: true }));
        const job = this.next();
        if (job && !document.hidden) await this.follow(job.id);
        else await this.rest(job ? 1000 : 3000);
      } catch (error) {
        this.dispatchEvent(new CustomEvent("online", { detail: false }));
        await this.rest(2000);
      }
    }
  }

  async follow(id) {
    const leave = new AbortController();
    const hidden = () => document.hidden && leave.abort();
    document.addEventListener("visibilitychange", hidden);
    try {
      for await (const job of events(`/v1/jobs/${id}/events`, leave.signal)) this.put(strip(job));
    } catch (error) {
      if (error.status === 404) this.drop(id); // deleted elsewhere
      else if (!leave.signal.aborted) throw error;
    } finally {
      document.removeEventListener("visibilitychange", hidden);
    }
    const job = this.all.get(id);
    if (job && !ended(job)) await this.rest(500); // the stream broke off
  }

  rest(ms) {
    return new Promise((done) => {
      this.wake = done;
      setTimeout(done, ms);
    });
  }
}

const strip = ({ type, ...job }) => job; // the event's kind
