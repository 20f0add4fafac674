//! One connection, on which requests follow each other.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) struct Client {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) ttl: Option<String>,
    pub(crate) body: String,
    /// Or it was cut off.
    pub(crate) is_whole: bool,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { address, sender }
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        self.sender
            .ready()
            .await
            .expect("the server keeps connections");
        let sent = self.sender.send_request(request).await;
        let mut response = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let ttl = response.headers().get("polystore-ttl");
        let ttl = ttl.map(|value| value.to_str().unwrap().to_owned());
        let mut body = Vec::new();
        let mut is_whole = true;
        while let Some(frame) = response.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Err(_) => is_whole = false,
            }
        }
        if !is_whole {
            *self = Self::connect(self.address).await;
        }
        Reply {
            status: response.status().as_u16(),
            ttl,
            body: String::from_utf8(body).unwrap(),
            is_whole,
        }
    }
}

impl Reply {
    /// Whether what was asked for may have been done all the same.
    pub(crate) fn expect_documented_failure(&self, method: &str, path: &str) -> bool {
        let what = format!("{method} {path}");
        if method == "HEAD" {
            // It has no body that could say more.
            kind_of(self.status, &what);
            return false;
        }
        let problem: Value = serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("{what}: {} {}", self.status, self.body));
        assert_eq!(problem["status"], self.status);
        expect_documented(&problem, &what)
    }
}

/// As [`Reply::expect_documented_failure`], of a problem in the reply.
pub(crate) fn expect_documented(problem: &Value, what: &str) -> bool {
    let status = problem["status"].as_u64().unwrap();
    let kind = kind_of(status.try_into().unwrap(), what);
    assert_eq!(problem["kind"], kind, "{what}: {problem}");
    problem["maybe_applied"].as_bool().unwrap()
}

/// Of the failures that an outage may bring.
fn kind_of(status: u16, what: &str) -> &'static str {
    match status {
        429 => "throttled",
        502 => "unreachable",
        503 | 504 => "timeout",
        _ => panic!("{what} failed with {status}"),
    }
}
