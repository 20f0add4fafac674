// What is to hold of each store that both sides share. `share` and the others get one of `stores`, empty.

import { VALUES, entries } from "./data.mjs";
import { Kv, assert, equal, set, sortedKeys, until } from "./stores.mjs";

const HOUR = 3600;

// The npm package does not list the empty key of a `Storage`, and has no cookie under it. Under `__proto__` it
// sets the prototype of the object that it reads cookies into, and lists no such cookie.
const ONLY_READ = ["", "__proto__"];

async function sees(store, all, who) {
  const found = await Promise.all(all.map(([key]) => store.get(key)));
  all.forEach(([key, value], n) => equal(found[n], value, who, "get", key));
  const has = await Promise.all(all.map(([key]) => store.has(key)));
  assert(has.every(Boolean), who, "has");
  equal(sortedKeys(await store.keys()), sortedKeys(all.map(([key]) => key)), who, "keys");
  equal(Object.fromEntries(await store.entries()), Object.fromEntries(all), who, "entries");
  equal(await store.all(), Object.fromEntries(all), who, "all");
  equal((await store.values()).length, all.length, who, "values");
  for (const prefix of ["user:", "user", "a", "%", "no such "]) {
    const below = all.filter(([key]) => key.startsWith(prefix)).map(([key, value]) => [key.slice(prefix.length), value]);
    equal(await store.prefix(prefix).all(), Object.fromEntries(below), who, "all below", prefix);
    equal(sortedKeys(await store.prefix(prefix).keys()), sortedKeys(below.map(([key]) => key)), who, "keys below", prefix);
  }
}

async function misses(store, keys, who) {
  for (const key of keys) {
    // An object's own methods are cookies to the npm package.
    if (key in {} && !(store instanceof Kv)) continue;
    equal(await store.get(key), null, who, "get", key);
    equal(await store.has(key), false, who, "has", key);
  }
}

// Each writes all, the other reads and lists it, deletes some, clears a prefix, and at last everything.
export async function share(place) {
  const all = entries(place.count);
  const ordinary = all.filter(([key]) => !key.startsWith("user:"));
  for (const [writer, reader, who] of [
    [place.npm(), place.ours(), "npm writes"],
    [place.ours(), place.npm(), "we write"],
  ]) {
    for (const [key, value] of all) await set(writer, key, value);
    await sees(reader, all, `${who}, the other reads:`);
    await sees(writer, all, `${who} and reads:`);

    // A null deletes as well.
    const [deleted, kept] = [all.slice(-5), all.slice(0, -5)];
    for (const [n, [key]] of deleted.entries()) await (n % 2 ? reader.del(key) : set(reader, key, null));
    await sees(writer, kept, `${who}, the other deletes:`);
    await misses(writer, deleted.map(([key]) => key), `${who}, the other deletes:`);

    await reader.prefix("user:").clear();
    await sees(writer, ordinary, `${who}, the other clears a prefix:`);
    await sees(reader, ordinary, `${who}, the other clears a prefix:`);

    // Written by one, again by the other.
    const [key, value] = ordinary[0];
    await set(reader, key, { again: value });
    equal(await writer.get(key), { again: value }, who, "again");

    await reader.clear();
    await sees(writer, [], `${who}, the other clears:`);
    await sees(reader, [], `${who}, the other clears:`);
  }
}

// Keys that the npm package does not list everywhere are read and deleted all the same, where it can write them.
export async function odd(place) {
  const [npm, ours] = [place.npm(), place.ours()];
  for (const key of ONLY_READ) {
    if (place.seconds && key === "") continue; // a cookie without a name
    for (const [writer, reader] of [[npm, ours], [ours, npm]]) {
      const value = { of: key };
      await set(writer, key, value);
      equal(await reader.get(key), value, "get", key);
      equal(await ours.keys(), [key], "keys", key);
      equal(await ours.entries(), [[key, value]], "entries", key);
      equal(await ours.all(), Object.fromEntries([[key, value]]), "all", key);
      await reader.del(key);
      equal(await ours.keys(), [], "keys after", key);
    }
  }
}

// What the store holds, however it was written, is the layout that is written down.
export async function layout(place) {
  for (const [store, who] of [[place.npm(), "npm"], [place.ours(), "we"]]) {
    for (const value of VALUES) {
      for (const seconds of [undefined, HOUR, 0.25 + HOUR]) {
        const before = Date.now();
        await set(store, "user:1/é", value, seconds);
        const entry = place.parse(await place.raw("user:1/é"));
        equal(entry.value, value, who, "value");
        if (place.seconds) continue;
        equal(Object.keys(entry).sort(), ["expires", "value"], who);
        if (seconds === undefined) {
          equal(entry.expires, null, who);
        } else {
          const earliest = before + seconds * 1000;
          assert(entry.expires >= earliest && entry.expires < earliest + 60_000, who, entry.expires - earliest);
        }
      }
    }
    await store.del("user:1/é");
    equal(await place.raw("user:1/é"), null, who, "deleted");
  }
}

