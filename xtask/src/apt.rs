//! Installing Debian's packages.

use crate::run::{self, Outcome, answer, command};

/// Installs `packages`.
pub(crate) fn install(packages: &[&str]) -> Outcome {
    run_as_root(packages, INSTALL)
}

/// Installs `packages`, which bring the system's services `units`, without having these run: not now,
/// where they would take the servers' usual ports, and not after the next start of the machine.
pub(crate) fn install_without_starting(packages: &[&str], units: &[&str]) -> Outcome {
    let disable = units.iter().map(|unit| {
        format!("if command -v systemctl >/dev/null; then systemctl disable {unit} || true; fi\n")
    });
    let script = format!("{HOLD_SERVICES}{INSTALL}{}", disable.collect::<String>());
    run_as_root(packages, &script)
}

const INSTALL: &str = "\
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends \"$@\"
";

/// Debian starts what it installs, unless this file (of Debian's own devising) says no. One that is there is kept:
/// it is an administrator's, or a container image's, which says no already.
const HOLD_SERVICES: &str = "\
policy=/usr/sbin/policy-rc.d
if [ ! -e \"$policy\" ]; then
  trap 'rm -f \"$policy\"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' >\"$policy\"
  chmod 755 \"$policy\"
fi
";

fn run_as_root(packages: &[&str], script: &str) -> Outcome {
    let wanted = packages.join(" and ");
    if answer(command("apt-get").arg("--version")).is_none() {
        return Err(format!(
            "{wanted} missing, and can be installed for you on Debian and Ubuntu only"
        ));
    }
    let is_root = answer(command("id").arg("-u")).as_deref() == Some("0");
    let has_sudo = || answer(command("sudo").args(["-n", "true"])).is_some();
    if !is_root && !has_sudo() {
        return Err(format!(
            "{wanted} missing: `apt-get install {}`",
            packages.join(" ")
        ));
    }
    let mut shell = command(if is_root { "sh" } else { "sudo" });
    if !is_root {
        shell.args(["-n", "sh"]);
    }
    run::run(shell.args(["-c", script, "sh"]).args(packages))
}
