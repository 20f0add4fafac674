//! What keeps the data. No backend knows another.

#[cfg(all(feature = "cloudflare", not(target_family = "wasm")))]
pub(crate) mod cloudflare;
#[cfg(all(feature = "cookie", target_family = "wasm"))]
pub(crate) mod cookie;
#[cfg(all(feature = "etcd", not(target_family = "wasm")))]
pub(crate) mod etcd;
#[cfg(all(feature = "file", not(target_family = "wasm")))]
pub(crate) mod file;
#[cfg(all(feature = "folder", not(target_family = "wasm")))]
pub(crate) mod folder;
#[cfg(feature = "http")]
pub(crate) mod http;
#[cfg(all(feature = "level", not(target_family = "wasm")))]
pub(crate) mod level;
#[cfg(all(feature = "local_forage", target_family = "wasm"))]
pub(crate) mod local_forage;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(all(feature = "postgres", not(target_family = "wasm")))]
pub(crate) mod postgres;
#[cfg(all(feature = "redis", not(target_family = "wasm")))]
pub(crate) mod redis;
#[cfg(all(feature = "sqlite", not(target_family = "wasm")))]
pub(crate) mod sqlite;
#[cfg(all(feature = "web_storage", target_family = "wasm"))]
pub(crate) mod web_storage;
#[cfg(all(feature = "worker-0_8", target_family = "wasm"))]
pub(crate) mod workers;

#[cfg(not(all(feature = "cloudflare", not(target_family = "wasm"))))]
pub(crate) mod cloudflare {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_on_servers("cloudflare");
}
#[cfg(not(all(feature = "cookie", target_family = "wasm")))]
pub(crate) mod cookie {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_in_browsers("cookie", "cookie");
}
#[cfg(not(all(feature = "etcd", not(target_family = "wasm"))))]
pub(crate) mod etcd {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_on_servers("etcd");
}
#[cfg(not(all(feature = "file", not(target_family = "wasm"))))]
pub(crate) mod file {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_on_servers("file");
}
#[cfg(not(all(feature = "folder", not(target_family = "wasm"))))]
pub(crate) mod folder {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_on_servers("folder");
}
#[cfg(not(feature = "http"))]
pub(crate) mod http {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent("http", "http");
}
#[cfg(not(all(feature = "level", not(target_family = "wasm"))))]
pub(crate) mod level {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_on_servers("level");
}
#[cfg(not(all(feature = "local_forage", target_family = "wasm")))]
pub(crate) mod local_forage {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_in_browsers("localForage", "local_forage");
}
#[cfg(not(feature = "memory"))]
pub(crate) mod memory {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent("memory", "memory");
}
#[cfg(not(all(feature = "postgres", not(target_family = "wasm"))))]
pub(crate) mod postgres {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_on_servers("postgres");
}
#[cfg(not(all(feature = "redis", not(target_family = "wasm"))))]
pub(crate) mod redis {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_on_servers("redis");
}
#[cfg(not(all(feature = "sqlite", not(target_family = "wasm"))))]
pub(crate) mod sqlite {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_on_servers("sqlite");
}
#[cfg(not(all(feature = "web_storage", target_family = "wasm")))]
pub(crate) mod web_storage {
    use crate::opener::Opener;
    pub(crate) const STORE: Opener = Opener::absent_in_browsers("web storage", "web_storage");
}
