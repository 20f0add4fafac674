// The page: a list of keys, the entry that is open, and what is done to it.

import * as server from "./server.js";
import * as text from "./text.js";
import { busy, copy, expiry, notice, open, toast } from "./dialogs.js";
import { watch } from "./activity.js";

const $ = (selector) => document.querySelector(selector);
const PAGE = 50;
/** How much of a value is shown before it is asked for. */
const MOST_SHOWN = 20_000;
const SOON = 60_000;

const state = {
  prefix: new URLSearchParams(location.hash.slice(1)).get("find") ?? "",
  /** The keys after which this page and those before it begin, without the prefix. */
  cursors: [undefined],
  entries: [],
  hasMore: false,
  /** The entry that is open: `{ key, text, expires }`. */
  chosen: null,
  info: null,
};

// Asking the server, with a token where it wants one.

/** Runs `action`; where a token is wanted it is asked for, and `again` runs with it. */
async function attempt(action, again) {
  try {
    return await action();
  } catch (problem) {
    if (problem.name === "AbortError") return undefined;
    if (problem.status === 401) askToken(problem.message, again ?? loadAll);
    else toast(problem.message, true);
    return undefined;
  }
}

function askToken(why, then) {
  const dialog = $("#teller");
  $("#teller-why").textContent = why;
  if (dialog.open) return;
  $("#token").value = "";
  open(dialog, async () => {
    const before = server.hasToken();
    server.useToken($("#token").value.trim());
    try {
      // Whatever a token may do, it tells one that is known from one that is not.
      state.info = await server.store();
    } catch (problem) {
      if (problem.status === 401 && !before) server.useToken("");
      if (problem.status === 401) return notice(dialog, problem.message);
      if (problem.status !== 403) throw problem;
    }
    dialog.close();
    showStore();
    then();
    watch();
  });
}

// The store.

const LIMITS = ["max_key_bytes", "max_value_bytes", "max_entries", "max_total_bytes"];

function showStore() {
  $("#forget").hidden = !server.hasToken();
  const info = state.info;
  $("#about").hidden = !info;
  if (!info) return;
  $("#kind").textContent = info.kind;
  $("#summary").textContent = info.persistent ? "persistent" : "not persistent";
  document.title = `Polystore · ${info.kind}`;
  const yes = (is) => (is ? "yes" : "no");
  const most = (name) => {
    if (info[name] === null || info[name] === undefined) return "no limit of its own";
    return name === "max_entries" ? info[name].toLocaleString() : text.size(info[name]);
  };
  const rows = [
    ["Kind", info.kind],
    ["Persistent", yes(info.persistent)],
    ["Only if nothing is there (insert)", yes(info.insert)],
    ["Only if something is there (replace)", yes(info.replace)],
    ["Another expiry (touch)", yes(info.touch)],
    ["Knows the time left", yes(info.ttl)],
    ["Keys in order", yes(info.ordered)],
    ...LIMITS.map((name, index) => [["Longest key", "Longest value", "Most entries", "Most bytes"][index], most(name)]),
  ];
  $("#abilities").replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement("div");
    const [term, said] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, said.textContent] = [name, value];
    row.append(term, said);
    return row;
  }));
}

// The list.

let loading = null;

async function load() {
  loading?.abort();
  const current = new AbortController();
  loading = current;
  const { prefix } = state;
  const found = [];
  $("#entries").setAttribute("aria-busy", "true");
  try {
    const asked = { prefix, after: state.cursors.at(-1), limit: PAGE + 1, signal: current.signal };
    await server.list(asked, (key, entry) => found.push({ key, ...entry }));
  } catch (problem) {
    if (current.signal.aborted) return;
    showTrouble(problem);
    if (problem.status === 401) askToken(problem.message, loadAll);
    return;
  } finally {
    if (!current.signal.aborted) $("#entries").removeAttribute("aria-busy");
  }
  if (current.signal.aborted) return;
  showTrouble(null);
  state.hasMore = found.length > PAGE;
  state.entries = found.slice(0, PAGE);
  for (const entry of state.entries) entry.expires ??= state.info?.ttl === false ? null : Infinity;
  showList();
}

function showTrouble(problem) {
  $("#trouble").hidden = !problem;
  if (!problem) return;
  $("#trouble").textContent = problem.message;
  state.entries = [];
  state.hasMore = false;
  showList();
}

