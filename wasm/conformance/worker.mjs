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

/** A namespace that gives these pages when it is listed, and the last of them again and again. */
const listing = (pages) => {
  let next = 0;
  const list = async () => {
    // One that is asked for ever must not keep the others from their turn.
    await new Promise((turn) => setTimeout(turn));
    return pages[Math.min(next++, pages.length - 1)];
  };
  const value = async () => new TextEncoder().encode("1").buffer;
  const getWithMetadata = async () => ({ value: await value(), metadata: null });
  return { get: value, getWithMetadata, put: async () => {}, list, delete: async () => {} };
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
    const { namespace, property, orders, message, pages } = await request.json();
    const binding =
      message !== undefined ? failing(message) : pages !== undefined ? listing(pages) : real(env[namespace]);
    const bindings = { [namespace]: binding };
    if (property !== undefined) return new Response(await examineNamespace(bindings, namespace, property));
    return new Response(await perform(bindings, namespace, JSON.stringify(orders)));
  },
};
