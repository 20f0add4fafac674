// The npm package, driven by the Rust tests as a child process (first `npm ci` here):
//
//   node driver.mjs write|get|del|entries|keys|clear|call STORE [PREFIX]
//
// STORE is file:///abs/x.json, file:///abs/dir/, sqlite:/abs/path.db, level:/abs/dir, redis://host:port,
// postgres://user@host:port/database, etcd://host:port,host:port or http://host:port/. `write`, `get`,
// `del` and `call` read NDJSON on stdin, `entries`, `keys` and `clear` work below PREFIX; all answer in
// NDJSON on stdout. Any error ends the program with code 1 and its stack on stderr.
//
// `call` makes one call a line: {"prefix": ["a:", "b:"], "expires": "1h", "method": "set", "args": […]}
// is kv(STORE).prefix("a:").prefix("b:").expires("1h").set(…). The method "iterate" is `for await`.

import { text } from "node:stream/consumers";
import Database from "better-sqlite3";
import { Etcd3 } from "etcd3";
import { Level } from "level";
import pg from "pg";
import kv from "polystore";
import { createClient } from "redis";

const commands = {
  async write(store) {
    const entries = await input();
    for (const { key, value, expires } of entries) await store.set(key, value, { expires });
    print({ written: entries.length });
  },
  async get(store) {
    for (const { key } of await input()) print({ key, value: await store.get(key) });
  },
  async del(store) {
    const entries = await input();
    for (const { key } of entries) await store.del(key);
    print({ deleted: entries.length });
  },
  async entries(store) {
    for (const [key, value] of await store.entries()) print({ key, value });
  },
  async keys(store) {
    for (const key of await store.keys()) print({ key });
  },
  async clear(store) {
    await store.clear();
    print({ cleared: true });
  },
  async call(root) {
    for (const { prefix = [], expires, method, args = [] } of await input()) {
      let store = root;
      for (const one of prefix) store = store.prefix(one);
      if (expires !== undefined) store = store.expires(expires);
      print({ result: method === "iterate" ? await iterate(store) : await store[method](...args) });
    }
  },
};

async function iterate(store) {
  const entries = [];
  for await (const entry of store) entries.push(entry);
  return entries;
}

// Not readline: it also splits at U+2028 and U+2029, which JSON text may hold as they are.
async function input() {
  const lines = (await text(process.stdin)).split("\n");
  return lines.filter(Boolean).map((line) => JSON.parse(line));
}

function print(line) {
  console.log(JSON.stringify(line));
}

// npm takes the clients of others, already made; its file URLs it opens itself, undecoded.
const clients = {
  file: (url) => url,
  sqlite: (url) => new Database(url.slice("sqlite:".length)),
  level: (url) => new Level(url.slice("level:".length)),
  // Without a listener, a lost connection would end the program past the handler below.
  redis: (url) => createClient({ url }).on("error", () => {}),
  postgres: (url) => new pg.Client(url),
  etcd: (url) => new Etcd3({ hosts: url.slice("etcd://".length).split(",") }),
  http: (url) => url,
};

const [command, url, prefix = ""] = process.argv.slice(2);
try {
  const [scheme] = (url ?? "").split(":");
  if (!Object.hasOwn(commands, command ?? "") || !Object.hasOwn(clients, scheme)) {
    throw new Error("usage: node driver.mjs write|get|del|entries|keys|clear|call STORE [PREFIX]");
  }
  const client = clients[scheme](url);
  const store = kv(client);
  await commands[command](store.prefix(prefix));
  await store.close();
  // The npm package leaves this one open, which would keep the program from ending.
  if (client instanceof Etcd3) client.close();
} catch (error) {
  // Uncaught, it would also print the minified line of the package that threw it.
  console.error(error.stack);
  process.exitCode = 1;
}
