//! How far a copy is: for people while it runs, for the report when it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts what was done, and shows it if standard error is a terminal. Clones are the
/// same.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    verb: &'static str,
    bar: ProgressBar,
    /// What was left out, if it goes into a store.
    expired: Option<Arc<AtomicU64>>,
}

impl Progress {
    /// Of a command that has none.
    pub(crate) fn hidden() -> Self {
        Self {
            verb: "",
            bar: ProgressBar::hidden(),
            expired: None,
        }
    }

    /// `verb` as in "imported".
    pub(crate) fn new(verb: &'static str) -> Self {
        // Hidden unless standard error is a terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = "{spinner} {msg} {human_pos} entries in {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(verb);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self {
            verb,
            bar,
            expired: None,
        }
    }

    /// The same into a store, where what has expired is left out.
    pub(crate) fn into_store(self) -> Self {
        Self {
            expired: Some(Arc::default()),
            ..self
        }
    }

    pub(crate) fn one(&self) {
        self.bar.inc(1);
    }

    /// One had expired and was left out.
    pub(crate) fn one_expired(&self) {
        if let Some(expired) = &self.expired {
            expired.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn done(&self) -> u64 {
        self.bar.position()
    }

    fn expired(&self) -> Option<u64> {
        Some(self.expired.as_ref()?.load(Ordering::Relaxed))
    }

    /// Takes the bar off the terminal.
    pub(crate) fn hide(&self) {
        self.bar.finish_and_clear();
    }

    pub(crate) fn in_words(&self) -> String {
        let (verb, done) = (self.verb, self.done());
        let entries = if done == 1 { "entry" } else { "entries" };
        match self.expired() {
            Some(expired) => format!("{verb} {done} {entries}, left out {expired} expired"),
            None => format!("{verb} {done} {entries}"),
        }
    }

    pub(crate) fn in_json(&self) -> String {
        let (verb, done) = (self.verb, self.done());
        match self.expired() {
            Some(expired) => format!("{{\"{verb}\":{done},\"expired\":{expired}}}"),
            None => format!("{{\"{verb}\":{done}}}"),
        }
    }

    /// For one that ended early, once anything was put into a store.
    pub(crate) fn what_stays(&self) -> Option<String> {
        self.expired()?;
        let verb = self.verb;
        match self.done() {
            0 => None,
            1 => Some(format!("1 entry was {verb} and stays; it can be run again")),
            done => Some(format!(
                "{done} entries were {verb} and stay; it can be run again"
            )),
        }
    }
}
