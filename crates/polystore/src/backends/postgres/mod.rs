//! `postgres:`

pub(crate) const STORE: crate::opener::Opener = crate::opener::Opener::absent("postgres");
