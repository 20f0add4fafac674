//! The code in the pages of `docs/`, which the tests run as it stands there.

use std::fs;
use std::path::Path;

/// A block of code in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands after the three backticks.
    pub language: String,
    /// What it says.
    pub text: String,
}

/// The blocks of `docs/PAGE`, in their order.
///
/// # Panics
/// If there is no such page, or a block does not end.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let text = fs::read_to_string(docs.join(page)).expect("the page is there");
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let mut text = String::new();
        loop {
            match lines.next().expect("the block ends") {
                "```" => break,
                line => {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        blocks.push(Block {
            language: language.to_owned(),
            text,
        });
    }
    blocks
}
