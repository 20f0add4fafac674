//! Running all of them, as `cargo test` runs tests.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion};

use super::{Candidate, Outcome, Place, Suite, Trial};
use crate::counts::{self, Counts};
use crate::properties;
use crate::property::Property;
use crate::runtime;

impl Suite {
    /// Tries everything, reports as `cargo test` does, and takes its arguments from the
    /// command line. What it gives is for `main` to return.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let complete = arguments.filter.is_none()
            && arguments.skip.is_empty()
            && !arguments.list
            && !arguments.ignored
            && !arguments.bench;
        let tally = Arc::new(Mutex::new(Counts::new()));
        let mut tests = Vec::new();
        for store in &self.stores {
            for property in properties::all() {
                let (store, tally, limit) = (Arc::clone(store), Arc::clone(&tally), self.limit);
                let name = format!("{}::{}", store.name, property.name);
                tests.push(libtest_mimic::Trial::ignorable_test(name, move || {
                    let outcome = store.examine_now(&property, limit);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    let count = tally.entry(store.name.clone()).or_default();
                    match outcome {
                        Outcome::Passed => {
                            count.passed += 1;
                            Ok(Completion::Completed)
                        }
                        Outcome::Skipped(why) => {
                            count.skipped += 1;
                            Ok(Completion::ignored_with(why))
                        }
                        Outcome::Failed(why) => Err(why.into()),
                    }
                }));
            }
        }
        let conclusion = libtest_mimic::run(&arguments, tests);
        if conclusion.has_failed() || !complete {
            return conclusion.exit_code();
        }
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = self
            .counts
            .map_or(Ok(()), |path| counts::settle(&path, &tally));
        if let Err(problem) = settled {
            tell(&problem);
            return ExitCode::FAILURE;
        }
        conclusion.exit_code()
    }

    /// Tries, one after another, the properties that `wanted` picks by name, and gives what
    /// came of each: for tests of a suite's own making.
    #[must_use]
    pub fn outcomes(&self, wanted: impl Fn(&str) -> bool) -> Vec<Trial> {
        let mut trials = Vec::new();
        for store in &self.stores {
            let properties = properties::all().into_iter();
            for property in properties.filter(|property| wanted(&property.name)) {
                trials.push(Trial {
                    store: store.name.clone(),
                    outcome: store.examine_now(&property, self.limit),
                    property: property.name,
                });
            }
        }
        trials
    }
}

/// As tests that failed are told: whoever reads only which tests failed and how many has to see these too.
fn tell(problem: &counts::Problem) {
    let names = match &problem.stores[..] {
        [] => vec!["counts on record".to_owned()],
        stores => stores
            .iter()
            .map(|store| format!("{store}::count on record"))
            .collect(),
    };
    for name in &names {
        println!("test {name} ... FAILED");
    }
    let failed = names.len();
    println!("\n{}\n", problem.message);
    println!(
        "test result: FAILED. 0 passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n"
    );
}

impl Candidate {
    fn examine_now(&self, property: &Property, limit: Duration) -> Outcome {
        match &self.place {
            Place::Here(_) => runtime::block_on(self.examine(property, limit)),
            // It may have a runtime of its own, which none may run inside.
            Place::Elsewhere(examine) => examine(&property.name),
        }
    }
}
