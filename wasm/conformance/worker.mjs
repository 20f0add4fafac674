// A Worker that examines namespaces of its environment by the Rust crate, and does with them what tests order.

import { initSync, examineNamespace, perform } from "./conformance.js";
import module from "./conformance_bg.wasm";

initSync({ module });

/** A namespace whose methods throw what the real one throws. */
const failing = (message) => {
  const fail = async () => {
    throw new Error(message);
  };
  return { get: fail, getWithMetadata: fail, put: fail, list: fail, delete: fail };
};

/** A namespace as Cloudflare has it: the local runtime lists nothing of a prefix that has a NUL. */
const real = (namespace) => {
  const method = (name) => namespace[name].bind(namespace);
  const list = async ({ prefix = "", ...options }) => {
    const page = await namespace.list({ ...options, prefix: prefix.split("\0")[0] });
    return { ...page, keys: page.keys.filter(({ name }) => name.startsWith(prefix)) };
  };
  const [get, getWithMetadata, put, del] = ["get", "getWithMetadata", "put", "delete"].map(method);
  return { get, getWithMetadata, put, delete: del, list };
};

export default {
  async fetch(request, env) {
    const { namespace, property, orders, message } = await request.json();
    const binding = message === undefined ? real(env[namespace]) : failing(message);
    const bindings = { [namespace]: binding };
    if (property !== undefined) return new Response(await examineNamespace(bindings, namespace, property));
    return new Response(await perform(bindings, namespace, JSON.stringify(orders)));
  },
};
