//! Gets and sets in a page of Chromium, by the crate and by the npm package.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use polystore_servers::browser::Browser;
use polystore_servers::{Pages, modules};
use serde_json::json;

use crate::Bench;
use crate::measure::{SPAN, TASKS};
use crate::report::{Runs, judged, ratio};

/// Name, and what the ratios to npm are to reach with one task and with many.
const STORES: [(&str, Option<f64>, Option<f64>); 4] = [
    ("localStorage", Some(0.8), Some(2.0)),
    ("sessionStorage", None, None),
    ("cookie", Some(0.8), Some(2.0)),
    ("IndexedDB", Some(1.0), Some(2.0)),
];

/// Far longer than a measurement.
const PATIENCE: Duration = Duration::from_secs(120);

struct Row {
    what: String,
    store: &'static str,
    operation: &'static str,
    tasks: u32,
    mark: Option<f64>,
    ours: Runs,
    npm: Runs,
}

impl Bench<'_> {
    /// The table, or nothing where none of it is asked for or there is no browser.
    pub(crate) fn browser(&self) -> Option<String> {
        let mut rows = self.browser_rows();
        if rows.is_empty() {
            return None;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let runs = self.options.runs;
        let version = runtime.block_on(measure(&mut rows, runs))?;
        let mut table = format!(
            "\n### Operations a second, in a page of {version}\n\n\
             | | polystore-kv | npm | of npm |\n|---|---|---|---|\n"
        );
        for row in &rows {
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} |",
                row.what,
                row.ours.show(),
                row.npm.show(),
                judged(ratio(&row.ours, &row.npm), row.mark),
            );
        }
        Some(table)
    }

    fn browser_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (store, of_one, of_many) in STORES {
            for operation in ["get", "set"] {
                for (tasks, mark) in [(1, of_one), (TASKS, of_many)] {
                    rows.push(Row {
                        what: format!("browser {store} {operation} ×{tasks}"),
                        store,
                        operation,
                        tasks,
                        mark,
                        ours: Runs::default(),
                        npm: Runs::default(),
                    });
                }
            }
        }
        rows.retain(|row| self.options.wants(&row.what));
        rows
    }
}

/// Adds runs to the rows, the sides turn by turn. Gives the browser's name and version.
async fn measure(rows: &mut [Row], runs: usize) -> Option<String> {
    let modules = modules("bench")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(folder.join("npm/browser.html")).ok()?;
    let pages = Pages::new()
        .folder("/modules", modules)
        .folder("/npm", folder.join("../interop/npm/node_modules"))
        .page("/", &page);
    let origin = pages.serve();
    let browser = Browser::open().await?;
    for row in rows {
        eprintln!("{}", row.what);
        // Each in a page without the garbage of the last.
        browser.go(&format!("{origin}/")).await;
        browser.until("window.measure").await;
        let script = "await prepare(arguments[0])";
        let prepared = browser.call(script, &[json!(row.store)], PATIENCE).await;
        prepared.expect("the page has the store");
        for _ in 0..runs {
            for side in ["ours", "npm"] {
                let ms = SPAN.as_secs_f64() * 1000.0;
                let arguments = [
                    json!(side),
                    json!(row.operation),
                    json!(row.tasks),
                    json!(ms),
                ];
                let script = "return await measure(...arguments)";
                let ops = browser.call(script, &arguments, PATIENCE).await;
                let ops = ops.expect("the page can do it").as_f64();
                match side {
                    "ours" => row.ours.0.extend(ops),
                    _ => row.npm.0.extend(ops),
                }
            }
        }
    }
    let version = browser.js("return navigator.userAgentData.brands.map(it => `${it.brand} ${it.version}`).find(it => it.startsWith('Chromium')) ?? 'a browser'").await;
    browser.end().await;
    version.as_str().map(ToOwned::to_owned)
}
