// The stores of a page, each as the npm package opens it and as this crate does. localForage is the global of
// its own script.

import kv from "/npm/polystore/index.js";
import init, { Kv } from "/modules/store/store.js";

await init();

const { localforage } = window;

export { Kv, kv, localforage };

// A `Storage`. Entries are text.
const ofStorage = (storage, url) => ({
  npm: () => kv(storage),
  ours: () => new Kv(url),
  raw: async (key) => storage.getItem(key),
  write: async (key, raw) => storage.setItem(key, raw),
  parse: JSON.parse,
  count: 1000,
  seconds: false,
});

// localForage with one of its drivers, which this returns as well. Entries are what it gives.
const ofForage = (driver, url) => {
  const forage = localforage.createInstance({ name: "localforage", driver });
  return {
    forage,
    npm: () => kv(forage),
    ours: () => new Kv(url),
    raw: (key) => forage.getItem(key),
    write: (key, raw) => forage.setItem(key, raw),
    parse: (entry) => entry,
    count: 1000,
    seconds: false,
  };
};

const cookie = (name) => {
  const pairs = document.cookie.split("; ").map((pair) => pair.split("="));
  return pairs.find((pair) => pair[0] === name)?.[1] ?? null;
};

export const stores = {
  localStorage: ofStorage(localStorage, "localstorage:"),
  sessionStorage: ofStorage(sessionStorage, "sessionstorage:"),
  cookie: {
    npm: () => kv("cookie"),
    ours: () => new Kv("cookie:"),
    // The value's text alone: the browser keeps the expiry, and tells nobody.
    raw: async (key) => cookie(encodeURIComponent(key)) ?? cookie(key),
    write: async (key, raw) => (document.cookie = `${key}=${raw}`),
    parse: (raw) => ({ value: JSON.parse(decodeURIComponent(raw)) }),
    count: 80,
    seconds: true,
  },
  IndexedDB: ofForage(localforage.INDEXEDDB, "localforage:"),
  "localForage's localStorage": ofForage(localforage.LOCALSTORAGE, "localforage:?driver=localstorage"),
};

// As `kv(…).set(…)`, on either side.
export const set = (store, key, value, seconds) => {
  if (seconds === undefined) return store.set(key, value);
  return store.set(key, value, store instanceof Kv ? String(seconds) : { expires: seconds });
};

// Leaves nothing of what was there before. In a page that has opened nothing yet.
export async function empty() {
  localStorage.clear();
  sessionStorage.clear();
  for (const pair of document.cookie.split("; ")) {
    document.cookie = `${pair.split("=")[0]}=; expires=${new Date(0).toUTCString()}`;
  }
  for (const { name } of await indexedDB.databases()) {
    await new Promise((done, failed) => {
      const request = indexedDB.deleteDatabase(name);
      request.onsuccess = done;
      request.onerror = () => failed(request.error);
      request.onblocked = () => failed(new Error(`${name} is open`));
    });
  }
}

export function assert(holds, ...said) {
  if (!holds) throw new Error(said.map((it) => (typeof it === "string" ? it : JSON.stringify(it))).join(" "));
}

// Whether both are the same JSON, however their properties are ordered.
export function equal(found, expected, ...said) {
  const [left, right] = [text(found), text(expected)];
  assert(left === right, ...said, `\n found: ${left?.slice(0, 2000)}\n expected: ${right?.slice(0, 2000)}`);
}

export const isEqual = (found, expected) => text(found) === text(expected);

const text = (it) => JSON.stringify(sorted(JSON.parse(JSON.stringify(it ?? null))));

function sorted(it) {
  if (Array.isArray(it)) return it.map(sorted);
  if (typeof it !== "object" || it === null) return it;
  // Not `{}`: what is named `__proto__` is as good as any other.
  return ["an object", Object.entries(it).map(([key, value]) => [key, sorted(value)]).sort(byKey)];
}

const byKey = ([a], [b]) => (a < b ? -1 : a > b ? 1 : 0);

export const sortedKeys = (keys) => [...keys].sort();

// Waits until `holds` answers true.
export async function until(holds, said) {
  const deadline = performance.now() + 30_000;
  while (!(await holds())) {
    assert(performance.now() < deadline, "never:", said);
    await new Promise((done) => setTimeout(done, 10));
  }
}
