// Another tab, which has nothing to do with this one but its origin.

import { set, stores } from "./stores.mjs";

let next = 0;

// Opens one. `run(side, store, method, …)` calls a method of a store there.
export async function elsewhere() {
  const name = `tab ${Date.now()} ${next++}`;
  const channel = new BroadcastChannel(name);
  const waiting = new Map();
  let opened;
  const ready = new Promise((done) => (opened = done));
  channel.onmessage = ({ data }) => {
    if (data.ready) return opened();
    const { done, failed } = waiting.get(data.id) ?? {};
    waiting.delete(data.id);
    data.error === undefined ? done?.(data.found) : failed?.(new Error(`in the other tab: ${data.error}`));
  };
  window.open(`/?tab=${encodeURIComponent(name)}`, "_blank", "noopener");
  await ready;
  const ask = (call) =>
    new Promise((done, failed) => {
      const id = next++;
      waiting.set(id, { done, failed });
      channel.postMessage({ id, ...call });
    });
  return {
    run: (side, store, method, ...args) => ask({ side, store, method, args }),
    close: () => ask({ close: true }),
  };
}

// Is one.
export function serve(name) {
  const channel = new BroadcastChannel(name);
  const opened = {};
  const open = (side, store) => (opened[`${side} ${store}`] ??= side === "forage" ? stores[store].forage : stores[store][side]());
  channel.onmessage = async ({ data: { id, side, store, method, args, close } }) => {
    if (id === undefined) return;
    try {
      if (close) {
        channel.postMessage({ id });
        return window.close();
      }
      const place = open(side, store);
      const found = method === "set" ? await set(place, ...args) : await place[method](...args);
      channel.postMessage({ id, found });
    } catch (error) {
      channel.postMessage({ id, error: String(error?.stack ?? error) });
    }
  };
  channel.postMessage({ ready: true });
}
