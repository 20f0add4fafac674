// A Worker that does with a namespace what tests order, by the npm package.

import kv from "./index.js";

export default {
  async fetch(request, env) {
    const { namespace, orders } = await request.json();
    const store = kv(env[namespace]);
    const results = [];
    for (const [method, ...args] of orders) results.push((await store[method](...args)) ?? null);
    return Response.json(results);
  },
};