function showList() {
  const { entries, cursors, prefix } = state;
  const focused = document.activeElement.entry;
  const rows = entries.map(row);
  $("#list").replaceChildren(...rows);
  const tab = rows.find((it) => it.entry.key === focused?.key) ?? $("#list [aria-selected=true]") ?? rows[0];
  if (tab) tab.tabIndex = 0;
  if (focused) tab?.focus();
  const isBlank = entries.length === 0 && $("#trouble").hidden;
  const isStart = cursors.length === 1;
  $("#empty").hidden = !(isBlank && prefix === "" && isStart);
  $("#none").hidden = !isBlank || !$("#empty").hidden;
  text.showKey($("#none-prefix"), prefix);
  showCurl();
  showRange();
}

function showRange() {
  const { entries, cursors } = state;
  const isStart = cursors.length === 1;
  const from = (cursors.length - 1) * PAGE + 1;
  $("#range").textContent = entries.length ? `${from}–${from + entries.length - 1}${state.hasMore ? "" : isStart ? ` of ${entries.length}` : ", the last"}` : "";
  $("#previous").disabled = isStart;
  $("#next").disabled = !state.hasMore;
  $("#export").disabled = entries.length === 0;
}

function row(entry) {
  const option = document.createElement("div");
  option.role = "option";
  option.tabIndex = -1;
  option.entry = entry;
  option.ariaSelected = String(entry.key === state.chosen?.key);
  const [key, left, preview] = [document.createElement("bdi"), document.createElement("span"), document.createElement("span")];
  text.showKey(key, entry.key);
  left.className = "left";
  preview.className = "preview";
  preview.textContent = entry.text === undefined ? "a long value" : text.shown(entry.text.slice(0, 200));
  option.append(key, left, preview);
  showLeft(option);
  return option;
}

function showLeft(option) {
  const { expires } = option.entry;
  const left = option.querySelector(".left");
  if (expires === Infinity || expires === null) return;
  const ms = expires - Date.now();
  left.textContent = text.duration(ms);
  left.classList.toggle("is-soon", ms < SOON);
}

function showCurl() {
  // A token in the path is a secret too, and this is there to be copied.
  const hidden = /\/_\/t\/[^/]+\/$/;
  const isInPath = hidden.test(server.base.pathname);
  const root = new URL(server.base.pathname.replace(hidden, "/"), server.base);
  const url = new URL("hello", root).href.replaceAll("'", "%27");
  const token = isInPath || server.hasToken() ? ' -H "authorization: Bearer $TOKEN"' : "";
  $("#curl").textContent = `curl -X PUT '${url}'${token} -d '"world"'`;
}

function find(prefix) {
  if (prefix === state.prefix) return;
  state.prefix = prefix;
  state.cursors = [undefined];
  history.replaceState(null, "", prefix ? `#${new URLSearchParams({ find: prefix })}` : location.pathname + location.search);
  load();
}

function turn(forward) {
  if (forward && state.hasMore) state.cursors.push(state.entries.at(-1).key.slice(state.prefix.length));
  else if (!forward && state.cursors.length > 1) state.cursors.pop();
  else return;
  $("#list").scrollTop = 0;
  load();
}

/** Takes what is no longer there off the list; what has the focus gives it to its neighbour. */
function drop(key) {
  const option = [...$("#list").children].find((it) => it.entry.key === key);
  state.entries = state.entries.filter((entry) => entry.key !== key);
  if (!option) return;
  const next = option.nextSibling ?? option.previousSibling;
  const hadFocus = option === document.activeElement;
  if (next) next.tabIndex = 0;
  option.remove();
  showRange();
  if (hadFocus) next?.focus();
  if (!state.entries.length) {
    if (state.cursors.length > 1) turn(false);
    else load();
  }
}

// The entry.

async function choose(key) {
  const entry = await attempt(() => server.get(key), () => choose(key));
  if (entry === undefined) return;
  if (entry === null) {
    drop(key);
    if (state.chosen?.key === key) showGone("This entry is no longer there.");
    else toast(`${text.named(key)} is no longer there.`, true);
    return;
  }
  state.chosen = { key, ...entry };
  for (const option of $("#list").children) option.ariaSelected = String(option.entry.key === key);
  showEntry();
  // On a phone the list makes way.
  if (getComputedStyle($("#back")).display !== "none") $("#entry").focus();
}

