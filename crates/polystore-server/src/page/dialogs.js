// Dialogs: what they have in common, and the small ones.

const $ = (selector, within = document) => within.querySelector(selector);

/** Says `problem` within a dialog, with buttons for what can be done about it: `[["Overwrite it", action], …]`. */
export function notice(dialog, text, actions = []) {
  const box = $(".notice", dialog);
  box.replaceChildren();
  box.hidden = !text;
  if (!text) return;
  const words = document.createElement("p");
  words.textContent = text;
  box.append(words);
  for (const [name, action] of actions) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", action);
    box.append(button);
  }
  $("button", box)?.focus();
}

/** Runs `action` with the dialog busy; what goes wrong is said in it. */
export async function busy(dialog, action) {
  if (dialog.dataset.busy) return;
  dialog.dataset.busy = "true";
  notice(dialog, "");
  try {
    await action();
  } catch (problem) {
    notice(dialog, problem.message);
  } finally {
    delete dialog.dataset.busy;
  }
}

/** Opens a dialog; its form calls `submit`, and its buttons with `value=cancel` close it. */
export function open(dialog, submit) {
  notice(dialog, "");
  $("form", dialog).onsubmit = (event) => {
    event.preventDefault();
    busy(dialog, submit);
  };
  dialog.showModal();
}

for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[value=cancel]")) button.addEventListener("click", () => dialog.close());
}

/** Fills `input` when one of the words beside it is pressed. */
for (const picks of document.querySelectorAll(".picks")) {
  picks.addEventListener("click", ({ target }) => {
    const input = document.getElementById(picks.dataset.for);
    if (target.localName !== "button") return;
    input.value = target.dataset.value ?? target.textContent;
    input.focus();
  });
}

/** Seconds or words that the server takes; zero would delete, and deleting asks first. */
export function expiry(text) {
  const said = text.trim();
  if (said === "") return undefined;
  if (/^\+?[0.]+\s*[a-z]*$/i.test(said) || said.startsWith("-")) {
    throw new Error("An expiry is longer than zero. To remove the entry, delete it.");
  }
  return said;
}

let said = 0;

/** Says something in passing. */
export function toast(text, isProblem = false) {
  const box = $("#toast");
  clearTimeout(said);
  box.textContent = text;
  box.classList.toggle("problem", isProblem);
  box.classList.add("is-shown");
  said = setTimeout(() => box.classList.remove("is-shown"), isProblem ? 10_000 : 4000);
}

/** Puts `text` on the clipboard, also where the browser has none for pages that do not come by TLS. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    const before = document.activeElement;
    area.value = text;
    area.setAttribute("aria-hidden", "true");
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const isDone = document.execCommand("copy");
    area.remove();
    before?.focus();
    if (!isDone) return toast("The browser does not let this page copy.", true);
  }
  toast(`${what} copied.`);
}
