//! What is counted, as Prometheus reads it. Nothing is locked: requests only add to numbers.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::response::Response;
use http::{HeaderValue, StatusCode};

use crate::operation::Operation;
use crate::respond::reply;

/// Up to how many microseconds a bucket of the histogram goes, and its name in seconds.
const BUCKETS: [(u64, &str); 16] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// The kinds of problems; the last one is for any other.
const KINDS: [&str; 17] = [
    "invalid_key",
    "invalid_value",
    "invalid_option",
    "unsupported",
    "denied",
    "read_only",
    "not_found",
    "precondition_failed",
    "throttled",
    "timeout",
    "closed",
    "unreachable",
    "full",
    "encode",
    "decode",
    "corrupt",
    "other",
];

/// What no operation is known of, such as a path that means nothing.
const OTHER: &str = "other";

/// 100 to 599.
const STATUSES: usize = 500;

#[derive(Debug)]
struct Counts {
    name: &'static str,
    statuses: Vec<AtomicU64>,
    kinds: [AtomicU64; KINDS.len()],
    /// The last one is for what took longer.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Counts {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            statuses: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            kinds: Default::default(),
            buckets: Default::default(),
            micros: AtomicU64::new(0),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Metrics {
    operations: Vec<Counts>,
    in_flight: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let names = Operation::ALL.iter().map(|it| it.as_str());
        Self {
            operations: names.chain([OTHER]).map(Counts::new).collect(),
            in_flight: AtomicU64::new(0),
        }
    }

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(crate) fn end(
        &self,
        operation: Option<Operation>,
        status: u16,
        kind: Option<&'static str>,
        took: Duration,
    ) {
        self.in_flight.fetch_sub(1, Relaxed);
        let place = operation.map_or(Operation::ALL.len(), |it| it as usize);
        let counts = &self.operations[place];
        if let Some(count) = counts.statuses.get(usize::from(status).wrapping_sub(100)) {
            count.fetch_add(1, Relaxed);
        }
        if let Some(kind) = kind {
            let place = KINDS.iter().position(|it| *it == kind);
            counts.kinds[place.unwrap_or(KINDS.len() - 1)].fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|(most, _)| *most < micros);
        counts.buckets[bucket].fetch_add(1, Relaxed);
        counts.micros.fetch_add(micros, Relaxed);
    }

    /// `GET /_/metrics`
    pub(crate) fn answer(&self) -> Response {
        let form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        let mut text = String::with_capacity(8 << 10);
        // A String takes everything.
        let _ = self.write(&mut text);
        reply(StatusCode::OK, form, text)
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Relaxed);
        let name = "polystore_requests_total";
        writeln!(out, "# HELP {name} Requests that were answered.")?;
        writeln!(out, "# TYPE {name} counter")?;
        for it in &self.operations {
            for (status, count) in (100..).zip(it.statuses.iter().map(of)) {
                if count > 0 {
                    let operation = it.name;
                    writeln!(
                        out,
                        "{name}{{operation=\"{operation}\",status=\"{status}\"}} {count}"
                    )?;
                }
            }
        }
        let name = "polystore_errors_total";
        writeln!(
            out,
            "# HELP {name} Requests that were answered with a problem."
        )?;
        writeln!(out, "# TYPE {name} counter")?;
        for it in &self.operations {
            for (kind, count) in KINDS.iter().zip(it.kinds.iter().map(of)) {
                if count > 0 {
                    let operation = it.name;
                    writeln!(
                        out,
                        "{name}{{operation=\"{operation}\",kind=\"{kind}\"}} {count}"
                    )?;
                }
            }
        }
        let name = "polystore_request_duration_seconds";
        writeln!(
            out,
            "# HELP {name} How long answers took, lists to their end."
        )?;
        writeln!(out, "# TYPE {name} histogram")?;
        for it in &self.operations {
            let operation = it.name;
            let (mut total, mut rows) = (0, String::new());
            let ends = BUCKETS.iter().map(|(_, end)| *end).chain(["+Inf"]);
            for (end, bucket) in ends.zip(&it.buckets) {
                total += of(bucket);
                writeln!(
                    rows,
                    "{name}_bucket{{operation=\"{operation}\",le=\"{end}\"}} {total}"
                )?;
            }
            if total > 0 {
                let micros = of(&it.micros);
                let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
                out.push_str(&rows);
                writeln!(
                    out,
                    "{name}_sum{{operation=\"{operation}\"}} {seconds}.{rest:06}"
                )?;
                writeln!(out, "{name}_count{{operation=\"{operation}\"}} {total}")?;
            }
        }
        let name = "polystore_requests_in_flight";
        writeln!(out, "# HELP {name} Requests that are under way.")?;
        writeln!(out, "# TYPE {name} gauge")?;
        writeln!(out, "{name} {}", of(&self.in_flight))
    }
}
