// node serve.mjs PORT FOLDER NAMESPACES ACCOUNT TOKENS WORKERS: runs the Worker until it is told to end, and beside it
// those of WORKERS, in JSON: {name, folder, files, variables, namespaces} each. The folder has a `worker.mjs`, which may import what
// else is there, and the files. They have the same namespaces, some by another name too, and answer at /worker/NAME/….

import { readFileSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Miniflare } from "miniflare";

const [port, folder, namespaces, account, tokens, workers] = process.argv.slice(2);
const names = Array.from({ length: Number(namespaces) }, (_, number) => `n${number}`);
const here = dirname(fileURLToPath(import.meta.url));
const common = { compatibilityDate: "2026-04-01", kvNamespaces: Object.fromEntries(names.map((name) => [name, name])) };

/** A file as others import it. */
function module(folder, path) {
  const isWasm = path.endsWith(".wasm");
  const contents = readFileSync(join(folder, path), isWasm ? undefined : "utf8");
  return { type: isWasm ? "CompiledWasm" : "ESModule", path, contents };
}

/** The Worker that begins with the `worker.mjs` of a folder. */
function worker({ name, folder, files, variables, namespaces }) {
  const own = readdirSync(folder, { recursive: true }).filter((path) => /\.(m?js|wasm)$/.test(path));
  const others = files.map((file) => module(dirname(file), basename(file)));
  const all = [...own.map((path) => module(folder, path)), ...others];
  // It begins with the first.
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
      modules: [module(here, "worker.mjs")],
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
