//! The binding of a namespace of Cloudflare KV, inside a Worker on the real runtime, workerd.

use std::sync::atomic::{AtomicU32, Ordering};

use polystore_conformance::{Outcome, Suite};
use polystore_servers::{Cloudflare, Worker, modules};
use serde_json::json;

/// What examines is WebAssembly in a Worker: each property has a namespace of its own.
pub(super) fn with_workers(suite: Suite) -> Suite {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Some(modules) = modules("conformance") else {
        return suite;
    };
    let worker = Worker::new("conformance", modules.join("conformance"));
    let Some(server) = Cloudflare::with_workers(256, &[worker]) else {
        return suite;
    };
    suite.store_elsewhere("cloudflare in a worker", move |property| {
        let namespace = format!("n{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let order = json!({"namespace": namespace, "property": property});
        let said = server
            .ask_worker("conformance", "POST", "/", &[], &order.to_string())
            .body;
        match said.split_once(": ") {
            None if said == "passed" => Outcome::Passed,
            Some(("skipped", why)) => Outcome::Skipped(why.to_owned()),
            _ => Outcome::Failed(said),
        }
    })
}
