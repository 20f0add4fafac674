//! Many tenants in one store: users, settings and a number of seats, each behind a prefix of its own.
//!
//! ```sh
//! alias tenants='cargo run -q -p multi-tenant --'
//! tenants create acme 2                       # with two seats
//! tenants acme hire ada@acme.example Ada
//! tenants acme set colour blue
//! tenants acme                                # its users and settings
//! tenants acme dismiss ada@acme.example
//! tenants list
//! tenants remove acme                         # it, and nothing of anybody else
//! ```
//!
//! They are in `tenants.db` in this folder, or in the store whose URL is in `TENANTS`: any that has
//! `insert` and `evict`. How prefixes are made that names such as `a`, `a:` and `a:b` cannot escape from is in `tenants.rs`.

mod tenants;

use std::io::{self, Write};
use std::process::ExitCode;

use self::tenants::{Hired, Plan, Tenant, Tenants};

type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "usage: multi-tenant list | create TENANT SEATS | remove TENANT | \
                     TENANT [hire EMAIL NAME | dismiss EMAIL | set SETTING VALUE]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("multi-tenant: {error}");
            if let Some(cause) = error.source() {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Whether whoever reads what is printed has had enough, such as `head`.
fn is_closed_pipe(error: &Failure) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

async fn run() -> Result<(), Failure> {
    let url = std::env::var("TENANTS").unwrap_or_else(|_| "sqlite:tenants.db".to_owned());
    let tenants = Tenants::new(url)?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            for name in tenants.names().await? {
                writeln!(io::stdout(), "{name}")?;
            }
        }
        ["create", name, seats] => {
            check(name)?;
            let seats = seats
                .parse()
                .map_err(|_| format!("SEATS is a number, not {seats:?}"))?;
            if !tenants.create(name, Plan { seats }).await? {
                return Err(format!("there is a tenant {name:?} already").into());
            }
        }
        ["remove", name] => tenants.remove(name).await?,
        [name, ref order @ ..] => {
            let tenant = tenants.get(name).await?;
            let tenant = tenant.ok_or_else(|| format!("there is no tenant {name:?}\n{USAGE}"))?;
            serve(&tenant, order).await?;
        }
        [] => return Err(USAGE.into()),
    }
    tenants.close().await?;
    Ok(())
}

/// What is none would be a blank line in the list, and what is an order here could not be shown.
fn check(name: &str) -> Result<(), String> {
    match name {
        "list" | "create" | "remove" => Err(format!("no tenant can have the name {name}")),
        _ if name.trim().is_empty() => Err("a tenant needs a name".to_owned()),
        _ => Ok(()),
    }
}

async fn serve(tenant: &Tenant, order: &[&str]) -> Result<(), Failure> {
    let mut out = io::stdout();
    match *order {
        [] => {
            for (email, user) in tenant.users().await? {
                writeln!(out, "seat {}: {} <{email}>", user.seat, user.name)?;
            }
            for (setting, value) in tenant.settings().entries().await? {
                writeln!(out, "{setting} = {value}")?;
            }
        }
        ["hire", email, name] => match tenant.hire(email, name).await? {
            Hired::Seat(seat) => writeln!(out, "{name} has seat {seat}")?,
            Hired::IsThere => return Err(format!("{email} has a seat").into()),
            Hired::AllSeatsTaken => return Err("all seats are taken".into()),
        },
        ["dismiss", email] if tenant.dismiss(email).await? => {}
        ["dismiss", email] => return Err(format!("{email} has no seat").into()),
        ["set", setting, value] => tenant.settings().set(setting, &value.to_owned()).await?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
