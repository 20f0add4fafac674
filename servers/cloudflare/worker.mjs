// The paths that Cloudflare's API has for KV, over namespaces of the real runtime, as far as a client of it
// can tell: envelopes, codes, limits. Each binding is a namespace of the account of the URL's name.

const PATH = /^\/client\/v4\/accounts\/([^/]+)\/storage\/kv\/namespaces\/([^/]+)(\/.*)$/;
const MOST_PAIRS = 10_000;
const MOST_BYTES = 100_000_000;
const MOST_KEYS = 100;
const MOST_READ = 25 * 1024 * 1024;
const LEAST_TTL = 60;

/** How often each path was asked for, since the counts were last taken. */
let counts = {};
/** What to answer the next requests with instead, the first one first. */
let faults = [];

class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    if (url.pathname.startsWith("/test/")) return control(request, url, env);
    const [, name, path] = /^\/worker\/([^/]+)(\/.*)$/.exec(url.pathname) ?? [];
    if (name !== undefined) {
      const at = new URL(path + url.search, `https://${name}.test`);
      return env[`worker:${name}`].fetch(new Request(at, request));
    }
    try {
      return await answer(request, url, env);
    } catch (error) {
      if (error instanceof Refusal) return refuse(error.status, error.code, error.message);
      // The runtime says why it refuses a key, a value or an expiry: "KV PUT failed: 414 …".
      const status = Number(/failed: (4\d\d)/.exec(error.message)?.[1] ?? 500);
      return refuse(status, status === 500 ? 10001 : 10033, error.message);
    }
  },
};

/** What tests ask of the double itself. */
async function control(request, url, env) {
  switch (url.pathname) {
    case "/test/ready":
      return new Response("ready");
    case "/test/faults":
      faults.push(...(await request.json()));
      return Response.json({});
    case "/test/counts": {
      const taken = counts;
      counts = {};
      return Response.json(taken);
    }
    // What a Worker does with its binding, as the npm package does.
    case "/test/put": {
      const { namespace, key, value, options } = await request.json();
      await env[namespace].put(key, value, options);
      return Response.json({});
    }
    case "/test/put-bytes": {
      const { namespace, key, value } = await request.json();
      await env[namespace].put(key, new Uint8Array(value));
      return Response.json({});
    }
    case "/test/get": {
      const { namespace, key } = await request.json();
      return Response.json(await env[namespace].getWithMetadata(key));
    }
    default:
      return new Response("there is no such order", { status: 404 });
  }
}

async function answer(request, url, env) {
  const [, account, namespace, path] = PATH.exec(url.pathname) ?? [];
  const what = `${request.method} ${path?.replace(/^\/(values|metadata)\/.*/, "/$1")}`;
  counts[what] = (counts[what] ?? 0) + 1;
  const fault = faults.find((fault) => fault.of === undefined || fault.of === what);
  if (fault !== undefined) {
    if (--fault.times <= 0) faults.splice(faults.indexOf(fault), 1);
    if (fault.failing === undefined) {
      return new Response(fault.body, { status: fault.status, headers: fault.headers });
    }
  }

  const token = /^Bearer ([\w-]+)$/.exec(request.headers.get("authorization") ?? "")?.[1];
  if (token === undefined) return refuse(400, 6003, "Invalid request headers");
  const may = JSON.parse(env.TOKENS)[token];
  if (may === undefined) return refuse(401, 10000, "Authentication error");
  const reads = request.method === "GET" || path === "/bulk/get";
  if (may !== "write" && !reads) return refuse(403, 10000, "Authentication error");
  if (account !== env.ACCOUNT) return refuse(404, 7003, "Could not route to the account");
  const kv = env[namespace];
  if (kv?.getWithMetadata === undefined) return refuse(404, 10013, "namespace not found");

  if (path === "/keys" && request.method === "GET") return list(kv, url.searchParams);
  if (path === "/bulk" && request.method === "PUT") return putAll(kv, await body(request), fault);
  if (path === "/bulk/delete" && request.method === "POST") {
    return deleteAll(kv, await body(request), fault);
  }
  if (path === "/bulk/get" && request.method === "POST") return getAll(kv, await body(request));
  const [, kind, name] = /^\/(values|metadata)\/([^/]+)$/.exec(path) ?? [];
  if (kind === undefined) return refuse(404, 7000, "No route for that URI");
  const key = decodeURIComponent(name);
  if (kind === "values" && request.method === "PUT") {
    await putOne(kv, key, request, url.searchParams);
    return succeed(null);
  }
  if (kind === "values" && request.method === "DELETE") {
    await kv.delete(checked(key));
    return succeed(null);
  }
  if (request.method !== "GET") return refuse(405, 10405, "Method not allowed");
  const [found] = await entriesOf(kv, [checked(key)], true);
  if (found.value === null) return refuse(404, 10009, "get: 'key not found'");
  if (kind === "metadata") return succeed(found.metadata);
  const headers = found.expiration === undefined ? {} : { expiration: found.expiration };
  return new Response(found.value, { headers });
}

