// The npm package, measured as the Rust bench measures the crate; it runs this once for each number
// (first `npm ci` in interop/npm), so that the two sides alternate:
//
//   node bench.mjs --store memory|file|folder|sqlite|sqlite-wal|redis|postgres|etcd|http|level
//     --workload getTASKS|setTASKS|keys|clear|stream --dir TMPDIR [--url SERVER] [--seconds 1]
//
// TMPDIR is one to a store and workload, kept between its runs and deleted by the caller at the end.
// One line of JSON comes out: {"ops_per_sec"}, {"ms"} (a median), {"entries_per_sec", "peak_bytes",
// "entries"}, or {"skipped": reason}.

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import Database from "../../interop/npm/node_modules/better-sqlite3/lib/index.js";
import { Etcd3 } from "../../interop/npm/node_modules/etcd3/lib/index.js";
import { Level } from "../../interop/npm/node_modules/level/index.js";
import pg from "../../interop/npm/node_modules/pg/lib/index.js";
import { createClient } from "../../interop/npm/node_modules/redis/dist/index.js";
import kv from "../../interop/npm/node_modules/polystore/index.js";

const LIMIT_MS = 60_000;
const READY = "npm.ready";
const KEYS = 1_000;
const STREAMED = { file: 1e4, folder: 1e5 };

const { values: options } = parseArgs({
  options: {
    store: { type: "string" },
    workload: { type: "string" },
    dir: { type: "string" },
    url: { type: "string" },
    seconds: { type: "string", default: "1" },
    prepare: { type: "boolean", default: false },
  },
});
const seconds = Number(options.seconds);

const value = (id) => ({ id, name: "Ada Lovelace", email: "ada@ex.org" });
const users = Array.from({ length: KEYS }, (_, i) => [`user:${i}`, value(i)]);

// Each opens a store and says how to fill it: in bulk and in npm's own layout, since a set at a time
// would take minutes.
const stores = {
  memory() {
    const map = new Map();
    const fill = (entries) => {
      for (const [key, value] of entries) map.set(key, { expires: null, value });
    };
    return { store: kv(map), fill };
  },

  file(dir) {
    const file = path.join(dir, "npm.json");
    const fill = (entries) => {
      const all = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : {};
      for (const [key, value] of entries) all[key] = { expires: null, value };
      fs.writeFileSync(file, JSON.stringify(all, null, 2));
    };
    return { store: kv(`file://${file}`), fill };
  },

  folder(dir) {
    const folder = path.join(dir, "npm/");
    const fill = (entries) => {
      fs.mkdirSync(folder, { recursive: true });
      for (const [key, value] of entries) {
        const text = JSON.stringify({ expires: null, value }, null, 2);
        fs.writeFileSync(`${folder}${encodeURIComponent(key)}.json`, text);
      }
    };
    return { store: kv(`file://${folder}`), fill };
  },

  sqlite: (dir) => sqlite(new Database(path.join(dir, "npm.db"))),

  "sqlite-wal"(dir) {
    const db = new Database(path.join(dir, "npm.db"));
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = NORMAL");
    return sqlite(db);
  },

  async redis() {
    const client = await createClient({ url: options.url }).connect();
    const fill = async (entries) => {
      if (options.prepare) await client.flushDb();
      for (const some of chunks(entries, 10_000)) {
        await client.mSet(some.map(([key, value]) => [key, JSON.stringify(value, null, 2)]));
      }
    };
    return { store: kv(client), fill, end: () => client.isOpen && client.disconnect() };
  },

  async postgres() {
    const pool = new pg.Pool({ connectionString: options.url });
    const store = kv(pool);
    const fill = async (entries) => {
      await store.has("the table");
      if (options.prepare) await pool.query("truncate kv");
      for (const some of chunks(entries, 10_000)) {
        const [ids, values] = [some.map(([key]) => key), some.map(([, v]) => JSON.stringify(v, null, 2))];
        const text = "insert into kv (id, value) select * from unnest($1::text[], $2::text[]) on conflict do nothing";
        await pool.query(text, [ids, values]);
      }
    };
    return { store, fill, end: () => pool.ended || pool.end() };
  },

  etcd() {
    const client = new Etcd3({ hosts: options.url.replace(/^etcd:/, "http:") });
    const fill = async (entries) => {
      if (options.prepare) await client.delete().all();
      for (const some of chunks(entries, 100)) {
        const puts = some.map(([key, value]) => client.put(key).value(wrapped(value)));
        await Promise.all(puts);
      }
    };
    return { store: kv(client), fill, end: () => client.close() };
  },

  http() {
    const store = kv(options.url);
    const fill = async (entries) => {
      for (const some of chunks(entries, 100)) {
        await Promise.all(some.map(([key, value]) => store.set(key, value)));
      }
    };
    return { store, fill };
  },

  level(dir) {
    const db = new Level(path.join(dir, "npm.level"));
    const fill = async (entries) => {
      for (const some of chunks(entries, 10_000)) {
        await db.batch(some.map(([key, value]) => ({ type: "put", key, value: wrapped(value) })));
      }
    };
    return { store: kv(db), fill };
  },
};

const wrapped = (value) => JSON.stringify({ expires: null, value });

function* chunks(entries, size) {
  let some = [];
  for (const entry of entries) {
    if (some.push(entry) === size) yield some.splice(0);
  }
  if (some.length) yield some;
}

