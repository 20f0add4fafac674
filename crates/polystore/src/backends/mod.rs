//! What keeps the data. No backend knows another.

#[cfg(all(feature = "cloudflare", not(target_family = "wasm")))]
pub(crate) mod cloudflare;
#[cfg(all(feature = "etcd", not(target_family = "wasm")))]
pub(crate) mod etcd;
#[cfg(all(feature = "file", not(target_family = "wasm")))]
pub(crate) mod file;
#[cfg(all(feature = "folder", not(target_family = "wasm")))]
pub(crate) mod folder;
#[cfg(all(feature = "http", not(target_family = "wasm")))]
pub(crate) mod http;
#[cfg(all(feature = "level", not(target_family = "wasm")))]
pub(crate) mod level;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(all(feature = "postgres", not(target_family = "wasm")))]
pub(crate) mod postgres;
#[cfg(all(feature = "redis", not(target_family = "wasm")))]
pub(crate) mod redis;
#[cfg(all(feature = "sqlite", not(target_family = "wasm")))]
pub(crate) mod sqlite;

#[cfg(not(all(feature = "cloudflare", not(target_family = "wasm"))))]
pub(crate) mod cloudflare {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("cloudflare");
}
#[cfg(not(all(feature = "etcd", not(target_family = "wasm"))))]
pub(crate) mod etcd {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("etcd");
}
#[cfg(not(all(feature = "file", not(target_family = "wasm"))))]
pub(crate) mod file {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("file");
}
#[cfg(not(all(feature = "folder", not(target_family = "wasm"))))]
pub(crate) mod folder {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("folder");
}
#[cfg(not(all(feature = "http", not(target_family = "wasm"))))]
pub(crate) mod http {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("http");
}
#[cfg(not(all(feature = "level", not(target_family = "wasm"))))]
pub(crate) mod level {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("level");
}
#[cfg(not(feature = "memory"))]
pub(crate) mod memory {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("memory");
}
#[cfg(not(all(feature = "postgres", not(target_family = "wasm"))))]
pub(crate) mod postgres {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("postgres");
}
#[cfg(not(all(feature = "redis", not(target_family = "wasm"))))]
pub(crate) mod redis {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("redis");
}
#[cfg(not(all(feature = "sqlite", not(target_family = "wasm"))))]
pub(crate) mod sqlite {
    pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("sqlite");
}
