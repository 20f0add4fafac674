//! What cargo knows of the workspace.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::run::{self, Outcome};

pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
    pub(crate) manifest: PathBuf,
    pub(crate) features: Vec<String>,
    /// From a registry or a repository, not from this workspace.
    pub(crate) third_party: bool,
}

/// The workspace's own packages.
pub(crate) fn members() -> Outcome<Vec<Package>> {
    packages(&["--no-deps"])
}

/// The workspace's packages and all that they can pull in, on any platform.
pub(crate) fn everything() -> Outcome<Vec<Package>> {
    packages(&["--all-features", "--locked"])
}

/// Name and version of each crate that a user of the default features compiles here.
pub(crate) fn default_dependencies() -> Outcome<BTreeSet<(String, String)>> {
    let tree = [
        "tree",
        "--locked",
        "--package",
        CORE,
        "--edges",
        "normal",
        "--prefix",
        "none",
    ];
    let listed = run::output(&mut run::cargo(tree))?;
    Ok(parse_tree(&listed))
}

/// Programs with a workspace of their own (`exclude` in Cargo.toml): nothing else builds what they bring.
const APART: [&str; 3] = ["benches/http-cache", "benches/opendal", "benches/sessions"];

/// Whether their lock files still fit what they take from here.
pub(crate) fn check_locks_apart() -> Outcome {
    for folder in APART {
        let manifest = run::root().join(folder).join("Cargo.toml");
        let mut update = run::cargo([
            "update",
            "--quiet",
            "--workspace",
            "--locked",
            "--manifest-path",
        ]);
        run::run(update.arg(manifest))
            .map_err(|problem| format!("{problem}: run `cargo update --workspace` in {folder}"))?;
    }
    Ok(())
}

/// The package whose features and dependencies matter to users.
pub(crate) const CORE: &str = "polystore-kv";

/// Which version of a package `Cargo.lock` has.
pub(crate) fn locked_version(name: &str) -> Outcome<String> {
    let packages = everything()?;
    let mut found = packages.into_iter().filter(|package| package.name == name);
    match (found.next(), found.next()) {
        (Some(package), None) => Ok(package.version),
        _ => Err(format!("Cargo.lock has not one version of {name}")),
    }
}

fn parse_tree(listed: &str) -> BTreeSet<(String, String)> {
    listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((
                words.next()?.to_owned(),
                words.next()?.trim_start_matches('v').to_owned(),
            ))
        })
        .filter(|(name, _)| name != CORE)
        .collect()
}

fn packages(options: &[&str]) -> Outcome<Vec<Package>> {
    let mut command = run::cargo(["metadata", "--format-version", "1"]);
    let json = run::output(command.args(options))?;
    parse_packages(&json)
        .ok_or_else(|| format!("`{}` has changed its layout", run::shown(&command)))
}

fn parse_packages(json: &str) -> Option<Vec<Package>> {
    let parsed: Value = serde_json::from_str(json).ok()?;
    parsed
        .get("packages")?
        .as_array()?
        .iter()
        .map(parse_package)
        .collect()
}

fn parse_package(package: &Value) -> Option<Package> {
    let text = |field: &str| package.get(field)?.as_str().map(str::to_owned);
    Some(Package {
        name: text("name")?,
        version: text("version")?,
        licence: text("license"),
        manifest: text("manifest_path")?.into(),
        features: package
            .get("features")?
            .as_object()?
            .keys()
            .cloned()
            .collect(),
        third_party: text("source").is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_lists_each_dependency_once_and_not_the_crate_itself() {
        let listed = "polystore-kv v0.1.0 (/home/ada/crates/polystore)\n\
                      async-trait v0.1.90 (proc-macro)\n\
                      bytes v1.11.0\n\
                      bytes v1.11.0 (*)\n";
        let expected = [("async-trait", "0.1.90"), ("bytes", "1.11.0")];
        let expected = expected.map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(parse_tree(listed), BTreeSet::from(expected));
    }

    #[test]
    fn packages_are_read_with_and_without_a_licence() {
        let json = r#"{"packages":[
            {"name":"a","version":"1.0.0","license":"MIT","manifest_path":"/a/Cargo.toml",
             "features":{"default":["x"],"x":[]},"source":"registry+index"},
            {"name":"b","version":"2.0.0","license":null,"manifest_path":"/b/Cargo.toml",
             "features":{},"source":null}]}"#;
        let read = parse_packages(json).unwrap();
        assert_eq!(read[0].features, ["default", "x"]);
        assert_eq!(read[0].licence.as_deref(), Some("MIT"));
        assert!(read[0].third_party);
        assert_eq!(read[1].licence, None);
        assert!(!read[1].third_party);
        assert!(parse_packages("{}").is_none());
        assert!(parse_packages("nonsense").is_none());
    }
}
