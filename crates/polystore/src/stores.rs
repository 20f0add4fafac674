//! The stores: what each keeps, its options and its limits. For reading only.

/// `memory:` — an ordered map in this process.
///
/// Each `kv("memory:")` is a store of its own; it is gone with its last handle.
///
/// | option | meaning |
/// |---|---|
/// | `max_entries=1000` | at most so many entries |
/// | `max_bytes=64MB` | at most so many bytes of keys and values, with about 200 bytes of overhead for each entry (units: `KB MB GB KiB MiB GiB`) |
///
/// With a limit, a write that exceeds it evicts the entry that was written first and not
/// been used since eviction last looked at it ("second chance"). An entry that alone is
/// larger than `max_bytes` is a usage error.
///
/// Reads do not block each other. A listing of a prefix costs what it returns. Expired
/// entries are removed by a thread that exists while any entry has an expiry.
pub mod memory {}
