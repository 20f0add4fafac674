//! `cargo xtask bench`: each store against the bare part under it and against the npm
//! package, in one run, turn by turn. Ratios count, not numbers.
//!
//! `--only WORD` measures only rows that have it, `--runs N` as often as that, `--write` puts
//! the table into README.md.

mod groups;
mod measure;
mod npm;
mod report;
mod subject;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use measure::{Operation, SPAN, TASKS};
use report::{Row, Runs, megabytes, short};
use subject::{BareFile, BareFolder, BareMap, BareSqlite, Subject, ours};
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
            ["child", "stream", url, count] => {
                return print(&groups::stream(url, count.parse().unwrap_or_default()));
            }
            ["child", "fill", url, count] => {
                groups::fill_for_stream(url, count.parse().unwrap_or_default());
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("usage: polystore-benches [--only WORD] [--runs N] [--write]");
                return ExitCode::from(2);
            }
        };
    }
    let table = run(&options);
    println!("{table}");
    if options.write
        && let Err(error) = write_readme(&table)
    {
        eprintln!("could not write README.md: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn print(answer: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string(answer) {
        Ok(line) => println!("{line}"),
        Err(_) => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

fn run(options: &Options) -> String {
    let folder = TempDir::new().expect("there is a temporary folder");
    let bench = Bench {
        options,
        folder: folder.path(),
    };
    let mut rows = Vec::new();
    bench.memory(&mut rows);
    bench.sqlite(&mut rows, "full", "FULL", "sqlite");
    bench.sqlite(&mut rows, "normal", "NORMAL", "sqlite-wal");
    bench.file(&mut rows);
    bench.folder(&mut rows, true);
    bench.folder(&mut rows, false);
    let mut text = format!("{}\n### Operations a second\n\n", machine());
    text += &report::operations(&rows);
    text += &bench.prefixes();
    text += &bench.streams();
    text
}

struct Bench<'a> {
    options: &'a Options,
    folder: &'a Path,
}

/// What a ratio is to reach: of the bare part and of npm.
#[derive(Clone, Copy)]
struct Marks(Option<f64>, Option<f64>);

impl Bench<'_> {
    fn wants(&self, what: &str) -> bool {
        self.options
            .only
            .as_ref()
            .is_none_or(|only| what.contains(only))
    }

    /// Gets and sets, at one task and at many, turn by turn.
    fn row(
        &self,
        rows: &mut Vec<Row>,
        what: &str,
        (ours, bare, npm): (&impl Subject, &impl Subject, &str),
        (operation, tasks): (Operation, u32),
        Marks(mark_of_bare, mark_of_npm): Marks,
    ) {
        let verb = if operation == Operation::Get {
            "get"
        } else {
            "set"
        };
        let what = format!("{what} {verb} ×{tasks}");
        if !self.wants(&what) {
            return;
        }
        eprintln!("{what}");
        let (mut of_ours, mut of_bare, mut of_npm) = (vec![], vec![], vec![]);
        for _ in 0..self.options.runs {
            of_ours.push(measure::operations(ours, operation, tasks));
            of_bare.push(measure::operations(bare, operation, tasks));
            let workload = format!("{verb}{tasks}");
            let answer = npm::run(npm, &workload, self.folder, SPAN.as_secs_f64());
            of_npm.extend(answer.ops_per_sec);
        }
        rows.push(Row {
            what,
            ours: Runs(of_ours),
            bare: Runs(of_bare),
            npm: Runs(of_npm),
            mark_of_bare,
            mark_of_npm,
        });
    }

    fn four_rows(
        &self,
        rows: &mut Vec<Row>,
        what: &str,
        subjects: (&impl Subject, &impl Subject, &str),
        marks: [Marks; 4],
    ) {
        if !self.wants(what)
            && !self
                .options
                .only
                .as_ref()
                .is_some_and(|only| only.contains(what))
        {
            return;
        }
        measure::fill(subjects.0);
        measure::fill(subjects.1);
        let workloads = [
            (Operation::Get, 1),
            (Operation::Get, TASKS),
            (Operation::Set, 1),
            (Operation::Set, TASKS),
        ];
        for (workload, marks) in workloads.into_iter().zip(marks) {
            self.row(rows, what, subjects, workload, marks);
        }
    }

    fn memory(&self, rows: &mut Vec<Row>) {
        let one = Marks(Some(0.8), Some(1.0));
        let many = Marks(None, Some(1.0));
        let subjects = (&ours("memory:"), &BareMap::default(), "memory");
        self.four_rows(rows, "memory", subjects, [one, many, one, many]);
    }

    fn sqlite(&self, rows: &mut Vec<Row>, sync: &str, pragma: &str, npm: &str) {
        let folder = self.folder.display();
        let store = ours(&format!("sqlite:{folder}/{sync}.db?sync={sync}"));
        let bare = BareSqlite::open(self.folder.join(format!("bare-{sync}.db")), pragma);
        let one = Marks(Some(0.8), Some(1.0));
        let many = Marks(None, Some(1.0));
        let many_sets = Marks(Some(2.0), Some(1.0));
        let what = format!("sqlite {sync}");
        self.four_rows(
            rows,
            &what,
            (&store, &bare, npm),
            [one, many, one, many_sets],
        );
    }

    fn file(&self, rows: &mut Vec<Row>) {
        let store = ours(&format!("file:{}/ours.json", self.folder.display()));
        let bare = BareFile {
            path: self.folder.join("bare.json"),
            full: true,
            writing: Arc::default(),
        };
        let one = Marks(None, Some(1.0));
        let many = Marks(None, Some(10.0));
        self.four_rows(
            rows,
            "file full",
            (&store, &bare, "file"),
            [one, many, one, many],
        );
    }

    fn folder(&self, rows: &mut Vec<Row>, full: bool) {
        let sync = if full { "full" } else { "normal" };
        let store = ours(&format!(
            "file:{}/ours-{sync}/?sync={sync}",
            self.folder.display()
        ));
        let bare = BareFolder {
            folder: self.folder.join(format!("bare-{sync}")),
            full,
        };
        std::fs::create_dir_all(&bare.folder).expect("it makes a folder");
        // The npm package does not sync.
        let marks = Marks(None, (!full).then_some(1.0));
        let what = format!("folder {sync}");
        self.four_rows(rows, &what, (&store, &bare, "folder"), [marks; 4]);
    }

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
        let folder = self.folder.display();
        for (what, npm, url) in [
            ("memory", "memory", "memory:".to_owned()),
            (
                "sqlite full",
                "sqlite",
                format!("sqlite:{folder}/prefix.db"),
            ),
        ] {
            let what = format!("{what} prefix");
            if !self.wants(&what) {
                continue;
            }
            eprintln!("{what}");
            let Some(ours) = self.child::<groups::Prefix>(&["prefix", &url]) else {
                continue;
            };
            let theirs = |workload| npm::run(npm, workload, self.folder, 1.0).ms;
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
        let folder = self.folder.display();
        for (what, npm, url, count) in [
            ("memory", "memory", "memory:".to_owned(), 1_000_000),
            (
                "sqlite",
                "sqlite",
                format!("sqlite:{folder}/stream.db?sync=normal"),
                1_000_000,
            ),
            (
                "folder",
                "folder",
                format!("file:{folder}/stream/?sync=normal"),
                100_000,
            ),
            ("file", "file", format!("file:{folder}/stream.json"), 10_000),
        ] {
            let what = format!("{what} stream");
            if !self.wants(&what) {
                continue;
            }
            eprintln!("{what}");
            let count = count.to_string();
            if npm != "memory" {
                self.child::<()>(&["fill", &url, &count]);
            }
            let Some(ours) = self.child::<groups::Streamed>(&["stream", &url, &count]) else {
                continue;
            };
            let theirs = npm::run(npm, "stream", self.folder, 1.0);
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

fn write_readme(table: &str) -> std::io::Result<()> {
    const MARK: &str = "<!-- the last run -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path)?;
    let head = text.split(MARK).next().unwrap_or_default();
    std::fs::write(path, format!("{head}{MARK}\n{table}"))
}
