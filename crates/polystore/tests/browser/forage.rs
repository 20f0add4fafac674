//! `localforage:` on IndexedDB, seen from the page that has it open too.

use crate::world::World;

/// IndexedDB by hand.
const PRELUDE: &str = r#"
const same = (found, expected) => {
  const [a, b] = [found, expected].map((it) => JSON.stringify(it));
  if (a !== b) throw new Error(`${a} instead of ${b}`);
};
/** The name of what it throws. */
const failure = (promise) => promise.then((it) => `nothing, but gave ${it}`, (error) => error.name);
const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});
/** The database as it is. It stands in nobody's way. */
const open = async (name = "localforage", version = undefined, upgrade = undefined) => {
  const request = indexedDB.open(name, version);
  request.onupgradeneeded = () => upgrade?.(request.result);
  const database = await done(request);
  database.onversionchange = () => database.close();
  return database;
};
const store = async (mode, work, name = "localforage", of = "keyvaluepairs") => {
  const database = await open(name);
  const found = await work(database.transaction(of, mode).objectStore(of));
  database.close();
  return found;
};
const put = (key, value) => store("readwrite", (it) => done(it.put(value, key)));
const get = (key) => store("readonly", (it) => done(it.get(key)));
const keys = () => store("readonly", (it) => done(it.getAllKeys()));
"#;

/// Runs each of these in a page of its own, which nobody has used before.
macro_rules! in_pages {
    ($($name:ident: $script:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let Some(world) = World::open("/", |pages| pages).await else { return };
            world.run(&format!("{PRELUDE}\n{}", $script)).await;
            world.end().await;
        }
    )*};
}

