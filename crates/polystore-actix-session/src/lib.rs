//! Keeps the sessions of actix-session in any store.
