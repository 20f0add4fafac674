//! A client with the cache, and a real origin that counts what reaches it.

mod bodies;
mod changes;
mod confirming;
mod failing;
mod hostile;
mod origin;
mod per_request;
mod reusing;
mod secrets;
mod slow;
mod staged;
mod stores;
mod varying;