async function list(kv, query) {
  const limit = Number(query.get("limit") ?? 1000);
  if (!(limit >= 10 && limit <= 1000)) throw new Refusal(400, 10032, "limit must be 10 to 1000");
  const prefix = query.get("prefix") ?? "";
  const cursor = query.get("cursor") || undefined;
  // The local runtime sees no more of a prefix than what is before a NUL.
  const page = await kv.list({ prefix: prefix.split("\0")[0], cursor, limit });
  const keys = page.keys
    .filter(({ name }) => name.startsWith(prefix))
    .map(({ name, expiration, metadata }) => ({ name, expiration, metadata }));
  return succeed(keys, { count: keys.length, cursor: page.list_complete ? "" : page.cursor });
}

async function getAll(kv, { keys, type = "text", withMetadata = false }) {
  if (keys.length > MOST_KEYS) throw new Refusal(400, 10029, `at most ${MOST_KEYS} keys`);
  keys.forEach(checked);
  const found = await entriesOf(kv, keys, withMetadata);
  const bytes = found.reduce((sum, { value }) => sum + (value?.byteLength ?? 0), 0);
  if (bytes > MOST_READ) throw new Refusal(413, 10037, "the total size exceeds the limit of 25MB");
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const values = keys.map((key, place) => {
    const { value: bytes, metadata, expiration } = found[place];
    if (bytes === null) return [key, null];
    let value;
    try {
      value = text.decode(bytes);
      if (type === "json") value = JSON.parse(value);
    } catch {
      throw new Refusal(400, 10034, `a requested key corresponds to a non-${type} value`);
    }
    return [key, withMetadata ? { value, metadata, expiration } : value];
  });
  return succeed({ values: Object.fromEntries(values) });
}

/** What is under each key. Only a listing tells when it expires, so both are read until they are of one write. */
async function entriesOf(kv, keys, withExpiration) {
  for (let attempt = 0; ; attempt++) {
    // Not by the binding's own bulk read: that of the local runtime has no metadata beside an empty value.
    const found = await inTurns(keys, (key) => kv.getWithMetadata(key, "arrayBuffer"));
    const there = keys.filter((_, place) => found[place].value !== null);
    if (!withExpiration || there.length === 0) return found;
    const listed = await listedOf(kv, there);
    const isOne = ({ value, metadata }, { metadata: other } = {}) =>
      value === null || JSON.stringify(metadata ?? null) === JSON.stringify(other ?? null);
    if (attempt === 50 || found.every((entry, place) => isOne(entry, listed.get(keys[place])))) {
      return found.map((entry, place) => ({ ...entry, expiration: listed.get(keys[place])?.expiration }));
    }
  }
}

