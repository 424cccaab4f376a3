// The public API, and nothing else. The key, where the server wants one, lives as long as this tab.

const KEY = "inkwash.key";
let asking = null; // one question for a key, however many requests wait for it
let ask = async () => null;

export const askWith = (dialog) => (ask = dialog);

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers(more) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, Authorization: `Bearer ${key}` } : more;
}

async function unlocked(wrong) {
  asking ??= ask(wrong).finally(() => (asking = null));
  const key = await asking;
  if (key) sessionStorage.setItem(KEY, key);
  return key;
}

async function send(path, options = {}) {
  for (;;) {
    const used = sessionStorage.getItem(KEY);
    const answer = await fetch(path, { ...options, headers: headers(options.headers ?? {}) });
    if (answer.ok) return answer;
    const message = await answer.json().then((b) => b.error.message, () => `${answer.status} ${answer.statusText}`);
    if (answer.status !== 401) throw new ApiError(answer.status, message);
    const newer = sessionStorage.getItem(KEY) !== used; // another request has asked already
    if (!newer && !(await unlocked(Boolean(used)))) throw new ApiError(401, message);
  }
}

const json = (path, options) => send(path, options).then((a) => a.json());
const body = (value) =>
  value instanceof FormData || value instanceof Blob
    ? { body: value }
    : { body: JSON.stringify(value), headers: { "Content-Type": "application/json" } };

export const get = (path) => json(path);
export const post = (path, value = {}) => json(path, { method: "POST", ...body(value) });
export const remove = (path) => json(path, { method: "DELETE" });
export const blob = (path) => send(path).then((a) => a.blob());

/** Ask for a job rather than for its result. */
export function begin(path, value) {
  const { headers: kind = {}, body: content } = body(value);
  return json(path, { method: "POST", body: content, headers: { ...kind, Prefer: "respond-async" } });
}

/** A form with files. What is null or empty is left out. */
export function form(fields) {
  const out = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined || value === "") continue;
    if (value instanceof Blob) out.append(name, value, value.name ?? `${name}.png`);
    else out.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return out;
}

/** Events as they come. EventSource sends no key, so the stream is read by hand. */
export async function* events(path, signal) {
  const answer = await send(path, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

/** The server knows itself by the name it was called; behind a proxy only the path is sure. */
export const local = (url) => new URL(url, location.href).pathname;
