// Where Cloudflare's runtime begins: the module that wasm-bindgen has made of the crate exports `fetch`.

import { initSync, fetch } from "./worker.js";
import module from "./worker_bg.wasm";

initSync({ module });

export default { fetch };
