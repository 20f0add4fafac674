//! Serves any store over HTTP.