// What either lets expire both see until then, and neither any more.
export async function expire(place) {
  const sides = { theirs: place.npm(), ours: place.ours() };
  const stores = Object.values(sides);
  const wholes = { theirs: 2, ours: 1.25 };
  // By the clock that both judge by, which has whole milliseconds.
  const begun = Date.now();
  const over = (key) => Date.now() - begun >= earliest(key);
  // The npm package cuts a cookie's expiry to whole seconds; this crate rounds it up.
  const earliest = (key) => (wholes[key] - (place.seconds && key === "theirs" ? 1 : 0)) * 1000;
  for (const [key, store] of Object.entries(sides)) await set(store, key, { of: key }, wholes[key]);
  for (const [key, store] of Object.entries(sides)) await set(store, `long ${key}`, 1, HOUR + 0.5);

  for (const key of Object.keys(sides)) {
    for (const store of stores) {
      await until(async () => {
        const [found, has] = [await store.get(key), await store.has(key)];
        const listed = (await store.keys()).includes(key);
        const gone = found === null && !has && !listed;
        if (found !== null) equal(found, { of: key });
        // Asked after that.
        if (found === null || !listed) assert(over(key), key, "was gone early");
        return gone;
      }, `${key} expires`);
    }
  }
  for (const store of stores) equal(sortedKeys(await store.keys()), ["long ours", "long theirs"]);
  for (const store of stores) equal(await store.get("long theirs"), 1);

  // An expiry that is over deletes.
  for (const [writer, reader] of [stores, [...stores].reverse()]) {
    for (const seconds of [0, -1]) {
      await set(writer, "over", 1);
      await set(reader, "over", 2, seconds);
      await misses(writer, ["over"]);
      await misses(reader, ["over"]);
    }
  }
}

// Written again by the other side, an entry lives as long as that said.
export async function renew(place) {
  const [npm, ours] = [place.npm(), place.ours()];
  const brief = place.seconds ? 3 : 1;
  for (const [writer, reader, who] of [[npm, ours, "by us"], [ours, npm, "by npm"]]) {
    await set(writer, "for ever", 1, brief);
    await set(writer, "longer", 1, brief);
    await set(writer, "deleted", 1, brief);
    await set(writer, "shorter", 1, HOUR);
    await set(writer, "control", 1, brief);
    await set(reader, "for ever", 2);
    await set(reader, "longer", 2, HOUR);
    await reader.del("deleted");
    await set(reader, "shorter", 2, brief);
    await until(async () => (await ours.keys()).length === 2, `two are left ${who}`);
    for (const store of [npm, ours]) {
      equal(sortedKeys(await store.keys()), ["for ever", "longer"], who);
      equal(await store.all(), { "for ever": 2, longer: 2 }, who);
    }
    if (!place.seconds) {
      const left = await ours.ttl("longer");
      assert(left <= HOUR * 1000 && left > HOUR * 1000 - 120_000, who, left);
      assert((await ours.ttl("for ever")) === Infinity, who);
    }
    await reader.clear();
  }
}

// What this crate tells of an entry's time is what npm wrote, and what it changes npm reads.
export async function time(place) {
  const [npm, ours] = [place.npm(), place.ours()];
  await set(npm, "fraction", 1, HOUR + 0.0005);
  const entry = place.parse(await place.raw("fraction"));
  assert(!Number.isInteger(entry.expires), "npm keeps fractions of a millisecond:", entry.expires);
  const left = await ours.ttl("fraction");
  assert(left <= HOUR * 1000 + 1 && left > HOUR * 1000 - 60_000, left);

  const touched = await ours.touch("fraction", "2h").catch((error) => error.name);
  // Other tabs may write a localStorage at any time.
  assert(touched === true || touched === "Unsupported", touched);
  if (touched !== true) return;
  const renewed = place.parse(await place.raw("fraction"));
  assert(renewed.expires > entry.expires + 0.9 * HOUR * 1000, renewed);
  equal(await npm.get("fraction"), 1);
  assert((await ours.insert("fraction", 2)) === false, "it is there");
  await npm.del("fraction");
  assert((await ours.insert("fraction", 2)) === true, "npm has deleted it");
  equal(await npm.get("fraction"), 2);
}

// What has expired is removed by `prune`, whoever wrote it, and nothing else.
export async function prune(place) {
  const [npm, ours] = [place.npm(), place.ours()];
  for (const [store, who] of [[npm, "npm"], [ours, "ours"]]) {
    for (let n = 0; n < 10; n++) await set(store, `${who} ${n}`, n, 0.02);
    await set(store, `${who} kept`, 1, HOUR);
  }
  // The npm package looks at the time, and removes nothing.
  await until(async () => (await npm.keys()).length === 2, "all others expire");
  const there = await Promise.all([..."0123456789"].map((n) => place.raw(`npm ${n}`)));
  assert(there.every((raw) => raw !== null), "npm has removed something");
  assert((await ours.prune()) >= 10, "pruned");
  for (const who of ["npm", "ours"]) {
    for (const n of "0123456789") equal(await place.raw(`${who} ${n}`), null, who, n);
  }
  for (const store of [npm, ours]) equal(sortedKeys(await store.keys()), ["npm kept", "ours kept"]);
}

// What neither of both wrote stays, and is not listed.
export async function foreign(place, entries) {
  const [npm, ours] = [place.npm(), place.ours()];
  for (const [key, raw] of entries) await place.write(key, raw);
  const kept = async () => Promise.all(entries.map(([key]) => place.raw(key)));
  const before = await kept();
  assert(before.every((raw) => raw !== null), "they are there");
  for (const [writer, reader] of [[npm, ours], [ours, npm]]) {
    await set(writer, "f:a", 1);
    await set(writer, "z", { b: 2 }, HOUR);
    equal(await ours.all(), { "f:a": 1, z: { b: 2 } });
    equal(sortedKeys(await ours.keys()), ["f:a", "z"]);
    equal(await reader.get("z"), { b: 2 });
    await ours.prefix("f:").clear();
    equal(await kept(), before, "after a prefix was cleared");
    await ours.clear();
    equal(await kept(), before, "after all was cleared");
    equal(await ours.keys(), []);
    await ours.prune().catch((error) => assert(error.name === "Unsupported", error));
    equal(await kept(), before, "after pruning");
  }
}
