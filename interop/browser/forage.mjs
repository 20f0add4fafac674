// What is to hold beside localForage itself, without the npm package on it: who comes first, other tabs, other
// stores in the same database, and exact numbers.

import { Kv, assert, equal, isEqual, kv, localforage, set, sortedKeys, stores, until } from "./stores.mjs";
import { elsewhere } from "./tab.mjs";

const entry = (value, expires = null) => ({ expires, value });

// The database of localForage, and what is in it.
const raw = async (key) => (await localforage.getItem(key)) ?? null;

// One writes before the other is opened.
export async function after(driver) {
  const { forage, ours } = stores[driver];
  await forage.setItem("theirs", entry({ a: [1] }));
  await forage.setItem("gone", entry(1, 1));
  const store = ours();
  equal(await store.all(), { theirs: { a: [1] } });
  await set(store, "ours", { b: 2 });
  equal(await forage.getItem("ours"), entry({ b: 2 }));
  equal(sortedKeys(await forage.keys()).filter((key) => key !== "gone"), ["ours", "theirs"]);
  await forage.removeItem("ours");
  equal(await store.keys(), ["theirs"]);
}

export async function before(driver) {
  const { forage, ours } = stores[driver];
  const store = ours();
  await set(store, "ours", { b: 2 }, 3600);
  equal(await store.keys(), ["ours"]);
  const found = await forage.getItem("ours");
  equal(found.value, { b: 2 });
  const left = found.expires - Date.now();
  assert(left <= 3_600_000 && left > 3_500_000, left);
  await forage.setItem("theirs", entry({ a: [1] }));
  equal(await store.get("theirs"), { a: [1] });
  equal(await forage.length(), 2);
  // What it is asked for first by itself is whether it can keep a Blob.
  if (driver === "IndexedDB") {
    await forage.setItem("blob", new Blob(["abc"]));
    assert((await forage.getItem("blob")) instanceof Blob, "a Blob");
  }
  equal(sortedKeys(await store.keys()), ["ours", "theirs"]);
  await store.clear();
  equal(await forage.keys(), driver === "IndexedDB" ? ["blob"] : []);
}

// Both are opened on a page that has nothing yet, and write at the same time.
export async function together(driver) {
  const { forage, ours, npm } = stores[driver];
  const [store, other, theirs] = [ours(), ours(), npm()];
  const numbers = Array.from({ length: 100 }, (_, n) => n);
  await Promise.all(
    numbers.flatMap((n) => [
      set(store, `ours ${n}`, n),
      forage.setItem(`forage ${n}`, entry(n)),
      theirs.set(`npm ${n}`, n),
      set(other, `other ${n}`, n),
    ]),
  );
  const all = numbers.flatMap((n) => ["ours", "forage", "npm", "other"].map((who) => [`${who} ${n}`, n]));
  equal(await store.all(), Object.fromEntries(all));
  equal(await theirs.all(), Object.fromEntries(all));
  equal(await forage.length(), 400);
  const mixed = numbers.flatMap((n) => [store.del(`forage ${n}`), forage.removeItem(`ours ${n}`), store.get(`npm ${n}`)]);
  await Promise.all(mixed);
  equal(await forage.length(), 200);
  equal(sortedKeys(await store.keys()), sortedKeys(all.map(([key]) => key).filter((key) => /^(npm|other)/.test(key))));
}

// The other side is in another tab. A localStorage is not the same at once in all tabs.
export async function tabs(driver) {
  const { forage, ours } = stores[driver];
  const seen = async (read, expected) => {
    if (driver === "IndexedDB") return equal(await read(), expected);
    await until(async () => isEqual(await read(), expected), `${read} gives ${JSON.stringify(expected)}`);
  };
  const store = ours();
  const tab = await elsewhere();
  await set(store, "a", { here: 1 });
  await seen(() => tab.run("forage", driver, "getItem", "a"), entry({ here: 1 }));
  await tab.run("forage", driver, "setItem", "b", entry({ there: 2 }));
  await seen(() => store.get("b"), { there: 2 });
  await tab.run("npm", driver, "set", "c", 3);
  await seen(() => store.get("c"), 3);
  await tab.run("ours", driver, "set", "d", 4);
  await seen(() => forage.getItem("d"), entry(4));
  await seen(() => store.all(), { a: { here: 1 }, b: { there: 2 }, c: 3, d: 4 });
  await seen(async () => sortedKeys(await tab.run("ours", driver, "keys")), ["a", "b", "c", "d"]);
  await tab.run("ours", driver, "del", "b");
  await seen(() => forage.getItem("b"), null);
  await Promise.all([
    ...Array.from({ length: 50 }, (_, n) => set(store, `here ${n}`, n)),
    ...Array.from({ length: 50 }, (_, n) => tab.run("ours", driver, "set", `there ${n}`, n)),
  ]);
  await seen(async () => (await tab.run("npm", driver, "keys")).length, 103);
  await seen(async () => (await store.keys()).length, 103);
  await tab.run("npm", driver, "clear");
  await seen(() => store.keys(), []);
  await tab.close();
}

