//! Keeps the sessions of tower-sessions in any store.
