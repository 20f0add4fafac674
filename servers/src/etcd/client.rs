//! The little of HTTP that setting up and looking at an etcd takes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The body of the answer, which is an error unless the status is 200. With a body it is a POST.
pub(super) fn ask(
    port: u16,
    path: &str,
    body: Option<&str>,
    token: Option<&str>,
) -> Result<String, String> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let token = token.map_or_else(String::new, |token| format!("Authorization: {token}\r\n"));
    let body = body.unwrap_or_default();
    // By HTTP/1.0, no answer comes in chunks.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{token}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let talk = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = talk().map_err(|error: std::io::Error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    if head.split(' ').nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(body.to_owned())
    }
}
