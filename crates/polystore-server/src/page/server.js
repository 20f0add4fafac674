// What the server is asked, and how it says no.

import { fieldsOf } from "./text.js";

/** The store's address: the page is at `_/` below it, also where that has a token in the path. */
export const base = new URL("../", document.baseURI);

const slot = `polystore.token ${base.pathname}`;
let token = read();

function read() {
  try {
    return sessionStorage.getItem(slot) ?? "";
  } catch {
    return "";
  }
}

export const hasToken = () => token !== "";

/** Keeps the token for as long as this tab is open; an empty one is forgotten. */
export function useToken(text) {
  token = text;
  try {
    if (text) sessionStorage.setItem(slot, text);
    else sessionStorage.removeItem(slot);
  } catch {
    // Then it is kept until the page is left.
  }
}

/** What went wrong, in words for a person. */
export class Problem extends Error {
  constructor(message, status = 0, kind = "") {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1).replace(/\.?$/, ".") : "");

async function problem(response) {
  let said = {};
  try {
    said = JSON.parse(await response.text());
  } catch {
    // Not every proxy says it in JSON.
  }
  return told({ status: response.status, title: response.statusText, ...said });
}

function told({ status, title, detail, kind, maybe_applied }) {
  const first = { 401: hasToken() ? "The server does not know this token" : "The server wants a token",
    403: "You are not allowed to do this" }[status];
  // How a program says its token is nothing to a person.
  if (status === 401) detail = undefined;
  const parts = [first, detail || (!first && (title || `The server answered ${status}`))].map(sentence);
  if (maybe_applied) parts.push("It may have been done nevertheless: look before you repeat it.");
  return new Problem(parts.filter(Boolean).join(" "), status, kind);
}

/** Sends a request to the store; `path` is relative to it. Other statuses than 2xx and `expected` are thrown. */
async function ask(path, params, { method = "GET", headers = {}, body, expected = [], signal } = {}) {
  const url = new URL(path, base);
  url.search = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== undefined));
  if (token) {
    if (/[^\x21-\x7e]/.test(token)) throw new Problem("A token has no such characters.", 401);
    headers = { ...headers, authorization: `Bearer ${token}` };
  }
  let response;
  try {
    response = await fetch(url, { method, headers, body, signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("The server cannot be reached.");
  }
  if (response.ok || expected.includes(response.status)) return response;
  throw await problem(response);
}

const JSON_BODY = { "content-type": "application/json" };

/** When an entry goes, in milliseconds of this clock; `Infinity` for never, `null` where it is not said. */
function deadline(text) {
  if (text === null || text === undefined) return null;
  return text === "never" ? Infinity : Date.now() + Number(text) * 1000;
}

export const store = async () => (await ask("_/store", {})).json();
export const metrics = async (signal) => (await ask("_/metrics", {}, { signal })).text();

/** The entry as `{ text, expires }`, or `null`. */
export async function get(key) {
  const response = await ask("", { key }, { expected: [404] });
  if (response.status === 404) return null;
  const text = await response.text();
  return { text, expires: deadline(response.headers.get("polystore-ttl")) };
}

export async function put(key, json, expires) {
  await ask("", { key, expires }, { method: "PUT", headers: JSON_BODY, body: json });
}

/** Puts only where nothing is: `"done"`, `"taken"`, or `"checked"` where the store can only look first. */
export async function insert(key, json, expires) {
  const headers = { ...JSON_BODY, "if-none-match": "*" };
  const response = await ask("", { key, expires }, { method: "PUT", headers, body: json, expected: [412, 501] });
  if (response.ok) return "done";
  if (response.status === 412) return "taken";
  const found = await ask("", { key, ttl: false }, { method: "HEAD", expected: [404] });
  if (found.ok) return "taken";
  await put(key, json, expires);
  return "checked";
}

/** Puts under a new key, which the server makes. */
export async function add(json, expires) {
  const response = await ask("", { expires }, { method: "POST", headers: JSON_BODY, body: json });
  return response.json();
}

/** Gives another expiry: `"done"`, `"gone"`, or `"copied"` where the store can only put again what it has. */
export async function touch(key, expires) {
  const response = await ask("", { key, expires }, { method: "PATCH", expected: [404, 501] });
  if (response.ok) return "done";
  const entry = response.status === 501 ? await get(key) : null;
  if (entry === null) return "gone";
  await put(key, entry.text, expires);
  return "copied";
}

export const del = (key) => ask("", { key }, { method: "DELETE" });

/** The most that is read of values that nobody asked for yet. */
const PREVIEWS = 2 << 20;

/**
 * Up to `limit` entries that begin with `prefix`, after the key `after` (without the prefix), each given to
 * `found` as `(key, { text, expires })`. Once they are long, only keys are read on.
 */
export async function list({ prefix, after, limit, signal }, found) {
  let count = 0;
  let last = after;
  const lines = async (values, most) => {
    const stop = new AbortController();
    signal.addEventListener("abort", () => stop.abort());
    const headers = { accept: "application/x-ndjson" };
    const params = { prefix, after: last, limit: limit - count, values: values ? undefined : false };
    const response = await ask("", params, { headers, signal: stop.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = [];
    let length = 0;
    for (;;) {
      const { done, value = "" } = await reader.read();
      const pieces = value.split("\n");
      for (const piece of pieces.slice(0, -1)) {
        rest.push(piece);
        const line = rest.join("");
        rest = [];
        if (!line) continue;
        last = take(line, prefix, found);
        count += 1;
      }
      rest.push(pieces.at(-1));
      length += value.length;
      if (done && rest.join("")) throw new Problem("The listing was cut off.");
      if (done) return true;
      if (length > most) {
        stop.abort();
        return false;
      }
    }
  };
  if (!(await lines(true, PREVIEWS)) && count < limit) await lines(false, Infinity);
}

function take(line, prefix, found) {
  const fields = fieldsOf(line);
  if (fields.error) throw told(JSON.parse(fields.error));
  const key = JSON.parse(fields.key);
  found(prefix + key, { text: fields.value, expires: deadline(fields.ttl) });
  return key;
}

/** A file with every entry that begins with `prefix`, as lines. */
export async function download(prefix) {
  const response = await ask("", { prefix }, { headers: { accept: "application/x-ndjson" } });
  return response.blob();
}