// Another store in the same database is made by a new version of it, for which all that have it open let go.
export async function versions() {
  const store = new Kv("localforage:");
  await set(store, "a", 1);
  await localforage.setItem("b", entry(2));
  const tab = await elsewhere();
  equal(sortedKeys(await tab.run("npm", "IndexedDB", "keys")), ["a", "b"]);
  equal(sortedKeys(await tab.run("ours", "IndexedDB", "keys")), ["a", "b"]);

  const second = localforage.createInstance({ name: "localforage", storeName: "second" });
  await second.setItem("c", entry(3));
  equal(await store.all(), { a: 1, b: 2 });
  equal(await new Kv("localforage:?store=second").all(), { c: 3 });
  equal(sortedKeys(await tab.run("ours", "IndexedDB", "keys")), ["a", "b"]);

  const third = new Kv("localforage:?store=third");
  await set(third, "d", 4);
  equal(await localforage.getItem("b"), entry(2));
  equal(await second.getItem("c"), entry(3));
  equal(sortedKeys(await tab.run("npm", "IndexedDB", "keys")), ["a", "b"]);
  const forage = localforage.createInstance({ name: "localforage", storeName: "third" });
  equal(await forage.getItem("d"), entry(4));
  equal(await store.all(), { a: 1, b: 2 });

  // Another database.
  const named = localforage.createInstance({ name: "app", storeName: "settings" });
  const ours = new Kv("localforage:?name=app&store=settings");
  await named.setItem("e", entry(5));
  equal(await ours.all(), { e: 5 });
  await set(ours, "f", 6);
  equal(await kv(named).all(), { e: 5, f: 6 });
  await tab.close();
}

// What localForage drops is gone, and whoever had it open does not keep it from that.
export async function dropped() {
  const store = new Kv("localforage:");
  await set(store, "a", 1);
  await localforage.ready();
  await localforage.dropInstance({ name: "localforage" });
  const names = (await indexedDB.databases()).map(({ name }) => name);
  equal(names, []);
  const found = await store.get("a").catch((error) => error.name);
  assert(found === null || found === "Unreachable", found);
  await until(() => set(store, "b", 2).then(() => true, () => false), "it is made anew");
  equal(await store.all(), { b: 2 });
}

// Integers beyond what JavaScript counts exactly come back as they were, and are ordinary entries to the others.
export async function exact(name) {
  const { forage, npm, ours } = stores[name];
  const numbers = ["18446744073709551615", "-9223372036854775807", "9007199254740993"];
  const exact = [
    ...numbers.map((text) => [text, JSON.rawJSON(text)]),
    ['{"n":[12345678901234567890]}', { n: [JSON.rawJSON("12345678901234567890")] }],
  ];
  const store = ours();
  for (const [text, value] of exact) {
    await store.set("exact", value);
    equal(await lastParsed(() => store.get("exact")), text, "as text");
    equal(await npm().get("exact"), JSON.parse(text), "npm");
    equal(await npm().all(), { exact: JSON.parse(text) }, "npm lists");
    const kept = await forage?.getItem("exact");
    if (kept) equal({ ...kept, json: undefined }, entry(JSON.parse(text)), "localForage");
    // Written by others it is what they wrote.
    await npm().set("exact", 5);
    equal(await lastParsed(() => store.get("exact")), "5", "npm's text");
    await store.clear();
  }
}

// The last text that the module parses meanwhile: what comes out of that is a number of JavaScript's.
async function lastParsed(work) {
  const { parse } = JSON;
  let last;
  JSON.parse = (text, ...rest) => {
    last = text;
    return parse(text, ...rest);
  };
  try {
    await work();
  } finally {
    JSON.parse = parse;
  }
  return last;
}

// What only structured clones can hold neither breaks a listing nor goes.
export async function clones() {
  const odd = {
    date: new Date(0),
    map: new Map([["a", 1]]),
    bytes: new Uint8Array([1, 2]),
    nan: NaN,
    big: 12345678901234567890n,
    missing: { a: undefined, b: 1 },
  };
  for (const [key, value] of Object.entries(odd)) await localforage.setItem(key, entry(value));
  const store = new Kv("localforage:");
  await set(store, "ours", 1);
  const keys = await store.keys();
  assert(keys.includes("ours"), keys);
  const listed = await store.all().catch((error) => error);
  assert(!(listed instanceof Error), "a listing:", String(listed));
  equal(listed.ours, 1);
  // As `JSON.stringify` has it.
  equal(listed.missing, { b: 1 });
  for (const key of Object.keys(odd)) {
    const found = await store.get(key).catch((error) => error.name);
    assert((await raw(key)) !== null, key, "is still there");
    assert(typeof found !== "function", key, found);
  }
  await store.prune();
  equal((await localforage.keys()).length, Object.keys(odd).length + 1);
}
