//! Requests a second of the server, of a bare axum handler and of Node.

use std::fmt::Write;

use crate::Bench;
use crate::load::Load;
use crate::measure::{MANY_TASKS, TASKS};
use crate::report::{Runs, judged, ratio, short};
use crate::serving::Serving;

/// What it is to reach of a bare handler, and how often what Node does.
const OF_BARE: Option<f64> = Some(0.8);
const OF_NODE: Option<f64> = Some(5.0);

/// What was measured of one server.
#[derive(Default)]
pub(crate) struct Side {
    pub(crate) requests_per_sec: Runs,
    p99_ms: Runs,
    pub(crate) cpu_micros: Runs,
    user_micros: Runs,
    pub(crate) generator: f64,
}

impl Side {
    pub(crate) fn add(&mut self, load: Option<Load>) {
        let Some(load) = load else { return };
        self.requests_per_sec.0.push(load.requests_per_sec);
        self.p99_ms.0.push(load.p99_ms);
        self.cpu_micros.0.push(load.cpu_micros);
        self.user_micros.0.push(load.user_micros);
        self.generator = self.generator.max(load.generator);
    }
}

#[derive(Default)]
pub(crate) struct Row {
    what: String,
    ours: Side,
    bare: Side,
    node: Side,
}

impl Bench<'_> {
    pub(crate) fn requests(&self) -> Vec<Row> {
        let path = |name| self.folder.join(name).display().to_string();
        let ours = format!("sqlite:{}", path("served.db"));
        let mut rows = self.served("server on memory", "memory:", "memory", "memory");
        let (bare, node) = (path("served-bare.db"), path("served-node.db"));
        rows.extend(self.served("server on sqlite", &ours, &bare, &node));
        rows
    }

    fn served(&self, what: &str, ours: &str, bare: &str, node: &str) -> Vec<Row> {
        let mut wanted = Vec::new();
        for operation in ["get", "put"] {
            for connections in [1, TASKS, MANY_TASKS] {
                let what = format!("{what}: {operation} ×{connections}");
                if self.options.wants(&what) {
                    wanted.push((what, operation, connections));
                }
            }
        }
        if wanted.is_empty() {
            return Vec::new();
        }
        let ours = Serving::of_rust("ours", ours);
        let bare = Serving::of_rust("bare", bare);
        let node = Serving::of_node(node);
        let measured = wanted.into_iter().map(|(what, operation, connections)| {
            eprintln!("{what}");
            let mut row = Row {
                what,
                ..Row::default()
            };
            let load = |server: &Option<Serving>| server.as_ref()?.load(operation, connections);
            for _ in 0..self.options.runs {
                row.ours.add(load(&ours));
                row.bare.add(load(&bare));
                row.node.add(load(&node));
            }
            row
        });
        measured.collect()
    }
}

pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| | polystore-server | axum | Node | of axum | of Node |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let of = |theirs: &Side| ratio(&row.ours.requests_per_sec, &theirs.requests_per_sec);
        let [ours, bare, node] = row.sides().map(|side| side.requests_per_sec.show());
        let (of_bare, of_node) = (
            judged(of(&row.bare), OF_BARE),
            judged(of(&row.node), OF_NODE),
        );
        let what = &row.what;
        let _ = writeln!(
            table,
            "| {what} | {ours} | {bare} | {node} | {of_bare} | {of_node} |"
        );
    }
    table
}

/// What a request costs: the generator, which shares the cores, has no part in that.
pub(crate) fn costs(rows: &[Row]) -> String {
    let mut table = String::from(
        "| | CPU: polystore-server | axum | Node | Node / polystore-server | without the kernel \
         | p99: polystore-server | axum | Node | generator |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let [ours, bare, node] = row.sides().map(|side| {
            let medians = side.cpu_micros.median().zip(side.user_micros.median());
            medians.map_or("–".to_owned(), |(all, user)| {
                format!("{} µs, {} in the kernel", short(all), short(all - user))
            })
        });
        let of_node = ratio(&row.node.cpu_micros, &row.ours.cpu_micros);
        let of_user = ratio(&row.node.user_micros, &row.ours.user_micros);
        let [p99, bare_p99, node_p99] = row.sides().map(|side| {
            let median = side.p99_ms.median();
            median.map_or("–".to_owned(), |ms| format!("{ms:.2} ms"))
        });
        let busiest = row
            .sides()
            .map(|side| side.generator)
            .into_iter()
            .reduce(f64::max);
        let _ = writeln!(
            table,
            "| {} | {ours} | {bare} | {node} | {} | {} | {p99} | {bare_p99} | {node_p99} | {:.0}% |",
            row.what,
            judged(of_node, OF_NODE),
            judged(of_user, None),
            busiest.unwrap_or_default() * 100.0,
        );
    }
    table
}

impl Row {
    fn sides(&self) -> [&Side; 3] {
        [&self.ours, &self.bare, &self.node]
    }
}
