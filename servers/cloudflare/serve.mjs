// node serve.mjs PORT FOLDER NAMESPACES ACCOUNT TOKENS: runs the Worker until it is told to end.

import { fileURLToPath } from "node:url";
import { Miniflare } from "miniflare";

const [port, folder, namespaces, account, tokens] = process.argv.slice(2);
const names = Array.from({ length: Number(namespaces) }, (_, number) => `n${number}`);
// Modules are found from there.
process.chdir(fileURLToPath(new URL(".", import.meta.url)));
const runtime = new Miniflare({
  host: "127.0.0.1",
  port: Number(port),
  modules: true,
  scriptPath: "worker.mjs",
  compatibilityDate: "2026-04-01",
  bindings: { ACCOUNT: account, TOKENS: tokens },
  kvNamespaces: names,
  kvPersist: folder,
  // Nothing is fetched from elsewhere.
  cf: false,
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, async () => {
    await runtime.dispose();
    process.exit(0);
  });
}
await runtime.ready;
