//! Caches the replies that reqwest gets in any store, by RFC 9111.
