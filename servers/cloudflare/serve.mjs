// node serve.mjs PORT FOLDER NAMESPACES ACCOUNT TOKENS WORKERS: runs the Worker until it is told to end, and beside it
// those of WORKERS, in JSON: {name, folders, variables, namespaces} each. The first folder has a `worker.mjs`; what else is in the
// folders it may import. They have the same namespaces, some by another name too, and answer at /worker/NAME/….

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Miniflare } from "miniflare";

const [port, folder, namespaces, account, tokens, workers] = process.argv.slice(2);
const names = Array.from({ length: Number(namespaces) }, (_, number) => `n${number}`);
const here = dirname(fileURLToPath(import.meta.url));
const common = { compatibilityDate: "2026-04-01", kvNamespaces: Object.fromEntries(names.map((name) => [name, name])) };

/** Every module in a folder, by the path that others import it by. */
function modules(folder) {
  const files = readdirSync(folder, { recursive: true }).map(String);
  const module = (path, type, read) => ({ type, path, contents: readFileSync(join(folder, path), read) });
  return [
    ...files.filter((path) => /\.m?js$/.test(path)).map((path) => module(path, "ESModule", "utf8")),
    ...files.filter((path) => path.endsWith(".wasm")).map((path) => module(path, "CompiledWasm")),
  ];
}

/** A Worker of the folders, which begins with `worker.mjs`. */
function worker({ name, folders, variables, namespaces }) {
  const all = folders.flatMap(modules);
  all.sort((one, other) => (other.path === "worker.mjs") - (one.path === "worker.mjs"));
  const kvNamespaces = { ...common.kvNamespaces, ...namespaces };
  return { ...common, name, modules: all, bindings: variables, kvNamespaces };
}

const others = JSON.parse(workers ?? "[]");
const runtime = new Miniflare({
  host: "127.0.0.1",
  port: Number(port),
  kvPersist: folder,
  // Nothing is fetched from elsewhere.
  cf: false,
  workers: [
    {
      ...common,
      name: "api",
      modules: [{ type: "ESModule", path: "worker.mjs", contents: readFileSync(join(here, "worker.mjs"), "utf8") }],
      bindings: { ACCOUNT: account, TOKENS: tokens },
      serviceBindings: Object.fromEntries(others.map(({ name }) => [`worker:${name}`, name])),
    },
    ...others.map(worker),
  ],
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, async () => {
    await runtime.dispose();
    process.exit(0);
  });
}
await runtime.ready;
