//! Connections.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, Observed};
use crate::handle::Handle;
use crate::tls::Tls;

/// How long to wait when the process has no more files to open.
const BREATH: Duration = Duration::from_millis(100);
/// How many requests of one HTTP/2 connection are taken at a time.
const STREAMS: u32 = 128;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);

/// To who comes when there are as many connections as may be, before anything is read.
const FULL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\n\
    polystore-protocol: 1\r\ncontent-type: application/problem+json\r\ncontent-length: 152\r\n\r\n\
    {\"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"too many connections are open: try again\",\
    \"kind\":\"throttled\",\"retryable\":true,\"maybe_applied\":false}";

/// Serves until `shutdown` is done, and then finishes what is under way.
pub(crate) async fn listen(
    handle: Arc<Handle>,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()>,
) {
    let (closing, is_closing) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(handle.limits.connections));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                        // If it fits into the socket at once; nobody is waited for.
                        let _ = tls.is_none().then(|| stream.try_write(FULL));
                        continue;
                    };
                    let serving = serve(Arc::clone(&handle), stream, tls.clone(), is_closing.clone());
                    connections.spawn(async move {
                        serving.await;
                        drop(slot);
                    });
                }
                Err(error) if is_of_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted for now");
                    sleep(BREATH).await;
                }
            }
        }
    }
    drop(listener);
    let _ = closing.send(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(handle.limits.drain_time, ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "ended what was still under way"
        );
        connections.shutdown().await;
    }
}

/// Whether a client went away before it was accepted.
fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn serve(
    handle: Arc<Handle>,
    stream: TcpStream,
    tls: Option<Tls>,
    is_closing: watch::Receiver<bool>,
) {
    // Answers are short, and go out at once.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return http_1(handle, stream, is_closing).await;
    };
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    let Ok(Ok(stream)) = timeout(handle.limits.header_time, handshake).await else {
        return;
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http_2(handle, stream, is_closing).await,
        _ => http_1(handle, stream, is_closing).await,
    }
}

/// What hyper calls for each request.
macro_rules! service {
    ($handle:expr, $connection:expr) => {{
        let (handle, connection) = (Arc::clone($handle), Arc::clone($connection));
        service_fn(move |request: Request<Incoming>| {
            let (handle, connection) = (Arc::clone(&handle), Arc::clone(&connection));
            let request = request.map(Body::new);
            async move { Ok::<_, Infallible>(handle.respond(request, Some(connection)).await) }
        })
    }};
}

async fn http_1(
    handle: Arc<Handle>,
    io: impl AsyncRead + AsyncWrite + Unpin,
    is_closing: watch::Receiver<bool>,
) {
    let connection = Arc::new(Connection::new());
    let io = Observed {
        io,
        connection: Arc::clone(&connection),
        is_plain: true,
    };
    let most = handle.limits.headers;
    let serving = http1::Builder::new()
        .max_header_size(most)
        .max_buf_size(most.max(64 << 10))
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(io), service!(&handle, &connection));
    drive(
        &handle,
        &connection,
        serving,
        http1::Connection::graceful_shutdown,
        is_closing,
    )
    .await;
}

async fn http_2(
    handle: Arc<Handle>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_closing: watch::Receiver<bool>,
) {
    let connection = Arc::new(Connection::new());
    let io = Observed {
        io,
        connection: Arc::clone(&connection),
        is_plain: false,
    };
    let serving = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(u32::try_from(handle.limits.headers).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(io), service!(&handle, &connection));
    drive(
        &handle,
        &connection,
        serving,
        http2::Connection::graceful_shutdown,
        is_closing,
    )
    .await;
}

/// Until the connection ends by itself or has to be ended.
async fn drive<C: Future>(
    handle: &Handle,
    connection: &Connection,
    serving: C,
    finish: impl Fn(Pin<&mut C>),
    mut is_closing: watch::Receiver<bool>,
) {
    let limits = &handle.limits;
    let mut serving = pin!(serving);
    let often = (limits.header_time.min(limits.idle_time) / 4).max(Duration::from_millis(5));
    let mut look = interval(often);
    let (mut is_finishing, mut was_idle) = (false, false);
    loop {
        tokio::select! {
            // What went wrong with a connection is the client's.
            _ = &mut serving => return,
            _ = is_closing.wait_for(|it| *it), if !is_finishing => {
                finish(serving.as_mut());
                is_finishing = true;
            }
            _ = look.tick() => {
                if connection.is_stuck(limits) {
                    return;
                }
                let is_idle = connection.is_idle(limits);
                if is_idle && was_idle {
                    return;
                }
                if is_idle {
                    finish(serving.as_mut());
                }
                was_idle = is_idle;
            }
        }
    }
}