function showEntry() {
  const { key, text: json } = state.chosen;
  document.body.classList.add("has-entry");
  $("#unselected").hidden = true;
  $("#entry").hidden = false;
  $("#gone").hidden = true;
  for (const button of $("#actions").children) button.disabled = false;
  text.showKey($("#key"), key);
  $("#value-kind").textContent = text.kindOf(json);
  $("#size").textContent = text.size(new Blob([json]).size);
  showValue(MOST_SHOWN);
  showExpiry();
}

function showValue(most) {
  if (most === Infinity) return showWhole();
  const pieces = document.createDocumentFragment();
  let plain = "";
  const { text: json } = state.chosen;
  const isCut = text.pretty(json, (kind, piece) => {
    if (!/\w/.test(kind)) {
      plain += piece;
      return;
    }
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = piece;
    pieces.append(plain, span);
    plain = "";
  }, most);
  $("#value").replaceChildren(pieces, plain + (isCut ? "…" : ""));
  $("#all").hidden = !isCut;
  $("#all").textContent = `Show all (${$("#size").textContent})`;
}

/** In blocks, of which the browser lays out only those that are to be seen. */
function showWhole() {
  const lines = text.formatted(state.chosen.text).split("\n");
  const blocks = [];
  for (let from = 0; from < lines.length; from += 500) {
    const block = document.createElement("div");
    block.textContent = lines.slice(from, from + 500).join("\n") + (from + 500 < lines.length ? "\n" : "");
    blocks.push(block);
  }
  $("#value").replaceChildren(...blocks);
  $("#all").hidden = true;
}

function showExpiry() {
  const { expires } = state.chosen;
  const box = $("#expires");
  if (expires === Infinity) box.textContent = "never";
  else if (expires === null) box.textContent = "not known here";
  if (expires === Infinity || expires === null) return;
  const at = new Date(expires);
  const day = at.toDateString() === new Date().toDateString() ? {} : { day: "numeric", month: "short", year: "numeric" };
  const small = document.createElement("small");
  small.textContent = at.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit", second: "2-digit" });
  box.replaceChildren(`in ${text.duration(expires - Date.now())}`, small);
}

function showGone(message) {
  $("#gone").textContent = message;
  $("#gone").hidden = false;
  $("#expires").textContent = "gone";
  for (const id of ["edit", "touch", "delete"]) $(`#${id}`).disabled = true;
}

function close() {
  const key = state.chosen?.key;
  state.chosen = null;
  document.body.classList.remove("has-entry");
  $("#entry").hidden = true;
  $("#unselected").hidden = false;
  for (const option of $("#list").children) {
    option.ariaSelected = "false";
    if (option.entry.key === key) focusRow(option);
  }
}

function focusRow(option) {
  for (const other of $("#list").children) other.tabIndex = -1;
  option.tabIndex = 0;
  option.focus();
}

setInterval(() => {
  const now = Date.now();
  for (const option of [...$("#list").children]) {
    const { key, expires } = option.entry;
    if (expires !== null && expires <= now) drop(key);
    else showLeft(option);
  }
  const chosen = state.chosen;
  if (!chosen || !$("#gone").hidden) return;
  if (chosen.expires !== null && chosen.expires <= now) showGone("This entry has expired.");
  else showExpiry();
}, 250);

// Adding and editing.

const editor = $("#editor");
const inText = () => editor.querySelector("[name=form]:checked").value === "text";
let hasTried = false;

function showMistake(mistake) {
  $("#mistake").hidden = !mistake;
  $("#editor-value").ariaInvalid = String(Boolean(mistake));
  if (mistake) $("#mistake").textContent = `Line ${mistake.line}, column ${mistake.column}: ${mistake.message}.`;
}

/** The value that stands in the editor, as JSON; nothing if it is none, which is then said. */
function written() {
  const value = $("#editor-value").value;
  showMistake(null);
  if (inText()) return JSON.stringify(value);
  try {
    const json = text.compact(value);
    if (json !== "null") return json;
    showMistake(new text.Mistake(value, 0, "null stands for no entry; to remove one, delete it"));
  } catch (mistake) {
    if (!(mistake instanceof text.Mistake)) throw mistake;
    showMistake(mistake);
  }
  return undefined;
}

