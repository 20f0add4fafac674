// The npm package, driven by the Rust tests as a child process (first `npm ci` here):
//
//   node driver.mjs write|get|del|entries|keys|clear STORE [PREFIX]
//
// STORE is file:///abs/x.json, file:///abs/dir/ or sqlite:/abs/path.db. `write`, `get` and `del` read
// NDJSON on stdin, `entries`, `keys` and `clear` work below PREFIX; all answer in NDJSON on stdout.
// Any error ends the program with code 1 and its stack on stderr.

import { text } from "node:stream/consumers";
import Database from "better-sqlite3";
import kv from "polystore";

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
};

// Not readline: it also splits at U+2028 and U+2029, which JSON text may hold as they are.
async function input() {
  const lines = (await text(process.stdin)).split("\n");
  return lines.filter(Boolean).map((line) => JSON.parse(line));
}

function print(line) {
  console.log(JSON.stringify(line));
}

// npm takes a database already opened; its file URLs it opens itself, undecoded.
function open(url) {
  return kv(url.startsWith("sqlite:") ? new Database(url.slice("sqlite:".length)) : url);
}

const [command, url, prefix = ""] = process.argv.slice(2);
try {
  if (!Object.hasOwn(commands, command ?? "") || !/^(file|sqlite):/.test(url ?? "")) {
    throw new Error("usage: node driver.mjs write|get|del|entries|keys|clear STORE [PREFIX]");
  }
  const store = open(url);
  await commands[command](store.prefix(prefix));
  await store.close();
} catch (error) {
  // Uncaught, it would also print the minified line of the package that threw it.
  console.error(error.stack);
  process.exitCode = 1;
}