in_pages! {
    entries_lie_where_localforage_has_them: r#"
      const kv = new Kv("localforage:");
      await kv.set("a", {b: [1, null]});
      await kv.set("c", "d", "1h");
      const database = await open();
      same([database.version, [...database.objectStoreNames]],
        [2, ["keyvaluepairs", "local-forage-detect-blob-support"]]);
      database.close();
      same(await get("a"), {expires: null, value: {b: [1, null]}});
      const {expires, value, ...rest} = await get("c");
      same([value, rest], ["d", {}]);
      if (Math.abs(expires - Date.now() - 3_600_000) > 60_000) throw new Error(expires);
    "#;

    names_are_those_of_localforage: r#"
      await new Kv("localforage:?name=an%20app&store=my-😀store.2").set("a", 1);
      const database = await open("an app");
      same([...database.objectStoreNames], ["local-forage-detect-blob-support", "my-😀store.2"]);
      for (const url of ["localforage:x", "localforage:?name=", "localforage:?store=", "localforage:?driver=websql",
        "localforage:?table=a"]) {
        let name = "nothing";
        try { new Kv(url); } catch (error) { name = error.name; }
        same([url, name], [url, "InvalidOption"]);
      }
    "#;

    a_missing_store_is_added_in_the_next_version: r#"
      (await open("app", 7, (database) => database.createObjectStore("theirs"))).close();
      const kv = new Kv("localforage:?name=app");
      await kv.set("a", 1);
      const other = new Kv("localforage:?name=app&store=other");
      await other.set("a", 2);
      same([await kv.get("a"), await other.get("a")], [1, 2]);
      const database = await open("app");
      same([database.version, [...database.objectStoreNames]], [9, ["keyvaluepairs", "other", "theirs"]]);
    "#;

    what_others_store_is_left_alone: r#"
      const kv = new Kv("localforage:");
      await kv.set("x-ours", 1);
      const foreign = new Map([
        ["x-blob", new Blob(["x"])], ["x-date", new Date()], ["x-nothing", undefined], ["x-text", "text"],
        ["x-number", 5], ["x-array", [null, 5]], ["x-big", {expires: null, value: 5n}],
        ["x-map", {expires: null, value: new Map()}], ["x-open", {value: 1}], ["x-words", {expires: "soon", value: 1}],
        ["x-empty", {expires: null}], ["x-nan", {expires: NaN, value: 1}],
      ]);
      for (const [key, value] of foreign) await put(key, value);
      const others = [5, new Date(0), new Uint8Array([120]), ["x-ours"], "x-\ud800", "x-\udfff\ud800"];
      for (const key of others) await put(key, {expires: null, value: 1});
      await put("x-\ufffd", {expires: null, value: 1});
      for (const key of foreign.keys()) {
        same([key, await failure(kv.get(key))], [key, key === "x-nothing" ? "nothing, but gave null" : "Corrupt"]);
      }
      const ours = ["x-ours", "x-\ufffd"];
      same((await kv.keys()).sort(), ours);
      same((await kv.prefix("x-").entries()).map(([key]) => key).sort(), ["ours", "\ufffd"]);
      await kv.prefix("x-").clear();
      await kv.clear();
      same((await keys()).length, foreign.size + others.length);
      // A write is a write.
      await kv.set("x-blob", 1);
      same(await kv.get("x-blob"), 1);
    "#;

    values_come_back_through_structured_clones: r#"
      const kv = new Kv("localforage:");
      const texts = ['{"__proto__":{"a":1},"constructor":null}', '["\\ud800",{"\\udfff":"\\u0000"}]', "1e+308", "0.30000000000000004",
        '{"":{"":[[],{}]}}', '{"expires":1,"value":2}', "9007199254740991", "5e-324"];
      for (const text of texts) {
        await kv.set("a", JSON.parse(text));
        same(JSON.stringify(await kv.get("a")), text);
        same(JSON.stringify((await kv.values())[0]), text);
        same(Object.keys(await get("a")), ["expires", "value"]);
      }
      // What JavaScript stores and JSON has only as text.
      await put("a", {expires: null, value: new Date(0)});
      same(await kv.get("a"), "1970-01-01T00:00:00.000Z");
      // An exact text is believed only as long as it says what the value is.
      await put("a", {expires: null, value: 5, json: "18446744073709551615"});
      same(await kv.get("a"), 5);
      await put("a", {expires: Date.now() + 1e6 + 0.5, value: "fraction"});
      same(await kv.get("a"), "fraction");
    "#;

    prefixes_are_ranges_of_utf_16: r#"
      const kv = new Kv("localforage:");
      const all = ["", "a", "a\uffff", "a\uffffb", "a\u{10ffff}", "a\u{10ffff}b", "a\ud7ff", "a\ud7ffb", "a\ue000", "b", "\uffff", "\uffff\uffff"];
      await kv.setMany(all.map((key) => [key, key]));
      for (const prefix of [...all, "a\uffff\uffff", "zz"]) {
        const expected = all.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length)).sort();
        same((await kv.prefix(prefix).keys()).sort(), expected);
      }
      await kv.prefix("a\uffff").clear();
      same((await kv.keys()).length, all.length - 2);
    "#;

    nobody_who_upgrades_or_deletes_is_kept_waiting: r#"
      const kv = new Kv("localforage:?name=app");
      for (let round = 0; round < 5; round += 1) {
        await kv.set("a", round);
        const writing = Promise.all([kv.set("b", 1), kv.get("a"), kv.keys()]);
        let version = (await open("app")).version + 1;
        (await open("app", version, (database) => database.createObjectStore(`more${round}`))).close();
        await writing;
        same(await kv.get("a"), round);
        await kv.insert(`i${round}`, 1);
      }
      const deleting = indexedDB.deleteDatabase("app");
      await done(deleting);
      same([await kv.get("a"), await kv.keys()], [null, []]);
      await kv.set("a", 1);
      same([(await open("app")).version, await kv.get("a")], [2, 1]);
    "#;

    an_upgrade_that_is_blocked_fails_in_time: r#"
      const theirs = await done(indexedDB.open("app", 1));
      const kv = new Kv("localforage:?name=app&timeout=2s");
      const begun = Date.now();
      let error;
      await kv.set("a", 1).catch((it) => { error = it; });
      same(error.name, "Timeout");
      if (!error.message.includes("another page")) throw error;
      if (Date.now() - begun > 10_000) throw new Error("late");
      same(await failure(kv.get("a")), "Timeout");
      // What was begun does not stand in anybody's way afterwards.
      theirs.close();
      await until(() => kv.set("a", 1).then(() => true, () => false));
      same(await kv.get("a"), 1);
      const deleting = done(indexedDB.deleteDatabase("app")).then(() => "deleted");
      const late = new Promise((resolve) => setTimeout(resolve, 20_000, "blocked"));
      same(await Promise.race([deleting, late]), "deleted");
    "#;

    a_browser_that_denies_it_is_an_error: r#"
      const real = IDBFactory.prototype.open;
      const kv = new Kv("localforage:?timeout=5s");
      IDBFactory.prototype.open = () => { throw new DOMException("no", "SecurityError"); };
      same([await failure(kv.get("a")), await failure(kv.set("a", 1)), await failure(kv.keys())], ["Denied", "Denied", "Denied"]);
      IDBFactory.prototype.open = () => { throw new DOMException("no", "InvalidStateError"); };
      same(await failure(kv.get("a")), "Unreachable");
      IDBFactory.prototype.open = real;
      const given = Object.getOwnPropertyDescriptor(window, "indexedDB");
      Object.defineProperty(window, "indexedDB", {value: undefined, configurable: true});
      same(await failure(kv.get("a")), "Denied");
      Object.defineProperty(window, "indexedDB", given);
      await kv.set("a", 1);
      same(await kv.get("a"), 1);
      await kv.close();
      same([await failure(kv.get("a")), await failure(kv.set("a", 1))], ["Closed", "Closed"]);
    "#;

    tasks_share_transactions: r#"
      const kv = new Kv("localforage:");
      await kv.set("warm", 1);
      const {transaction} = IDBDatabase.prototype;
      let count = 0;
      IDBDatabase.prototype.transaction = function (...given) {
        count += 1;
        return transaction.apply(this, given);
      };
      const numbers = [...Array(64).keys()];
      await Promise.all(numbers.map((n) => kv.set(`k${n}`, n)));
      const writes = count;
      same(await Promise.all(numbers.map((n) => kv.get(`k${n}`))), numbers);
      const reads = count - writes;
      same(await Promise.all(numbers.map((n) => kv.insert(n < 32 ? `k${n}` : `new${n}`, 0))), numbers.map((n) => n >= 32));
      const inserts = count - writes - reads;
      same((await kv.getMany(numbers.map((n) => `k${n}`))).size, 64);
      const last = count;
      await kv.get("k1");
      same(count - last, 1);
      IDBDatabase.prototype.transaction = transaction;
      if (writes > 3 || reads > 3 || inserts > 3) throw new Error([writes, reads, inserts]);
    "#;

    expired_entries_go_when_they_are_met: r#"
      const kv = new Kv("localforage:");
      await kv.set("live", 1, "1h");
      const past = {expires: 1, value: 1};
      const gone = () => keys().then((all) => all.length === 1);
      await put("a", past);
      same([await kv.get("a"), await kv.has("a"), await kv.touch("a", "1h")], [null, false, false]);
      await until(gone);
      for (let n = 0; n < 100; n += 1) await put(`p${n}`, past);
      same(await kv.keys(), ["live"]);
      await until(gone);
      for (let n = 0; n < 100; n += 1) await put(`p${n}`, past);
      same(await kv.prefix("p1").prune(), 11);
      same(await kv.prune(), 89);
      same(await kv.keys(), ["live"]);
      await put("a", past);
      same([await kv.insert("a", 2), await kv.insert("a", 3), await kv.get("a")], [true, false, 2]);
    "#;

    of_two_threads_that_insert_a_key_one_wins: r#"
      const source = `
        import init, { Kv } from "${location.origin}/modules/store/store.js";
        await init();
        const kv = new Kv("localforage:");
        const insert = async (n) => postMessage([n, await kv.insert("k" + n, "worker")]);
        onmessage = ({data}) => { insert(data); };
        postMessage("ready");
      `;
      const url = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
      const worker = new Worker(url, {type: "module"});
      const kv = new Kv("localforage:");
      const rounds = 300;
      const theirs = [];
      const ready = new Promise((resolve, reject) => {
        worker.onerror = reject;
        worker.onmessage = ({data}) => {
          if (data === "ready") resolve();
          else theirs[data[0]] = data[1];
        };
      });
      await ready;
      const ours = [];
      for (let n = 0; n < rounds; n += 1) {
        worker.postMessage(n);
        const inserting = kv.insert(`k${n}`, "page").then((won) => { ours[n] = won; });
        if (n % 3 === 0) await inserting;
      }
      await until(() => [...Array(rounds).keys()].every((n) => n in theirs && n in ours));
      const values = await kv.all();
      let pages = 0;
      for (let n = 0; n < rounds; n += 1) {
        if (ours[n] === theirs[n]) throw new Error(`${n}: ${ours[n]} ${theirs[n]}`);
        same(values[`k${n}`], ours[n] ? "page" : "worker");
        pages += ours[n];
      }
      worker.terminate();
      if (pages === 0 || pages === rounds) throw new Error(`no contention: ${pages}`);
    "#;
}
