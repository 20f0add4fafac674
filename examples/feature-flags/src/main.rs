//! Feature flags in a JSON file that people may edit too, while the program runs.
//!
//! ```sh
//! alias flags='cargo run -q -p feature-flags --'
//! flags set new-checkout 20%          # for a fifth of the users, always the same
//! flags set banner on "2 weeks"       # and then off by itself
//! flags list
//! flags check ada                     # which of them the user ada has
//! flags is-on banner ada              # for scripts: exits with 0 or 3
//! flags watch ada                     # says what changes for ada, or is wrong, until you end it: edit flags.json
//! flags rm banner
//! ```
//!
//! They are in `flags.json` in this folder, or in the store whose URL is in `FLAGS`: the same program
//! works with `sqlite:flags.db` or `redis://host`, with that feature of the crate. The file is
//!
//! ```json
//! {
//!   "new-checkout": {"expires": null, "value": {"percent": 20}},
//!   "banner": {"expires": 1790000000000, "value": "on"}
//! }
//! ```
//!
//! with both fields in each of them, and milliseconds since 1970 where it ends. What has other fields is no entry
//! of the store: `list` leaves it out, and `is-on` says that it is wrong.

mod flags;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use polystore_kv::{Expires, Expiry};

use self::flags::{Flag, Flags};

type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "usage: feature-flags list | set FLAG on|off|N% [TIME] | rm FLAG | \
                     check USER | is-on FLAG USER | watch USER";

/// What `is-on` exits with if it is not.
const IS_OFF: u8 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run().await.unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("feature-flags: {error}");
        if let Some(cause) = error.source() {
            eprintln!("  because: {cause}");
        }
        ExitCode::FAILURE
    })
}

/// Whether whoever reads what is printed has had enough, such as `head`.
fn is_closed_pipe(error: &Failure) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn run() -> Result<ExitCode, Failure> {
    let url = std::env::var("FLAGS").unwrap_or_else(|_| "file:flags.json".to_owned());
    let flags = Flags::new(url)?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => return list(&flags).await,
        ["set", name, flag] => flags.set(name, flag.parse()?, Expires::NEVER).await?,
        ["set", name, flag, time] => flags.set(name, flag.parse()?, time.parse()?).await?,
        ["rm", name] => flags.remove(name).await?,
        ["is-on", name, user] if flags.is_on(name, user).await? => writeln!(io::stdout(), "on")?,
        ["is-on", _, _] => return Ok(ExitCode::from(IS_OFF)),
        ["check", user] => {
            let (features, wrong) = features(&flags, user).await?;
            for line in wrong {
                eprintln!("{line}");
            }
            for (name, is_on) in features {
                writeln!(io::stdout(), "{} {name}", if is_on { "on " } else { "off" })?;
            }
        }
        ["watch", user] => watch(&flags, user).await?,
        _ => return Err(USAGE.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails at the end if some of the flags are none.
async fn list(flags: &Flags) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    let mut out = io::stdout();
    for listed in flags.list().await? {
        match listed.flag {
            Ok(flag) => writeln!(out, "{flag:8} {}{}", listed.name, left(listed.expiry))?,
            Err(error) => {
                writeln!(out, "{:8} {}: {error}", "WRONG", listed.name)?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn left(expiry: Expiry) -> String {
    let Expiry::At(at) = expiry else {
        return String::new();
    };
    let hours = at.duration_from_now().as_secs_f64() / 3600.0;
    match hours {
        48.0.. => format!(" (for {:.0} days)", hours / 24.0),
        2.0.. => format!(" (for {hours:.0} hours)"),
        _ => format!(" (for {:.0} minutes)", (hours * 60.0).ceil()),
    }
}

/// What `user` has of all flags, and a line for each that somebody wrote and that is none: that is off.
async fn features(
    flags: &Flags,
    user: &str,
) -> Result<(BTreeMap<String, bool>, Vec<String>), Failure> {
    let (mut features, mut wrong) = (BTreeMap::new(), Vec::new());
    for listed in flags.list().await? {
        let flag = listed.flag.unwrap_or_else(|error| {
            wrong.push(format!("{} counts as off: {error}", listed.name));
            Flag::Off
        });
        let is_on = flag.is_on(&listed.name, user);
        features.insert(listed.name, is_on);
    }
    Ok((features, wrong))
}

/// A program that runs looks again and again. What it knew stays good while the file is half saved, or broken.
async fn watch(flags: &Flags, user: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    let (mut known, mut wrong) = features(flags, user).await?;
    for line in &wrong {
        eprintln!("{line}");
    }
    writeln!(out, "watching {} flags", known.len())?;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (now, wrong_now) = match features(flags, user).await {
            Ok(looked) => looked,
            Err(error) => (
                known.clone(),
                vec![format!("all flags stay as they were: {error}")],
            ),
        };
        // Once, and not five times a second.
        for line in wrong_now.iter().filter(|line| !wrong.contains(line)) {
            eprintln!("{line}");
        }
        if wrong_now.is_empty() && !wrong.is_empty() {
            eprintln!("nothing is wrong any more");
        }
        for name in known
            .keys()
            .chain(now.keys().filter(|name| !known.contains_key(*name)))
        {
            let (was, is) = (known.get(name) == Some(&true), now.get(name) == Some(&true));
            if was != is {
                let is = if is { "on" } else { "off" };
                writeln!(out, "{name} is {is} for {user}")?;
            }
        }
        (known, wrong) = (now, wrong_now);
    }
}