/** What a listing has of each key: one of what they have in common, or else one each. */
async function listedOf(kv, keys) {
  let prefix = keys[0].split("\0")[0];
  for (const key of keys) while (!key.startsWith(prefix)) prefix = prefix.slice(0, -1);
  const page = await kv.list({ prefix: prefix.toWellFormed().replace(/\ufffd$/, "") });
  const listed = new Map(page.keys.map((key) => [key.name, key]));
  if (!page.list_complete) {
    const missing = keys.filter((key) => !listed.has(key));
    await inTurns(missing, async (key) => {
      // The first key in order that begins with a key is that key.
      const [first] = (await kv.list({ prefix: key.split("\0")[0], limit: 1 })).keys;
      if (first?.name === key) listed.set(key, first);
    });
  }
  return listed;
}

async function putAll(kv, pairs, fault) {
  if (pairs.length > MOST_PAIRS) throw new Refusal(400, 10029, `at most ${MOST_PAIRS} pairs`);
  for (const pair of pairs) {
    checked(pair.key);
    expiry(pair.expiration, pair.expiration_ttl);
    if (typeof pair.value !== "string") throw new Refusal(400, 10012, "a value must be text");
  }
  return each(pairs, fault, ({ key }) => key, ({ key, value, metadata, ...more }) =>
    kv.put(key, value, { metadata, ...expiry(more.expiration, more.expiration_ttl) }));
}

function deleteAll(kv, keys, fault) {
  if (keys.length > MOST_PAIRS) throw new Refusal(400, 10029, `at most ${MOST_PAIRS} keys`);
  keys.forEach(checked);
  return each(keys, fault, (key) => key, (key) => kv.delete(key));
}

/** Does it to each, but for those that are to fail. */
async function each(all, fault, keyOf, act) {
  const failing = new Set(fault?.failing ?? []);
  const good = all.filter((one) => !failing.has(keyOf(one)));
  await inTurns(good, act);
  const unsuccessful_keys = all.map(keyOf).filter((key) => failing.has(key));
  return succeed({ successful_key_count: good.length, unsuccessful_keys });
}

/** Few at a time, so that other requests get in between. */
async function inTurns(all, act) {
  const done = [];
  for (let from = 0; from < all.length; from += 8) {
    done.push(...(await Promise.all(all.slice(from, from + 8).map(act))));
  }
  return done;
}

async function putOne(kv, key, request, query) {
  let value, metadata;
  if (request.headers.get("content-type")?.startsWith("multipart/form-data")) {
    const form = await request.formData();
    value = form.get("value");
    if (typeof value !== "string" && value !== null) value = await value.arrayBuffer();
    metadata = form.has("metadata") ? JSON.parse(form.get("metadata")) : undefined;
  } else {
    value = await request.arrayBuffer();
  }
  const number = (name) => (query.has(name) ? Number(query.get(name)) : undefined);
  await kv.put(checked(key), value, { metadata, ...expiry(number("expiration"), number("expiration_ttl")) });
}

function checked(key) {
  const bytes = typeof key === "string" ? new TextEncoder().encode(key).length : 0;
  if (bytes === 0 || bytes > 512 || key === "." || key === "..") {
    throw new Refusal(400, 10033, "the key is empty, too long, . or ..");
  }
  return key;
}

function expiry(expiration, expirationTtl) {
  if (expirationTtl !== undefined) {
    if (!(Number.isSafeInteger(expirationTtl) && expirationTtl >= LEAST_TTL)) {
      throw new Refusal(400, 10033, `expiration_ttl must be at least ${LEAST_TTL}`);
    }
    return { expirationTtl };
  }
  return expiration === undefined ? {} : { expiration };
}

async function body(request) {
  const bytes = await request.arrayBuffer();
  if (bytes.byteLength > MOST_BYTES) throw new Refusal(413, 10036, "the request is too large");
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Refusal(400, 10012, "could not parse the request");
  }
}

function succeed(result, result_info) {
  return Response.json({ success: true, errors: [], messages: [], result, result_info });
}

function refuse(status, code, message) {
  const errors = [{ code, message }];
  return Response.json({ success: false, errors, messages: [], result: null }, { status });
}