function sqlite(db) {
  const store = kv(db);
  const fill = async (entries) => {
    await store.has("the table"); // any operation waits for npm to have made it
    const insert = db.prepare("INSERT INTO kv (id, value, expires_at) VALUES (?, ?, NULL)");
    db.transaction(() => {
      for (const [key, value] of entries) insert.run(key, JSON.stringify(value, null, 2));
    })();
  };
  return { store, fill };
}

// What a workload finds in its store.
function* contents() {
  if (options.workload === "stream") {
    for (let i = 0; i < (STREAMED[options.store] ?? 1e6); i++) yield [`user:${i}`, value(i)];
    return;
  }
  yield* users;
  if (options.workload === "keys" || options.workload === "clear") {
    for (let i = KEYS; i < 100 * KEYS; i++) yield [`other:${i}`, value(i)];
  }
}

const workloads = {
  get: ({ store }, tasks) => throughput(tasks, ([key]) => store.get(key)),
  // Another value each time: SQLite does not write what is there already.
  set: ({ store }, tasks) => throughput(tasks, ([key], n) => store.set(key, value(n))),

  async keys({ store }) {
    const below = store.prefix("user:");
    return latency(async () => {
      const keys = await below.keys();
      if (keys.length !== KEYS) throw new Error(`${keys.length} keys`);
    });
  },

  async clear({ store, fill }) {
    const below = store.prefix("user:");
    return latency(() => below.clear(), () => fill(users));
  },

  async stream({ store }) {
    const resident = () => process.memoryUsage.rss();
    const before = resident();
    const start = performance.now();
    let [peak, entries] = [before, 0];
    for await (const _ of store) {
      // Sampled here: a store that never waits would starve a timer.
      if (entries++ % 1_000 === 0) {
        peak = Math.max(peak, resident());
        if (performance.now() - start > LIMIT_MS) break;
      }
    }
    const elapsed = performance.now() - start;
    peak = Math.max(peak, resident());
    return {
      entries_per_sec: Math.round((entries / elapsed) * 1_000),
      peak_bytes: peak - before,
      entries,
    };
  },
};

// Operations a second that `tasks` loops do together, over all users in turn.
async function throughput(tasks, operation) {
  let next = 0;
  const run = async (ms) => {
    const [first, start] = [next, performance.now()];
    let over = false;
    const loop = async () => {
      while (!over) {
        await operation(users[next % KEYS], next++);
        // Now and then: asking the time costs a quarter of a read from memory.
        if (next % 16 === 0) over = performance.now() - start >= ms;
      }
    };
    await Promise.all(Array.from({ length: tasks }, loop));
    return ((next - first) / (performance.now() - start)) * 1_000;
  };
  await run(seconds * 200); // until the code is compiled
  return { ops_per_sec: Math.round(await run(seconds * 1_000)) };
}

// Milliseconds that one operation takes, as the median of what fits the time, restoring in between.
async function latency(operation, restore = () => {}) {
  const times = [];
  const end = performance.now() + seconds * 1_000;
  do {
    const start = performance.now();
    await operation();
    times.push(performance.now() - start);
    await restore();
  } while (performance.now() < end || times.length < 3);
  times.sort((a, b) => a - b);
  return { ms: Number(times[times.length >> 1].toFixed(3)) };
}

// In a process of its own, so that its garbage is not in the memory measured, and can be given up on.
function prepare() {
  for (const name of [READY, "npm.json", "npm", "npm.db", "npm.db-wal", "npm.db-shm", "npm.level"]) {
    fs.rmSync(path.join(options.dir, name), { recursive: true, force: true });
  }
  execFileSync(process.execPath, [...process.argv.slice(1), "--prepare"], {
    timeout: LIMIT_MS,
    stdio: ["ignore", "ignore", "inherit"],
  });
}

// What an earlier run left for the same workload serves again, since every workload leaves what it
// found. It has to: ext4 needs a minute to create 100k files right after as many were deleted.
function isReady() {
  // On a server, workloads share one place.
  if (options.url) return false;
  const file = path.join(options.dir, READY);
  return fs.existsSync(file) && fs.readFileSync(file, "utf8") === readiness();
}

const readiness = () => `${options.store} ${options.workload}`;

async function main() {
  const [, workload, tasks] = /^([a-z]+)(\d*)$/.exec(options.workload ?? "") ?? [];
  if (!stores[options.store] || !workloads[workload] || !options.dir) {
    throw new Error("usage: node bench.mjs --store S --workload W --dir D [--seconds N]");
  }
  options.dir = path.resolve(options.dir);
  fs.mkdirSync(options.dir, { recursive: true });
  const inProcess = options.store === "memory";
  if (!inProcess && !options.prepare && !isReady()) {
    try {
      prepare();
    } catch (error) {
      if (error.code !== "ETIMEDOUT") throw error;
      return { skipped: `preparing took over ${LIMIT_MS / 1_000} s` };
    }
  }
  const opened = await stores[options.store](options.dir);
  if (inProcess || options.prepare) await opened.fill(contents());
  const result = options.prepare ? {} : await workloads[workload](opened, Number(tasks || 1));
  await opened.store.close();
  await opened.end?.();
  if (options.prepare) fs.writeFileSync(path.join(options.dir, READY), readiness());
  return result;
}

console.log(JSON.stringify(await main()));
