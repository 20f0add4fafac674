// A server of the same protocol as polystore-server's for single keys, as somebody would write it on
// plain Node, to measure against:
//
//   node server.mjs memory|FILE.db
//
// It says where it listens, and ends when its standard input does.

import http from "node:http";

const store = process.argv[2] === "memory" ? memory() : await sqlite(process.argv[2]);

function memory() {
  const map = new Map();
  return {
    get: (key) => map.get(key),
    set: (key, text, expires) => map.set(key, { text, expires }),
    del: (key) => map.delete(key),
  };
}

async function sqlite(file) {
  const { default: Database } = await import("../../interop/npm/node_modules/better-sqlite3/lib/index.js");
  const db = new Database(file);
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.exec("CREATE TABLE IF NOT EXISTS kv (id TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at INTEGER)");
  const select = db.prepare("SELECT value AS text, expires_at AS expires FROM kv WHERE id = ?");
  const insert = db.prepare(
    "INSERT INTO kv (id, value, expires_at) VALUES (?, ?, ?) " +
      "ON CONFLICT (id) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
  );
  const remove = db.prepare("DELETE FROM kv WHERE id = ?");
  return {
    get: (key) => select.get(key),
    set: (key, text, expires) => insert.run(key, text, expires),
    del: (key) => remove.run(key),
  };
}

const replied = (response, text, more) => {
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    ...more,
  };
  response.writeHead(200, headers).end(text);
};

function found(key) {
  const entry = store.get(key);
  if (!entry || entry.expires === null) return entry;
  return entry.expires > Date.now() ? entry : undefined;
}

function get(key, response) {
  const entry = found(key);
  if (!entry) return response.writeHead(404).end();
  const ttl = entry.expires === null ? "never" : String((entry.expires - Date.now()) / 1_000);
  replied(response, entry.text, { "polystore-ttl": ttl });
}

function put(key, expires, request, response) {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const text = Buffer.concat(chunks).toString();
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      return response.writeHead(400).end();
    }
    if (value === null || (expires !== null && expires <= 0)) store.del(key);
    else store.set(key, text, expires === null ? null : Date.now() + expires * 1_000);
    replied(response, JSON.stringify(key));
  });
}

const server = http.createServer((request, response) => {
  const [path, query] = request.url.split("?");
  const key = decodeURIComponent(path.slice(1));
  const expires = query ? new URLSearchParams(query).get("expires") : null;
  switch (request.method) {
    case "HEAD":
    case "GET":
      return get(key, response);
    case "PUT":
      return put(key, expires === null ? null : Number(expires), request, response);
    case "DELETE":
      store.del(key);
      return replied(response, JSON.stringify(key));
    default:
      return response.writeHead(405).end();
  }
});

server.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${server.address().port}`));
process.stdin.on("end", () => process.exit()).resume();
