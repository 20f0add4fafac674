// The program is in src/: this only starts it.
import init from "./program/browser-notes.js";

init().catch((error) => {
  document.querySelector("#about").textContent = `This page cannot start: ${error.message}`;
});
