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

use std::io::Write;
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
        Err(error) => {
            eprintln!("custom-serialization: {error}");
            if let Some(cause) = error.source() {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let url = std::env::var("NOTES").unwrap_or_else(|_| "file:notes.json".to_owned());
    let notes = kv(url)?.typed::<Note>();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["put", name, text, picture, ref tags @ ..] => {
            let is_there = picture != "-";
            let note = Note {
                text: std::fs::read_to_string(text)?,
                picture: is_there.then(|| std::fs::read(picture)).transpose()?,
                tags: tags.iter().map(ToString::to_string).collect(),
            };
            notes.set(name, &note).await?;
        }
        ["get", name] => {
            let note = notes.get(name).await?.ok_or("there is no such note")?;
            print!("{}", note.text);
        }
        ["picture", name] => {
            let note = notes.get(name).await?.ok_or("there is no such note")?;
            let picture = note.picture.ok_or("the note has no picture")?;
            std::io::stdout().write_all(&picture)?;
        }
        ["list"] => list(&notes).await?,
        _ => return Err(USAGE.into()),
    }
    notes.close().await?;
    Ok(())
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
                println!("{name}: {characters} characters, a picture of {picture} bytes, [{tags}]");
            }
            Ok(None) => return Ok(()),
            Err(error) if error.is_data() => eprintln!("left out: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
}
