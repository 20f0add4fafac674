//! Cloudflare KV, inside a Worker.
