// Texts as they are: JSON without reading its numbers, keys with what cannot be seen, and times.

/** What is wrong with a JSON text, and where. */
export class Mistake extends Error {
  constructor(text, index, message) {
    super(message);
    this.index = index;
    const before = text.slice(0, index);
    this.line = before.split("\n").length;
    this.column = [...before.slice(before.lastIndexOf("\n") + 1)].length + 1;
  }
}

const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
const SPACE = /[ \t\n\r]*/y;

const at = (pattern, text, index) => {
  pattern.lastIndex = index;
  return pattern.test(text) ? pattern.lastIndex : -1;
};

function stringEnd(text, start) {
  for (let index = start + 1; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === 34) return index + 1;
    if (code < 32) throw new Mistake(text, index, "a line break or control character within quotes is written as \\n or \\u…");
    if (code !== 92) continue;
    const end = at(ESCAPE, text, index);
    if (end < 0) throw new Mistake(text, index, "after a backslash comes one of \" \\ / b f n r t, or u and four digits");
    index = end - 1;
  }
  throw new Mistake(text, start, "the closing quote is missing");
}

/**
 * The tokens of a JSON text as `{ kind, start, end, depth }`, where `kind` is `{ } [ ] , :`, `key`, `string`, `number`
 * or `word`. Its numbers stay text: as numbers of JavaScript, long ones would not be what is stored.
 */
export function* tokens(text) {
  const open = [];
  let wanted = "value";
  let index = at(SPACE, text, 0);
  while (index < text.length) {
    const char = text[index];
    const start = index;
    const wrong = (message) => new Mistake(text, start, message);
    let kind = char;
    if (wanted === "nothing") throw wrong("the value has ended; there is more after it");
    if ((char === "}" || char === "]") && (wanted === "more" || wanted === "first" || wanted === "first key")) {
      if (open.pop() !== (char === "}" ? "{" : "[")) throw wrong(`this ${char} closes nothing`);
      index += 1;
      wanted = "more";
    } else if ((char === "}" || char === "]") && start > 0 && text.slice(0, start).trimEnd().endsWith(",")) {
      throw wrong(`there is a comma too many before this ${char}`);
    } else if (wanted === "more") {
      if (char !== ",") throw wrong(`a comma or ${open.at(-1) === "{" ? "}" : "]"} is missing`);
      index += 1;
      wanted = open.at(-1) === "{" ? "key" : "value";
    } else if (wanted === "colon") {
      if (char !== ":") throw wrong("a colon is missing after the name");
      index += 1;
      wanted = "value";
    } else if (wanted === "key" || wanted === "first key") {
      if (char !== '"') throw wrong("a name in double quotes is missing");
      kind = "key";
      index = stringEnd(text, index);
      wanted = "colon";
    } else if (char === "{" || char === "[") {
      open.push(char);
      index += 1;
      wanted = char === "{" ? "first key" : "first";
    } else {
      let end = -1;
      if (char === '"') [kind, end] = ["string", stringEnd(text, index)];
      else if ((end = at(NUMBER, text, index)) >= 0) kind = "number";
      else if ((end = at(WORD, text, index)) >= 0) kind = "word";
      else throw wrong(char === "'" ? "a text is in double quotes" : "a value is missing (a text is in double quotes)");
      index = end;
      wanted = "more";
    }
    const depth = open.length;
    if (wanted === "more" && depth === 0) wanted = "nothing";
    yield { kind, start, end: index, depth };
    index = at(SPACE, text, index);
  }
  if (wanted !== "nothing") {
    const last = { "{": "}", "[": "]" }[open.at(-1)];
    throw new Mistake(text, text.length, last ? `it ends too early: ${last} is missing` : "a value is missing");
  }
}

/** The JSON text without the spaces between its tokens; throws a `Mistake`. */
export function compact(text) {
  const parts = [];
  for (const { start, end } of tokens(text)) parts.push(text.slice(start, end));
  return parts.join("");
}

