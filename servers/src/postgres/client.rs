//! The little of PostgreSQL's protocol that setting up and looking at a server takes: simple queries on the Unix
//! socket, where no password is asked for.

use std::io::{BufReader, Error, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The rows, columns separated by `|`.
pub(super) fn query(socket: &Path, sql: &str) -> Result<Vec<String>, String> {
    talk(socket, sql).unwrap_or_else(|error| Err(error.to_string()))
}

fn talk(socket: &Path, sql: &str) -> std::io::Result<Result<Vec<String>, String>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);

    let version = 196_608_i32.to_be_bytes(); // 3.0
    let who = b"user\0postgres\0database\0postgres\0\0";
    stream.write_all(&with_length(&[version.as_slice(), who].concat()))?;
    if let Err(refused) = answer(&mut reader)? {
        return Ok(Err(refused));
    }
    stream.write_all(
        &[
            b"Q",
            with_length(&[sql.as_bytes(), b"\0"].concat()).as_slice(),
        ]
        .concat(),
    )?;
    let rows = answer(&mut reader)?;
    stream.write_all(&[b"X", with_length(b"").as_slice()].concat())?;
    Ok(rows)
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).expect("statements are short");
    [length.to_be_bytes().as_slice(), body].concat()
}

/// All up to the message that the server is ready for the next query, or the error in it.
fn answer(reader: &mut impl Read) -> std::io::Result<Result<Vec<String>, String>> {
    let mut rows = Vec::new();
    let mut problem = None;
    loop {
        let mut head = [0; 5];
        if let Err(error) = reader.read_exact(&mut head) {
            // After what is fatal, no more comes.
            return problem.map_or(Err(error), |problem| Ok(Err(problem)));
        }
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length).saturating_sub(4);
        let mut body = vec![0; length as usize];
        reader.read_exact(&mut body)?;
        match kind {
            b'D' => rows.push(row(&body).ok_or_else(|| Error::other("a row was cut short"))?),
            b'E' => problem = Some(message(&body)),
            b'Z' => return Ok(problem.map_or(Ok(rows), Err)),
            _ => {}
        }
    }
}

fn row(mut body: &[u8]) -> Option<String> {
    let (count, rest) = body.split_first_chunk()?;
    body = rest;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, rest) = body.split_first_chunk()?;
        // -1 is null.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (column, rest) = rest.split_at_checked(length)?;
        columns.push(String::from_utf8_lossy(column).into_owned());
        body = rest;
    }
    Some(columns.join("|"))
}

/// The code and the message of an error, of which each field begins with a letter and ends with a zero.
fn message(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0);
    let wanted = fields.filter_map(|field| match field.split_first()? {
        (b'C' | b'M', text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    wanted.collect::<Vec<_>>().join(": ")
}
