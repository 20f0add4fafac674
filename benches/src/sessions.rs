//! Requests with a session through axum, which is loaded, changed and saved: beside tower-sessions' own stores.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::measure::{MANY_TASKS, TASKS};
use crate::report::{judged, ratio, short};
use crate::requests::Side;
use crate::serving::Serving;
use crate::{Bench, apart};

const MARK: Option<f64> = Some(1.0);

impl Bench<'_> {
    pub(crate) fn sessions(&self) -> String {
        let mut text = String::from(
            "\n### Requests a second with a session\n\n\
             | | polystore-tower-sessions | tower-sessions' own | ratio | CPU: ours | theirs | generator |\n\
             |---|---|---|---|---|---|---|\n",
        );
        let redis = self.servers.redis.as_ref();
        let redis = |number| redis.map(|redis| redis.database_url(number));
        let memory = || Some("memory".to_owned());
        for (what, ours, theirs) in [
            ("session on memory", memory(), memory()),
            ("session on redis", redis(6), redis(7)),
        ] {
            let connections = [1, TASKS, MANY_TASKS].into_iter();
            let named = connections.map(|count| (format!("{what} ×{count}"), count));
            let wanted: Vec<_> = named.filter(|(what, _)| self.options.wants(what)).collect();
            if wanted.is_empty() {
                continue;
            }
            let (Some(ours), Some(theirs)) = (ours, theirs) else {
                continue;
            };
            let Some(program) = apart::built("sessions") else {
                continue;
            };
            let ours = serving(&program, "ours", &ours);
            let theirs = serving(&program, "theirs", &theirs);
            for (what, connections) in wanted {
                eprintln!("{what}");
                text += &self.visits(&what, connections, [&ours, &theirs]);
            }
        }
        text
    }

    fn visits(&self, what: &str, connections: u32, servers: [&Option<Serving>; 2]) -> String {
        let mut sides = [Side::default(), Side::default()];
        for _ in 0..self.options.runs {
            for (side, server) in sides.iter_mut().zip(servers) {
                side.add(server.as_ref().and_then(|it| it.load("visit", connections)));
            }
        }
        let [ours, theirs] = &sides;
        let [requests, of_theirs] = [ours, theirs].map(|side| side.requests_per_sec.show());
        let [cpu, their_cpu] = [ours, theirs].map(|side| {
            let median = side.cpu_micros.median();
            median.map_or("–".to_owned(), |micros| format!("{} µs", short(micros)))
        });
        let ratio = judged(
            ratio(&ours.requests_per_sec, &theirs.requests_per_sec),
            MARK,
        );
        let generator = ours.generator.max(theirs.generator) * 100.0;
        let mut row = String::new();
        let _ = writeln!(
            row,
            "| {what} | {requests} | {of_theirs} | {ratio} | {cpu} | {their_cpu} | {generator:.0}% |"
        );
        row
    }
}

fn serving(program: &Path, side: &str, store: &str) -> Option<Serving> {
    Serving::start(Command::new(program).args([side, store]))
}
