//! `cargo xtask bench`: each store against the bare part under it and against the npm
//! package, in one run, turn by turn. Ratios count, not numbers.
//!
//! `--only WORD` measures only rows that have it, `--runs N` as often as that, `--write` puts
//! the table into README.md, and what groups cost into docs/performance.md. `--only costs` is the latter alone.

mod apart;
mod browser;
mod costs;
mod groups;
mod hits;
mod http_cache;
mod listen;
mod load;
mod local;
mod measure;
mod npm;
mod opendal;
mod remote;
mod report;
mod requests;
mod rows;
mod serving;
mod sessions;
mod subject;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use npm::Npm;
use polystore_servers::{Etcd, Postgres, Redis};
use report::{megabytes, short};
use tempfile::TempDir;

struct Options {
    only: Option<String>,
    runs: usize,
    write: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut options = Options {
        only: None,
        runs: 5,
        write: false,
    };
    let mut rest = &words[..];
    loop {
        rest = match rest {
            [] => break,
            ["--only", word, rest @ ..] => {
                options.only = Some((*word).to_owned());
                rest
            }
            ["--runs", runs, rest @ ..] if runs.parse().is_ok_and(|runs: usize| runs > 0) => {
                options.runs = runs.parse().unwrap_or(options.runs);
                rest
            }
            ["--write", rest @ ..] => {
                options.write = true;
                rest
            }
            // What this program runs as its own child.
            ["child", "prefix", url] => return print(&groups::prefix(url)),
            ["child", costs::COSTS, url] => return print(&costs::costs(url)),
            ["child", "stream", url, count] => {
                return print(&groups::stream(url, count.parse().unwrap_or_default()));
            }
            ["child", "fill", url, count] => {
                groups::fill_for_stream(url, count.parse().unwrap_or_default());
                return ExitCode::SUCCESS;
            }
            ["child", "serve", "ours", url] => return done(&serving::ours(url)),
            ["child", "serve", "bare", "memory"] => return done(&serving::bare_map()),
            ["child", "serve", "bare", path] => return done(&serving::bare_sqlite(path)),
            ["child", "load", address, pid, operation, connections] => {
                return print(&load::run(address, pid, operation, connections));
            }
            _ => {
                eprintln!("usage: polystore-benches [--only WORD] [--runs N] [--write]");
                return ExitCode::from(2);
            }
        };
    }
    let results = run(&options);
    for result in &results {
        println!("{}", result.table);
    }
    if options.write {
        for result in &results {
            if let Err(error) = result.write() {
                eprintln!("could not write {}: {error}", result.file);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn done(outcome: &std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print(answer: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string(answer) {
        Ok(line) => println!("{line}"),
        Err(_) => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

fn run(options: &Options) -> Vec<Results> {
    let folder = TempDir::new().expect("there is a temporary folder");
    let bench = Bench {
        options,
        folder: folder.path(),
        servers: Servers::start(options),
    };
    let mut results = Vec::new();
    if !options.wants_only_costs() {
        results.push(Results {
            file: "benches/README.md",
            table: format!("\n{}", bench.side_by_side()),
        });
    }
    if let Some(costs) = bench.costs() {
        results.push(Results {
            file: "docs/performance.md",
            table: costs,
        });
    }
    results
}

impl Bench<'_> {
    fn side_by_side(&self) -> String {
        let rows = self.rows();
        let mut text = format!("{}\n### Operations a second\n\n", machine());
        text += &report::operations(&rows);
        text += "\n### Requests a second, by a server\n\n";
        let requests = self.requests();
        text += &requests::table(&requests);
        text += "\n### What a request costs a server\n\n";
        text += &requests::costs(&requests);
        text += &self.sessions();
        text += &self.prefixes();
        text += &self.streams();
        text += &self.browser().unwrap_or_default();
        text += &self.http_cache().unwrap_or_default();
        text
    }
}

struct Bench<'a> {
    options: &'a Options,
    folder: &'a Path,
    servers: Servers,
}

/// What is measured over the network, as far as it is installed and asked for.
struct Servers {
    redis: Option<Redis>,
    postgres: Option<Postgres>,
    etcd: Option<Etcd>,
}

impl Servers {
    fn start(options: &Options) -> Self {
        let wants = |what: &str| {
            options.wants(what) || options.only_within(what) || options.wants_only_costs()
        };
        Self {
            redis: (wants("redis") || wants("session"))
                .then(Redis::start)
                .flatten(),
            postgres: wants("postgres").then(Postgres::start).flatten(),
            etcd: wants("etcd").then(Etcd::start).flatten(),
        }
    }
}

impl Options {
    fn wants(&self, what: &str) -> bool {
        self.only.as_ref().is_none_or(|only| what.contains(only))
    }

    /// Whether only some of `what` is wanted.
    fn only_within(&self, what: &str) -> bool {
        self.only.as_ref().is_some_and(|only| only.contains(what))
    }
}

impl Bench<'_> {
    fn child<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> Option<T> {
        let output = Command::new(std::env::current_exe().ok()?)
            .arg("child")
            .args(arguments)
            .stderr(std::process::Stdio::inherit())
            .output()
            .ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    fn prefixes(&self) -> String {
        let mut text = String::from(
            "\n### A prefix of 1,000 keys among 100,000 (ms)\n\n\
             | | its keys | all keys | its keys / all | npm: its keys | clear | npm: clear |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for Listed { what, npm, url } in self.listed("prefix") {
            let what = format!("{what} prefix");
            if !self.options.wants(&what) {
                continue;
            }
            eprintln!("{what}");
            let Some(ours) = self.child::<groups::Prefix>(&["prefix", &url]) else {
                continue;
            };
            let theirs = |workload| npm.run(workload, self.folder, 1.0).ms;
            let show = |ms: Option<f64>| ms.map_or("–".to_owned(), short);
            let ratio = ours.keys_of_prefix / ours.keys_of_all;
            let judged = if ratio < 0.1 {
                format!("{ratio:.3}")
            } else {
                format!("**{ratio:.3}** (mark: 0.1)")
            };
            let _ = writeln!(
                text,
                "| {what} | {} | {} | {judged} | {} | {} | {} |",
                short(ours.keys_of_prefix),
                short(ours.keys_of_all),
                show(theirs("keys")),
                short(ours.clear_of_prefix),
                show(theirs("clear")),
            );
        }
        text
    }

    fn streams(&self) -> String {
        let mut text = String::from(
            "\n### Streaming everything\n\n\
             | | entries | a second | memory above the store's own | last third / first | npm a second | npm memory |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for Listed { what, npm, url } in self.listed("stream") {
            let count = match what {
                "file" => 10_000,
                "folder" => 100_000,
                "etcd" => continue,
                _ => 1_000_000,
            };
            let what = format!("{what} stream");
            if !self.options.wants(&what) {
                continue;
            }
            eprintln!("{what}");
            let count = count.to_string();
            if url != "memory:" {
                self.child::<()>(&["fill", &url, &count]);
            }
            let Some(ours) = self.child::<groups::Streamed>(&["stream", &url, &count]) else {
                continue;
            };
            let theirs = npm.run("stream", self.folder, 1.0);
            let _ = writeln!(
                text,
                "| {what} | {count} | {} | {} | {:.2} | {} | {} |",
                short(ours.entries_per_sec),
                megabytes(ours.peak_bytes as f64),
                ours.growth,
                theirs.entries_per_sec.map_or("–".to_owned(), short),
                theirs.peak_bytes.map_or("–".to_owned(), megabytes),
            );
        }
        text
    }
}

/// A store that is listed and streamed.
struct Listed<'a> {
    what: &'static str,
    npm: Npm<'a>,
    url: String,
}

impl Bench<'_> {
    /// The stores of which groups are measured, each with a place of its own for `workload`.
    fn listed(&self, workload: &'static str) -> Vec<Listed<'_>> {
        let folder = self.folder.display();
        let local = |what, npm, url: String| Listed {
            what,
            npm: Npm::local(npm),
            url,
        };
        let mut listed = vec![
            local("memory", "memory", "memory:".to_owned()),
            local("sqlite", "sqlite", format!("sqlite:{folder}/{workload}.db")),
            local("level", "level", format!("level:{folder}/{workload}.level")),
        ];
        if workload == "stream" {
            // Every listing of these reads all of it.
            listed.push(local(
                "folder",
                "folder",
                format!("file:{folder}/stream/?sync=normal"),
            ));
            listed.push(local("file", "file", format!("file:{folder}/stream.json")));
        }
        let mut remote = |what, url, of_npm| {
            let npm = Npm::remote(what, of_npm);
            listed.push(Listed { what, npm, url });
        };
        if let Some(redis) = &self.servers.redis {
            let number = if workload == "stream" { 5 } else { 4 };
            remote("redis", redis.database_url(number), redis.database_url(3));
        }
        if let Some(postgres) = &self.servers.postgres {
            let url = postgres.url_with(&format!("table={workload}"));
            remote("postgres", url, postgres.url());
        }
        if let Some(etcd) = &self.servers.etcd {
            remote("etcd", etcd.url(), etcd.url());
        }
        listed
    }
}

/// What it ran on.
fn machine() -> String {
    let first_line = |command: &str, arguments: &[&str]| {
        let output = Command::new(command).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().next()?.trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|info| {
            let model = info.lines().find(|line| line.starts_with("model name"))?;
            Some(model.split(':').nth(1)?.trim().to_owned())
        });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{} ({cores} cores), {}, {}, SQLite {}, Node {}\n",
        cpu.unwrap_or_else(|| "unknown processor".to_owned()),
        first_line("uname", &["-sr"]).unwrap_or_default(),
        first_line("rustc", &["--version"]).unwrap_or_default(),
        rusqlite::version(),
        first_line("node", &["--version"]).unwrap_or_else(|| "missing".to_owned()),
    )
}

/// A table, and the file in the repository that has the last one.
struct Results {
    file: &'static str,
    table: String,
}

impl Results {
    /// Puts the table between its marks; what is measured last has nothing behind it.
    fn write(&self) -> std::io::Result<()> {
        const BEGIN: &str = "<!-- the last run -->\n";
        const END: &str = "<!-- its end -->";
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = root.join(self.file);
        let text = std::fs::read_to_string(&path)?;
        let (head, old) = text.split_once(BEGIN).unwrap_or((&text, ""));
        let rest = old.find(END).map_or("", |end| &old[end..]);
        std::fs::write(path, format!("{head}{BEGIN}{}{rest}", self.table))
    }
}
