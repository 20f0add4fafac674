// What both sides write.

export const VALUES = [
  "text",
  "",
  "\"quoted\" 'single' \\ back",
  "; , = % & + / ? #",
  "%41 %zz",
  "é e\u0301 😀 \u2028 \uffff",
  "\u0000\n\t\r\u007f",
  "__lfsc__:blob",
  "null",
  0,
  -1.5,
  0.1,
  1e300,
  5e-324,
  Number.MAX_SAFE_INTEGER,
  true,
  false,
  [],
  {},
  [1, [2, [null, "3"]], {}],
  { id: 1, tags: ["a", null, { "é😀": "\u0000\n\"\\" }] },
  JSON.parse('{"__proto__": {"a": 1}, "constructor": 2, "toString": 3}'),
  // As if it were an entry itself.
  { expires: 1, value: "inner" },
  { expires: null, value: null },
];

const HOSTILE = [
  " ",
  ".",
  "..",
  "/",
  "a/b",
  "\\",
  "%",
  "%41",
  "100%",
  "_",
  "*",
  "?",
  "[",
  "a=b",
  "a;b",
  "a,b",
  "a b",
  " a ",
  "\"",
  "'",
  "<b>",
  "é",
  "e\u0301",
  "😀",
  "\uffff",
  "\n",
  "\u0000",
  "constructor",
  "toString",
  "hasOwnProperty",
  "length",
  "key",
  "getItem",
  "clear",
  "localforage/a",
  "User:1",
  "user",
  "user;",
  "user:é",
];

// So many entries: hostile keys first, then `user:0` and so on.
export function entries(count, more = []) {
  const keys = [...HOSTILE, ...more].slice(0, count / 2);
  const hostile = keys.length;
  while (keys.length < count) keys.push(`user:${keys.length - hostile}`);
  return keys.map((key, n) => [key, VALUES[n % VALUES.length]]);
}
