// Two small charts of what the server does, from its metrics.

import { metrics } from "./server.js";

const EVERY = 2000;
const KEPT = 60;
/** What the page itself and those who watch the server ask for is not what the store is used for. */
const ASIDE = new Set(["metrics", "page", "ping", "ready", "store", "openapi"]);

const section = document.querySelector("#activity");
const rates = [];
const latencies = [];
let last = null;
let timer = 0;
let asked = null;

/** Requests, and how many of them took at most so many seconds: `{ count, buckets: Map(seconds → count) }`. */
function read(text) {
  const sum = { at: performance.now(), count: 0, buckets: new Map() };
  for (const line of text.split("\n")) {
    const found = /^polystore_(requests_total|request_duration_seconds_bucket)\{(.*)\} (\S+)/.exec(line);
    if (!found) continue;
    const label = (name) => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(found[2])?.[1];
    if (ASIDE.has(label("operation"))) continue;
    const value = Number(found[3]);
    if (found[1] === "requests_total") {
      sum.count += value;
    } else {
      const most = label("le") === "+Inf" ? Infinity : Number(label("le"));
      sum.buckets.set(most, (sum.buckets.get(most) ?? 0) + value);
    }
  }
  return sum;
}

/** The seconds that `part` of the requests since `before` took at most, or `null` if there were none. */
export function quantile(before, now, part) {
  const bounds = [...now.buckets.keys()].sort((a, b) => a - b);
  const counts = bounds.map((bound) => now.buckets.get(bound) - (before.buckets.get(bound) ?? 0));
  const total = counts.at(-1) ?? 0;
  if (total <= 0) return null;
  const index = counts.findIndex((count) => count >= total * part);
  const [low, under] = index > 0 ? [bounds[index - 1], counts[index - 1]] : [0, 0];
  if (bounds[index] === Infinity) return low;
  return low + ((bounds[index] - low) * (total * part - under)) / (counts[index] - under);
}

export function seconds(value) {
  if (value === null) return "–";
  if (value < 0.001) return `${Math.max(1, Math.round(value * 1e6))} µs`;
  return value < 1 ? `${Number((value * 1e3).toPrecision(2))} ms` : `${value.toPrecision(2)} s`;
}

const path = (values, most) => {
  const x = (index) => ((index + KEPT - values.length) / (KEPT - 1)) * 200;
  const y = (value) => 38 - (value / most) * 30;
  let pen = "M";
  return values.map((value, index) => {
    if (value === null) {
      pen = "M";
      return "";
    }
    const piece = `${pen}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
    return piece;
  }).join("");
};

function draw() {
  const rate = rates.at(-1);
  const latency = latencies.at(-1) ?? { p50: null, p95: null };
  const set = (name, text) => (section.querySelector(`[data-now=${name}]`).textContent = text);
  const line = (name, values, most) => section.querySelector(`[data-line=${name}]`).setAttribute("d", path(values, most));
  set("rate", rate === undefined ? "–" : rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString());
  set("p50", seconds(latency.p50));
  set("p95", seconds(latency.p95));
  line("rate", rates, Math.max(1, ...rates));
  const most = Math.max(1e-4, ...latencies.map(({ p95 }) => p95 ?? 0));
  line("p50", latencies.map(({ p50 }) => p50), most);
  line("p95", latencies.map(({ p95 }) => p95), most);
}

async function look() {
  asked = new AbortController();
  const { signal } = asked;
  let wait = EVERY;
  try {
    const now = read(await metrics(signal));
    section.hidden = false;
    // After the server was started again its counts begin anew.
    if (last && now.count >= last.count) {
      rates.push(((now.count - last.count) / (now.at - last.at)) * 1000);
      latencies.push({ p50: quantile(last, now, 0.5), p95: quantile(last, now, 0.95) });
      for (const kept of [rates, latencies]) if (kept.length > KEPT) kept.shift();
    }
    last = now;
    draw();
  } catch (problem) {
    if (signal.aborted) return;
    // A server without metrics, or a token that may not see them, is seldom asked again.
    if (problem.status) section.hidden = true;
    if (problem.status) wait = 60_000;
  }
  if (!signal.aborted) timer = setTimeout(look, wait);
}

/** Looks every two seconds while the page is to be seen. */
export function watch() {
  asked?.abort();
  clearTimeout(timer);
  if (document.visibilityState === "visible") look();
}

document.addEventListener("visibilitychange", watch);