function openEditor(title, value, hint, save) {
  hasTried = false;
  showMistake(null);
  $("#editor-title").textContent = title;
  $("#editor-value").value = value;
  $("#editor-expires").value = "";
  $("#editor-hint").textContent = hint;
  editor.querySelector("[value=json]").checked = true;
  open(editor, async () => {
    hasTried = true;
    const json = written();
    if (json === undefined) {
      $("#editor-value").focus();
      return;
    }
    await save(json, expiry($("#editor-expires").value));
  });
}

async function saved(key, message) {
  editor.close();
  toast(message);
  await load();
  await choose(key);
}

const HINT = "Seconds such as 60, words such as 1h 30m, or never.";

function openNew() {
  $("#new-key").hidden = false;
  $("#old-key").hidden = true;
  $("#editor-key").value = state.prefix;
  $("#editor-key").disabled = false;
  $("#generate").checked = false;
  openEditor("New entry", "", `${HINT} Left empty, the store decides.`, (json, expires) => create($("#editor-key").value, json, expires));
  $("#editor-key").focus();
}

async function create(key, json, expires, isMeant = false) {
  if ($("#generate").checked && !$("#new-key").hidden) {
    const made = await server.add(json, expires);
    return saved(made, `Saved as ${text.named(made)}.`);
  }
  if (key === "" && !isMeant) {
    const action = () => busy(editor, () => create(key, json, expires, true));
    return notice(editor, "There is no key. Type one, have the server make one, or take the empty key.", [["Use the empty key", action]]);
  }
  const outcome = await server.insert(key, json, expires);
  if (outcome === "taken") {
    const overwrite = async () => {
      await server.put(key, json, expires);
      await saved(key, "Overwritten.");
    };
    return notice(editor, `There is an entry ${text.named(key)} already. Nothing was changed.`, [["Overwrite it", () => busy(editor, overwrite)]]);
  }
  const looked = "Saved. This store has no insert: it was looked at first, and then put.";
  return saved(key, outcome === "checked" ? looked : "Saved.");
}

function openEdit() {
  const { key, text: before } = state.chosen;
  $("#new-key").hidden = true;
  $("#old-key").hidden = false;
  text.showKey($("#old-key bdi"), key);
  openEditor("Edit", text.formatted(before), `${HINT} Left empty, the expiry stays.`, (json, expires) => update(key, before, json, expires));
  $("#editor-value").focus();
  $("#editor-value").setSelectionRange(0, 0);
}

async function update(key, before, json, expires) {
  const now = await server.get(key);
  if (now === null) {
    const again = () => busy(editor, () => create(key, json, expires, true));
    return notice(editor, "This entry is gone: it has expired or was deleted meanwhile.", [["Create it again", again]]);
  }
  if (now.text !== before) {
    const overwrite = () => busy(editor, () => update(key, now.text, json, expires));
    const take = () => {
      state.chosen = { key, ...now };
      showEntry();
      editor.close();
      openEdit();
    };
    return notice(editor, "It was changed meanwhile by somebody else.", [["Overwrite it", overwrite], ["Start from the new value", take]]);
  }
  const kept = now.expires === Infinity ? "never" : now.expires === null ? undefined : Math.max(0.001, (now.expires - Date.now()) / 1000).toFixed(3);
  await server.put(key, json, expires ?? kept);
  return saved(key, "Saved.");
}

$("#editor-value").addEventListener("input", () => hasTried && written());
for (const radio of editor.querySelectorAll("[name=form]")) radio.addEventListener("change", changeForm);

/** A text keeps what it says when it changes between JSON and plain text. */
function changeForm() {
  const box = $("#editor-value");
  showMistake(null);
  if (!inText()) {
    if (box.value) box.value = JSON.stringify(box.value);
    return;
  }
  try {
    const value = JSON.parse(box.value);
    if (typeof value === "string") box.value = value;
  } catch {
    // Then it is taken as it stands.
  }
}

$("#generate").addEventListener("change", ({ target }) => {
  $("#editor-key").disabled = target.checked;
});
editor.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("#save").click();
});

