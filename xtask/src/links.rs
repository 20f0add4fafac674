//! Links in Markdown: what they lead to is there, and the guides' are known to rustdoc.

use std::collections::BTreeSet;
use std::path::Path;

/// Where the pages are that are documentation of a crate too, and `links.md`, which says where their links lead there.
pub(crate) const GUIDES: [&str; 4] = [
    "crates/polystore/src/guides",
    "crates/polystore-actix-session/src/guides",
    "crates/polystore-http-cache/src/guides",
    "crates/polystore-tower-sessions/src/guides",
];

/// What leads to no file, seen from the page `name` in the folder `root`.
pub(crate) fn dead(root: &Path, name: &str, text: &str) -> Vec<String> {
    let page = root.join(name);
    let folder = page.parent().unwrap_or(root);
    let (inline, defined) = links(text);
    let targets = inline
        .into_iter()
        .chain(defined.into_iter().map(|(_, to)| to));
    let dead = targets.filter(|target| {
        let file = target.split('#').next().unwrap_or_default();
        is_file(target) && !folder.join(file).exists()
    });
    dead.map(|target| format!("{name} links to {target}, which is not there"))
        .collect()
}

/// What rustdoc would not find of the page `name`, whose links' places are in `known`.
pub(crate) fn unknown_to_rustdoc(name: &str, text: &str, known: &str) -> Vec<String> {
    let known: BTreeSet<_> = links(known).1.into_iter().map(|(label, _)| label).collect();
    let (inline, defined) = links(text);
    let inline = inline.into_iter().filter(|target| is_file(target)).map(|target| {
        format!("{name} links to ({target}): a guide writes [{target}], and says where that is at its end")
    });
    let unknown = defined
        .iter()
        .filter(|(label, target)| is_file(target) && !known.contains(label))
        .map(|(label, _)| format!("links.md has no [{label}], which {name} has"));
    inline.chain(unknown).collect()
}

/// Whether it leads to a file of the repository: neither to another host nor within the page.
fn is_file(target: &str) -> bool {
    !target.starts_with('#') && !target.contains("://") && !target.starts_with("mailto:")
}

/// The targets of `[text](target)`, and the labels and targets of `[label]: target`, outside of code.
fn links(text: &str) -> (Vec<&str>, Vec<(&str, &str)>) {
    let (mut inline, mut defined) = (Vec::new(), Vec::new());
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let definition = line.strip_prefix('[').and_then(|it| it.split_once(']'));
        if let Some((label, rest)) = definition
            && let Some(target) = rest.strip_prefix(": ")
        {
            defined.push((label, target.trim()));
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let (target, after) = after.split_once(')').unwrap_or((after, ""));
            inline.push(target);
            rest = after;
        }
    }
    (inline, defined)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
see [a](a.md), [b](https://b.example) and
[`c`][c.md#d]: it ends there
```rust
let it = f[0](code.md);
```
[c.md#d]: c.md#d
[e]: https://e.example
";

    #[test]
    fn links_are_found_but_not_in_code() {
        let (inline, defined) = links(PAGE);
        assert_eq!(inline, ["a.md", "https://b.example"]);
        assert_eq!(defined, [("c.md#d", "c.md#d"), ("e", "https://e.example")]);
    }

    #[test]
    fn a_link_to_what_is_not_there_is_dead() {
        let text =
            "[here](../src/links.rs#L1), [there](gone.rs), [x](https://x.example)\n[z]: z/\n";
        let problems = dead(Path::new(env!("CARGO_MANIFEST_DIR")), "src/page.md", text);
        let expected =
            ["gone.rs", "z/"].map(|it| format!("src/page.md links to {it}, which is not there"));
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_guide_has_its_links_where_rustdoc_knows_them() {
        let problems = unknown_to_rustdoc("page.md", PAGE, "[c.md]: crate");
        assert_eq!(problems.len(), 2, "{problems:?}");
        let known = "[c.md#d]: crate::c#d\n";
        let page = PAGE.replace("[a](a.md)", "a");
        assert_eq!(unknown_to_rustdoc("page.md", &page, known), [""; 0]);
    }
}
