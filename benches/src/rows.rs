//! Gets and sets, of each store against the bare part, OpenDAL and npm.

use std::sync::Arc;

use crate::Bench;
use crate::local::{BareFile, BareFolder, BareLevel, BareMap, BareSqlite, ours};
use crate::measure::{self, MANY_TASKS, Operation, SPAN, TASKS};
use crate::npm::Npm;
use crate::opendal::OpenDal;
use crate::remote::{BareEtcd, BareHttp, BarePostgres, BareRedis};
use crate::report::{Row, Runs};
use crate::serving::Serving;
use crate::subject::Subject;

/// Who is measured side by side.
struct Contest<'a, O, B> {
    what: &'a str,
    ours: &'a O,
    bare: &'a B,
    opendal: Option<OpenDal>,
    npm: Npm<'a>,
}

/// What is measured, and what the ratios to bare and to npm are to reach.
type Workload = (Operation, u32, Option<f64>, Option<f64>);

use Operation::{Get, GetMany, Set};

impl Bench<'_> {
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        self.memory(&mut rows);
        self.sqlite(&mut rows, "full", "FULL", "sqlite");
        self.sqlite(&mut rows, "normal", "NORMAL", "sqlite-wal");
        self.file(&mut rows);
        self.folder(&mut rows, true);
        self.folder(&mut rows, false);
        self.level(&mut rows);
        self.redis(&mut rows);
        self.postgres(&mut rows);
        self.etcd(&mut rows);
        self.http(&mut rows);
        rows
    }

    fn contest<O: Subject, B: Subject>(
        &self,
        rows: &mut Vec<Row>,
        contest: &Contest<'_, O, B>,
        workloads: &[Workload],
    ) {
        let wanted: Vec<_> = workloads
            .iter()
            .map(|workload| (format!("{} {}", contest.what, named(workload)), workload))
            .filter(|(what, _)| self.options.wants(what))
            .collect();
        if wanted.is_empty() {
            return;
        }
        measure::fill(contest.ours);
        measure::fill(contest.bare);
        for (what, &(operation, tasks, mark_of_bare, mark_of_npm)) in wanted {
            eprintln!("{what}");
            let mut row = Row {
                what,
                mark_of_bare,
                mark_of_npm,
                ..Row::default()
            };
            let add = |runs: &mut Runs, ops| runs.0.push(ops);
            for _ in 0..self.options.runs {
                add(
                    &mut row.ours,
                    measure::operations(contest.ours, operation, tasks),
                );
                add(
                    &mut row.bare,
                    measure::operations(contest.bare, operation, tasks),
                );
                if operation != GetMany {
                    let opendal = contest.opendal.as_ref();
                    let ops = opendal.and_then(|opendal| opendal.run(verb(operation), tasks));
                    row.opendal.0.extend(ops);
                    let workload = format!("{}{tasks}", verb(operation));
                    let answer = contest.npm.run(&workload, self.folder, SPAN.as_secs_f64());
                    row.npm.0.extend(answer.ops_per_sec);
                }
            }
            rows.push(row);
        }
    }

    /// OpenDAL is a program that takes minutes to build.
    fn opendal(&self, what: &'static str, url: String, workloads: &[Workload]) -> Option<OpenDal> {
        let mut named = workloads.iter().map(|it| format!("{what} {}", named(it)));
        let is_wanted = named.any(|name| self.options.wants(&name));
        is_wanted.then(|| OpenDal::new(what, url)).flatten()
    }

    fn memory(&self, rows: &mut Vec<Row>) {
        let contest = Contest {
            what: "memory",
            ours: &ours("memory:"),
            bare: &BareMap::default(),
            opendal: None,
            npm: Npm::local("memory"),
        };
        self.contest(rows, &contest, &local(Some(0.8), None, Some(1.0)));
    }

    fn sqlite(&self, rows: &mut Vec<Row>, sync: &str, pragma: &str, npm: &str) {
        let folder = self.folder.display();
        let contest = Contest {
            what: &format!("sqlite {sync}"),
            ours: &ours(&format!("sqlite:{folder}/{sync}.db?sync={sync}")),
            bare: &BareSqlite::open(self.folder.join(format!("bare-{sync}.db")), pragma),
            opendal: None,
            npm: Npm::local(npm),
        };
        self.contest(rows, &contest, &local(Some(0.8), Some(2.0), Some(1.0)));
    }

    fn file(&self, rows: &mut Vec<Row>) {
        let contest = Contest {
            what: "file full",
            ours: &ours(&format!("file:{}/ours.json", self.folder.display())),
            bare: &BareFile {
                path: self.folder.join("bare.json"),
                full: true,
                writing: Arc::default(),
            },
            opendal: None,
            npm: Npm::local("file"),
        };
        let workloads = [
            (Get, 1, None, Some(1.0)),
            (Get, TASKS, None, Some(10.0)),
            (Set, 1, None, Some(1.0)),
            (Set, TASKS, None, Some(10.0)),
        ];
        self.contest(rows, &contest, &workloads);
    }

    fn folder(&self, rows: &mut Vec<Row>, full: bool) {
        let sync = if full { "full" } else { "normal" };
        let folder = self.folder.display();
        let bare = BareFolder {
            folder: self.folder.join(format!("bare-{sync}")),
            full,
        };
        std::fs::create_dir_all(&bare.folder).expect("it makes a folder");
        let contest = Contest {
            what: &format!("folder {sync}"),
            ours: &ours(&format!("file:{folder}/ours-{sync}/?sync={sync}")),
            bare: &bare,
            opendal: None,
            npm: Npm::local("folder"),
        };
        // The npm package does not sync.
        self.contest(rows, &contest, &local(None, None, (!full).then_some(1.0)));
    }

    fn level(&self, rows: &mut Vec<Row>) {
        let folder = self.folder.display();
        let contest = Contest {
            what: "level normal",
            ours: &ours(&format!("level:{folder}/ours.level?sync=normal")),
            bare: &BareLevel::open(self.folder.join("bare.level")),
            opendal: None,
            npm: Npm::local("level"),
        };
        self.contest(rows, &contest, &local(Some(0.9), Some(3.0), Some(1.0)));
    }

    fn redis(&self, rows: &mut Vec<Row>) {
        let Some(server) = &self.servers.redis else {
            return;
        };
        let workloads = [
            (Get, 1, Some(0.9), Some(1.0)),
            (Get, TASKS, Some(1.1), Some(1.0)),
            (Get, MANY_TASKS, Some(1.7), None),
            (Set, 1, Some(0.9), Some(1.0)),
            (Set, TASKS, Some(1.0), Some(1.0)),
            (Set, MANY_TASKS, Some(1.1), None),
            (GetMany, 1, Some(0.9), None),
        ];
        let contest = Contest {
            what: "redis",
            ours: &ours(&server.database_url(0)),
            bare: &BareRedis::new(&server.database_url(1)),
            opendal: self.opendal("redis", server.database_url(2), &workloads),
            npm: Npm::remote("redis", server.database_url(3)),
        };
        self.contest(rows, &contest, &workloads);
    }

    fn postgres(&self, rows: &mut Vec<Row>) {
        let Some(server) = &self.servers.postgres else {
            return;
        };
        server
            .sql("CREATE TABLE IF NOT EXISTS opendal (id text PRIMARY KEY, value bytea NOT NULL)");
        let workloads = [
            (Get, 1, Some(0.9), Some(1.0)),
            (Get, TASKS, Some(2.0), Some(3.0)),
            (Get, MANY_TASKS, Some(4.0), None),
            (Set, 1, Some(0.9), Some(1.0)),
            (Set, TASKS, Some(8.0), Some(3.0)),
            (Set, MANY_TASKS, Some(15.0), None),
            (GetMany, 1, Some(0.9), None),
        ];
        let contest = Contest {
            what: "postgres",
            ours: &ours(&server.url_with("table=ours")),
            bare: &BarePostgres::new(&server.url()),
            opendal: self.opendal("postgres", server.url(), &workloads),
            npm: Npm::remote("postgres", server.url()),
        };
        self.contest(rows, &contest, &workloads);
    }

    fn etcd(&self, rows: &mut Vec<Row>) {
        let Some(server) = &self.servers.etcd else {
            return;
        };
        let contest = Contest {
            what: "etcd",
            ours: &ours(&server.url()),
            bare: &BareEtcd::new(&server.url()),
            opendal: None,
            npm: Npm::remote("etcd", server.url()),
        };
        let workloads = [
            (Get, 1, Some(0.9), Some(1.0)),
            (Get, TASKS, Some(2.0), Some(1.0)),
            (Set, 1, Some(0.9), Some(1.0)),
            (Set, TASKS, Some(2.0), Some(1.0)),
            (GetMany, 1, None, None),
        ];
        self.contest(rows, &contest, &workloads);
    }

    /// The client, on our own server.
    fn http(&self, rows: &mut Vec<Row>) {
        let what = "http client";
        if !self.options.wants(what) && !self.options.only_within("http") {
            return;
        }
        let start = || Serving::of_rust("ours", "memory:");
        // The values of npm are longer: it writes them with white space.
        let (Some(server), Some(of_npm)) = (start(), start()) else {
            return;
        };
        let contest = Contest {
            what,
            ours: &ours(&server.url()),
            bare: &BareHttp::new(&server.url()),
            opendal: None,
            npm: Npm::remote("http", of_npm.url()),
        };
        let workloads = [
            (Get, 1, Some(0.9), None),
            (Get, TASKS, Some(1.5), None),
            (Set, 1, Some(0.9), None),
            (Set, TASKS, Some(1.5), None),
            (GetMany, 1, None, None),
        ];
        self.contest(rows, &contest, &workloads);
    }
}

/// What stores without a server are measured with.
fn local(one: Option<f64>, many_sets: Option<f64>, npm: Option<f64>) -> [Workload; 4] {
    [
        (Get, 1, one, npm),
        (Get, TASKS, None, npm),
        (Set, 1, one, npm),
        (Set, TASKS, many_sets, npm),
    ]
}

fn verb(operation: Operation) -> &'static str {
    match operation {
        Get => "get",
        Set => "set",
        GetMany => "get_many of 100",
    }
}

fn named(&(operation, tasks, ..): &Workload) -> String {
    format!("{} ×{tasks}", verb(operation))
}