function openToucher() {
  const dialog = $("#toucher");
  const { key } = state.chosen;
  text.showKey($("#toucher-key"), key);
  $("#toucher-expires").value = "";
  open(dialog, async () => {
    const expires = expiry($("#toucher-expires").value);
    if (expires === undefined) return notice(dialog, "Say when it expires.");
    const outcome = await server.touch(key, expires);
    if (outcome === "gone") return notice(dialog, "This entry is gone: it has expired or was deleted meanwhile.");
    dialog.close();
    const put = outcome === "copied" ? " This store has no touch: what was there was put once more." : "";
    toast((expires === "never" ? "It never expires now." : "Its expiry is set.") + put);
    await load();
    await choose(key);
  });
  $("#toucher-expires").focus();
}

function openDeleter() {
  const dialog = $("#deleter");
  const { key } = state.chosen;
  text.showKey($("#deleter-key"), key);
  open(dialog, async () => {
    await server.del(key);
    dialog.close();
    toast("Deleted.");
    const option = [...$("#list").children].find((it) => it.entry.key === key);
    const next = option?.nextSibling ?? option?.previousSibling;
    close();
    drop(key);
    if (next) focusRow(next);
    load();
  });
}

// Buttons and keys.

const on = (id, action) => $(`#${id}`).addEventListener("click", action);
const withEntry = (action) => () => state.chosen && action();
const withLiving = (action) => () => state.chosen && $("#gone").hidden && action();

const actions = {
  new: openNew,
  edit: withLiving(openEdit),
  touch: withLiving(openToucher),
  delete: withLiving(openDeleter),
  "copy-key": withEntry(() => copy(state.chosen.key, "Key")),
  "copy-value": withEntry(() => copy(state.chosen.text, "Value")),
  refresh: async () => {
    await loadAll();
    if (state.chosen) await choose(state.chosen.key);
  },
  help: () => open($("#keys"), () => $("#keys").close()),
};
for (const [id, action] of Object.entries(actions)) on(id, action);
on("first", openNew);
on("about", () => open($("#store"), () => $("#store").close()));
on("copy-curl", () => copy($("#curl").textContent, "Command"));
on("all", () => showValue(Infinity));
on("back", close);
on("previous", () => turn(false));
on("next", () => turn(true));
on("forget", () => {
  server.useToken("");
  state.info = null;
  close();
  showStore();
  loadAll();
  watch();
});
on("export", () => attempt(async () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await server.download(state.prefix));
  link.download = "polystore.ndjson";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}));

const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const showTheme = () => ($("#theme").ariaPressed = String(isDark()));
on("theme", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("polystore.theme", theme);
  } catch {
    // Then it is so until the page is left.
  }
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTheme();

let typed = 0;
$("#find").value = state.prefix;
$("#find").addEventListener("input", ({ target }) => {
  clearTimeout(typed);
  typed = setTimeout(() => find(target.value), 200);
});
$("#search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typed);
  find($("#find").value);
});

$("#list").addEventListener("click", ({ target }) => {
  const option = target.closest("[role=option]");
  if (!option) return;
  focusRow(option);
  choose(option.entry.key);
});
$("#list").addEventListener("keydown", (event) => {
  const option = event.target.closest("[role=option]");
  if (!option || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = $("#list");
  const to = { ArrowDown: option.nextSibling, ArrowUp: option.previousSibling, Home: all.firstChild, End: all.lastChild }[event.key];
  if (to) focusRow(to);
  else if (event.key === "Enter" || event.key === " ") choose(option.entry.key);
  else if (event.key === "ArrowRight") turn(true);
  else if (event.key === "ArrowLeft") turn(false);
  else if (!["ArrowDown", "ArrowUp"].includes(event.key)) return;
  event.preventDefault();
});

const shortcuts = { n: "new", e: "edit", x: "touch", c: "copy-key", v: "copy-value", r: "refresh", "?": "help", Delete: "delete" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { target, key } = event;
  if (target === $("#find")) {
    if (key === "ArrowDown") $("#list [tabindex='0']")?.focus();
    if (key !== "Escape" && key !== "ArrowDown") return;
    event.preventDefault();
    if (key === "Escape" && target.value === "") target.blur();
    if (key === "Escape") find((target.value = ""));
    return;
  }
  if (key === "/") $("#find").select();
  else if (key === "Escape" && state.chosen) close();
  else if (shortcuts[key]) actions[shortcuts[key]]();
  else return;
  event.preventDefault();
});

async function loadAll() {
  try {
    state.info = await server.store();
  } catch {
    // The listing says what is wrong.
  }
  showStore();
  await load();
}

loadAll();
watch();