/** Gives `emit(kind, piece)` the JSON text with line breaks and indents. Answers whether it was cut after `most` characters. */
export function pretty(text, emit, most = Infinity) {
  let length = 0;
  let before = "";
  const out = (kind, piece) => {
    const fits = piece.slice(0, Math.max(0, most - length));
    length += piece.length;
    if (fits) emit(kind, fits);
  };
  for (const { kind, start, end, depth } of tokens(text)) {
    if (length > most) return true;
    const isClosing = kind === "}" || kind === "]";
    const isFirst = before === "{" || before === "[";
    if ((isClosing && !isFirst) || (isFirst && !isClosing) || before === ",") out("", `\n${"  ".repeat(depth - (kind === "{" || kind === "[" ? 1 : 0))}`);
    const piece = text.slice(start, end);
    out(kind, kind === "string" || kind === "key" ? shown(piece) : piece);
    if (kind === ":") out("", " ");
    before = kind;
  }
  return length > most;
}

/** `pretty` as one text. */
export function formatted(text) {
  const parts = [];
  pretty(text, (_, piece) => parts.push(piece));
  return parts.join("");
}

/** The members of a JSON object, as they are written. */
export function fieldsOf(line) {
  const fields = {};
  let name;
  let from = 0;
  for (const { kind, start, end, depth } of tokens(line)) {
    if (kind === "key" && depth === 1) name = JSON.parse(line.slice(start, end));
    else if (kind === ":" && depth === 1) from = end;
    else if (depth === 1 && kind !== "," && kind !== "{" && kind !== "[") fields[name] = line.slice(from, end);
  }
  return fields;
}

/** What is not to be seen, or changes how its neighbours are seen. */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\u{a0}\u{1680}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}]/gu;
const units = (char) => char.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
const NAMES = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The text with escapes for what cannot be seen; within JSON's quotes it means the same. */
export const shown = (text) => text.replace(HIDDEN, (char) => NAMES[char] ?? units(char));

/** Shows a key in `element`, with what cannot be seen. */
export function showKey(element, key) {
  const mark = (text) => {
    const span = document.createElement("span");
    span.className = "hidden-char";
    span.textContent = text;
    return span;
  };
  element.replaceChildren();
  element.classList.add("key");
  if (key === "") element.append(mark("the empty key"));
  let from = 0;
  for (const { 0: char, index } of key.matchAll(/[\p{C}\p{Zl}\p{Zp}\u{a0}\u{1680}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}]|^ +| +$/gu)) {
    if (index > from) element.append(key.slice(from, index));
    element.append(mark(char[0] === " " ? "␣".repeat(char.length) : shown(char)));
    from = index + char.length;
  }
  if (from < key.length) element.append(key.slice(from));
}

/** A key within a sentence. */
export function named(key) {
  if (key === "") return "the empty key";
  const text = shown(key);
  return text.length > 80 ? `“${text.slice(0, 60)}…${text.slice(-15)}”` : `“${text}”`;
}

const KINDS = { "{": "Object", "[": "List", '"': "Text", t: "True or false", f: "True or false", n: "Null" };
export const kindOf = (json) => KINDS[json.trimStart()[0]] ?? "Number";

export function size(bytes) {
  if (bytes < 1000) return `${bytes} byte${bytes === 1 ? "" : "s"}`;
  const [unit, name] = bytes < 1e6 ? [1e3, "kB"] : [1e6, "MB"];
  return `${(bytes / unit).toPrecision(3)} ${name}`;
}

/** How long `ms` milliseconds are, in at most two units. */
export function duration(ms) {
  const seconds = Math.ceil(ms / 1000);
  const units = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, length]) => seconds >= length);
  if (first < 0) return "0 s";
  const [name, length] = units[first];
  const [next, part] = units[first + 1] ?? ["", Infinity];
  const rest = Math.floor((seconds % length) / part);
  return `${Math.floor(seconds / length)} ${name}${rest ? ` ${rest} ${next}` : ""}`;
}
