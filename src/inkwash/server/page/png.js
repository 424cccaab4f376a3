// What a picture says of its making: our facts, and the text `parameters` that most programs write.
// PNG has both in text chunks, JPEG and WebP have facts in XMP and the text in EXIF's UserComment.

const OWN = "urn:inkwash:facts:1.0:";
const utf8 = new TextDecoder();
const latin1 = new TextDecoder("latin1");

/** {facts, parameters} of a file; either is null where it is missing. */
export async function read(file) {
  const data = new Uint8Array(await file.arrayBuffer());
  const view = new DataView(data.buffer);
  const found = { facts: null, parameters: null };
  try {
    if (view.getUint32(0) === 0x89504e47) await png(data, view, found);
    else if (view.getUint16(0) === 0xffd8) jpeg(data, view, found);
    else if (view.getUint32(0) === 0x52494646) webp(data, view, found);
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof SyntaxError || error instanceof TypeError)) throw error;
  } // a damaged file tells what it told until there
  return found;
}

async function png(data, view, found) {
  for (let at = 8; at + 8 <= data.length; ) {
    const length = view.getUint32(at);
    const kind = latin1.decode(data.subarray(at + 4, at + 8));
    if (kind === "iTXt" || kind === "tEXt" || kind === "zTXt") {
      const [key, value] = await text(kind, data.subarray(at + 8, at + 8 + length));
      if (key === "inkwash") found.facts ??= JSON.parse(value);
      if (key === "parameters") found.parameters ??= value;
    }
    at += 12 + length;
  }
}

async function text(kind, chunk) {
  const end = chunk.indexOf(0);
  const key = latin1.decode(chunk.subarray(0, end));
  if (kind === "tEXt") return [key, latin1.decode(chunk.subarray(end + 1))];
  if (kind === "zTXt") return [key, latin1.decode(await inflated(chunk.subarray(end + 2)))];
  const language = chunk.indexOf(0, end + 3);
  const from = chunk.indexOf(0, language + 1) + 1;
  const rest = chunk.subarray(from);
  return [key, utf8.decode(chunk[end + 1] ? await inflated(rest) : rest)];
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function jpeg(data, view, found) {
  for (let at = 2; at + 4 <= data.length && data[at] === 0xff && data[at + 1] !== 0xda; ) {
    const length = view.getUint16(at + 2);
    if (data[at + 1] === 0xe1) {
      const payload = data.subarray(at + 4, at + 2 + length);
      const head = latin1.decode(payload.subarray(0, 29));
      if (head.startsWith("Exif\0\0")) comment(payload.subarray(6), found);
      else if (head === "http:/" + "/ns.adobe.com/xap/1.0/\0") xmp(payload.subarray(29), found);
    }
    at += 2 + length;
  }
}

function webp(data, view, found) {
  for (let at = 12; at + 8 <= data.length; ) {
    const kind = latin1.decode(data.subarray(at, at + 4));
    const length = view.getUint32(at + 4, true);
    const payload = data.subarray(at + 8, at + 8 + length);
    if (kind === "XMP ") xmp(payload, found);
    if (kind === "EXIF") comment(latin1.decode(payload.subarray(0, 4)) === "Exif" ? payload.subarray(6) : payload, found);
    at += 8 + length + (length % 2);
  }
}

function xmp(bytes, found) {
  const tree = new DOMParser().parseFromString(utf8.decode(bytes).replace(/\0+$/, ""), "application/xml");
  const node = tree.getElementsByTagNameNS(OWN, "facts")[0];
  if (node) found.facts ??= JSON.parse(node.textContent);
}

/** UserComment (0x9286) in the directory that the first one points at (0x8769). */
function comment(bytes, found) {
  const little = bytes[0] === 0x49;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entry = (at, tag) => {
    const count = view.getUint16(at, little);
    for (let i = 0, e = at + 2; i < count; i++, e += 12) {
      if (view.getUint16(e, little) === tag) return { size: view.getUint32(e + 4, little), at: view.getUint32(e + 8, little) };
    }
    return null;
  };
  const inner = entry(view.getUint32(4, little), 0x8769);
  const value = inner && entry(inner.at, 0x9286);
  if (!value) return;
  const all = bytes.subarray(value.at, value.at + value.size);
  const code = latin1.decode(all.subarray(0, 8));
  const rest = all.subarray(8);
  const zeros = (odd) => rest.filter((b, i) => i % 2 === odd && b === 0).length;
  const [high, low] = [zeros(0), zeros(1)]; // Latin letters tell the order of bytes, on which writers disagree
  const big = high > low || (high === low && !little);
  const said = code === "UNICODE\0" ? new TextDecoder(big ? "utf-16be" : "utf-16le").decode(rest) : utf8.decode(rest);
  if (/Steps: |Seed: |Version: Inkwash/.test(said)) found.parameters ??= said.replace(/\0/g, "");
}

const NAMES = { Steps: "steps", Sampler: "solver", "CFG scale": "guidance", Seed: "seed", Size: "size", Model: "model", "Denoising strength": "strength" };
const NUMBERS = ["steps", "guidance", "seed", "strength"];

/** A quoted value; as it stands where it is no JSON, such as a path with backslashes. */
function unquoted(value) {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** The text `parameters` as facts: the prompt, then "Negative prompt: …", then a last line of pairs. */
export function facts(parameters) {
  const lines = parameters.trim().split("\n");
  const out = {};
  const pairs = [...lines.at(-1).matchAll(/\s*([\w][\w /-]*):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)/g)];
  if (pairs.length >= 2 || /^Steps: /.test(lines.at(-1))) {
    lines.pop();
    for (const [, key, value] of pairs) {
      const name = NAMES[key.trim()] ?? key.trim().toLowerCase().replace(/[ /-]/g, "_");
      const plain = value.startsWith('"') ? unquoted(value) : value.trim();
      out[name] = NUMBERS.includes(name) && Number.isFinite(Number(plain)) ? Number(plain) : plain;
    }
  }
  const at = lines.findIndex((line) => line.startsWith("Negative prompt:"));
  out.prompt = (at < 0 ? lines : lines.slice(0, at)).join("\n").trim();
  if (at >= 0) out.negative = lines.slice(at).join("\n").slice(16).trim();
  return out;
}
