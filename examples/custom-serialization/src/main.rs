//! Values that are not JSON by nature: bytes, compressed text, and a type that reads what older releases wrote.
//!
//! ```sh
//! alias notes='cargo run -q -p custom-serialization --'
//! notes put trip trip.txt map.png holiday spain    # a text, a picture (or -), tags
//! notes get trip                                   # the text
//! notes picture trip > map.png
//! notes list
//! ```
//!
//! They are in `notes.json` in this folder, or in the store whose URL is in `NOTES`. How they are written is in
//! `note.rs`; the store knows nothing of it.

mod note;

use std::io::{self, Write};
use std::process::ExitCode;

use polystore_kv::kv;

use self::note::Note;

type Failure = Box<dyn std::error::Error>;

const USAGE: &str =
    "usage: custom-serialization put NAME TEXT PICTURE|- [TAG…] | get NAME | picture NAME | list";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("custom-serialization: {error}");
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
    let url = std::env::var("NOTES").unwrap_or_else(|_| "file:notes.json".to_owned());
    let notes = kv(url)?.typed::<Note>();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["put", name, text, picture, ref tags @ ..] => {
            let picture = (picture != "-").then_some(picture);
            let note = Note {
                text: String::from_utf8(read(text)?).map_err(|_| format!("{text} is no text"))?,
                picture: picture.map(read).transpose()?,
                tags: tags.iter().map(ToString::to_string).collect(),
            };
            notes.set(name, &note).await?;
        }
        ["get", name] => {
            let note = notes.get(name).await?.ok_or("there is no such note")?;
            write!(io::stdout(), "{}", note.text)?;
        }
        ["picture", name] => {
            let note = notes.get(name).await?.ok_or("there is no such note")?;
            let picture = note.picture.ok_or("the note has no picture")?;
            io::stdout().write_all(&picture)?;
        }
        ["list"] => list(&notes).await?,
        _ => return Err(USAGE.into()),
    }
    notes.close().await?;
    Ok(())
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{file}: {error}"))
}

/// One that cannot be read is said, and the others are listed all the same.
async fn list(notes: &polystore_kv::TypedStore<Note>) -> Result<(), Failure> {
    let mut stream = notes.stream();
    loop {
        match stream.try_next().await {
            Ok(Some((name, note))) => {
                let picture = note.picture.map_or(0, |picture| picture.len());
                let characters = note.text.chars().count();
                let tags = note.tags.join(" ");
                writeln!(
                    io::stdout(),
                    "{name}: {characters} characters, a picture of {picture} bytes, [{tags}]"
                )?;
            }
            Ok(None) => return Ok(()),
            // One without a key is about the whole store.
            Err(error) if error.is_data() && error.key().is_some() => {
                eprintln!("left out: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
}
