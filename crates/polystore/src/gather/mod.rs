//! What waits is done together.
//!
//! Nothing is ever delayed to wait for company: a lone job is taken at once, and what
//! arrives while it is done is the next batch. A [`Crew`] works on threads of its own,
//! for stores that block; a [`Lane`] on the runtime of its callers, for stores on the network.

mod crew;
#[cfg(any(
    all(feature = "_remote", not(target_family = "wasm")),
    all(feature = "_lane", target_family = "wasm")
))]
mod lane;

pub(crate) use crew::{AnyJob, Blocking, Crew, Work};
#[cfg(any(
    all(feature = "_remote", not(target_family = "wasm")),
    all(feature = "_lane", target_family = "wasm")
))]
pub(crate) use lane::{Lane, Trip};
