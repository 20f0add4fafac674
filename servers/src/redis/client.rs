//! The little of Redis' protocol that setting up and looking at a server takes.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Asks once, on a connection of its own.
pub(super) fn ask(socket: &Path, password: Option<&str>, words: &[&str]) -> Result<String, String> {
    let talk = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        if let Some(password) = password {
            stream.write_all(&encoded(&["AUTH", password]))?;
            if let Err(refused) = reply(&mut reader)? {
                return Ok(Err(refused));
            }
        }
        stream.write_all(&encoded(words))?;
        reply(&mut reader)
    };
    talk().unwrap_or_else(|error: std::io::Error| Err(error.to_string()))
}

fn encoded(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    bytes.into_bytes()
}

fn reply(reader: &mut impl BufRead) -> std::io::Result<Result<String, String>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let broken = || std::io::Error::other(format!("the connection ended after {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(broken)?;
    let length = || rest.parse::<i64>().map_err(|_| broken());
    match kind {
        "+" | ":" => Ok(Ok(rest.to_owned())),
        "-" => Ok(Err(rest.to_owned())),
        "$" => {
            let Ok(length) = usize::try_from(length()?) else {
                return Ok(Ok(String::new())); // nil
            };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => {
            let mut elements = Vec::new();
            for _ in 0..length()? {
                match reply(reader)? {
                    Ok(element) => elements.push(element),
                    error => return Ok(error),
                }
            }
            Ok(Ok(elements.join("\n")))
        }
        _ => Err(broken()),
    }
}
