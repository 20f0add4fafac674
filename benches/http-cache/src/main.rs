//! `polystore-bench-http-cache BYTES TASKS`: hits a second of http-cache with its own store in memory, measured by the
//! same code as polystore-http-cache.

#[path = "../../src/hits.rs"]
mod hits;

use http_cache_reqwest::{Cache, CacheMode, HttpCache, HttpCacheOptions, MokaCache, MokaManager};
use reqwest_middleware::ClientBuilder;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bytes, tasks] = &arguments[..] else {
        panic!("usage: polystore-bench-http-cache BYTES TASKS");
    };
    let cache = Cache(HttpCache {
        mode: CacheMode::Default,
        manager: MokaManager::new(MokaCache::new(1000)),
        options: HttpCacheOptions::default(),
    });
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(cache)
        .build();
    let number = |text: &String| text.parse().expect("a number");
    let tasks = tasks.parse().expect("a number");
    println!("{}", hits::a_second(&client, number(bytes), tasks));
}
