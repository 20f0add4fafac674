//! `serve`: a store on the network.

use std::env::{self, VarError};
use std::fs;
use std::io;
use std::path::Path;

use polystore_kv::Store;
use polystore_server::{Limits, Server, Tls, Tokens};
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;

use crate::exit::{Answer, Failure, Outcome, say};
use crate::serving::{Log, Serving};

const TOKENS: &str = "POLYSTORE_TOKENS";

pub(crate) fn log_to_standard_error(serving: &Serving, json: bool) {
    let level = match serving.log {
        Log::Info => LevelFilter::INFO,
        Log::Warn => LevelFilter::WARN,
        Log::Off => LevelFilter::OFF,
    };
    let format = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_target(false);
    match json {
        true => format.json().flatten_event(true).init(),
        false => format.init(),
    }
}

/// As many as the system lets this process open: each connection is one.
#[cfg(unix)]
fn open_more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    // Where it cannot be changed, fewer connections are open at a time, and others wait.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}

pub(crate) async fn serve(store: &Store, serving: &Serving, json: bool) -> Outcome {
    let tokens = tokens(serving)?;
    let tls = tls(serving)?;
    let server = server(store, serving, tokens.as_ref(), tls.as_ref())?;
    #[cfg(unix)]
    open_more_files();
    let listener = TcpListener::bind(serving.listen).await;
    let listener = listener.map_err(|error| cannot_listen(serving, &error))?;
    let address = listener.local_addr();
    let address = address.map_err(|error| Failure::io("listen", &error))?;
    let stop = stop()?;
    #[cfg(unix)]
    let renewing = renewing(serving, tokens, tls)?;
    let scheme = if serving.tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    let base = format!("{scheme}://{address}/");
    let kind = store.kind();
    match json {
        true => say(&format!(
            r#"{{"serving":"{base}","page":"{base}_/","store":"{kind}"}}"#
        )),
        false => say(&format!(
            "serving on {base} (a {kind} store; its page: {base}_/)"
        )),
    }
    let served = server.serve(listener, stop).await;
    #[cfg(unix)]
    renewing.abort();
    served.map_err(|error| Failure::io("serve", &error))?;
    Ok(Answer::Yes)
}

fn server(
    store: &Store,
    serving: &Serving,
    tokens: Option<&Tokens>,
    tls: Option<&Tls>,
) -> Result<Server, Failure> {
    let mut limits = Limits::default();
    limits.body = serving.max_body;
    limits.key = serving.max_key;
    limits.headers = serving.max_headers;
    limits.requests = serving.max_requests;
    limits.connections = serving.max_connections;
    limits.request_time = serving.request_time;
    limits.header_time = serving.header_time;
    limits.idle_time = serving.idle_time;
    limits.drain_time = serving.drain;
    let mut server = Server::new(store.clone()).limits(limits);
    for origin in &serving.cors_origin {
        server = server.cors_origin(origin)?;
    }
    for host in &serving.host {
        server = server.host(host);
    }
    if serving.path_tokens {
        server = server.path_tokens();
    }
    if let Some(tls) = tls {
        server = server.tls(tls.clone());
    }
    if let Some(tokens) = tokens {
        if serving.allow_anonymous {
            return Err(Failure::usage("with tokens nobody is anonymous")
                .with_notes([format!("leave out --allow-anonymous, or unset {TOKENS}")]));
        }
        return Ok(server.tokens(tokens.clone()));
    }
    if serving.allow_anonymous {
        return Ok(server.allow_anonymous());
    }
    let address = serving.listen;
    if !address.ip().to_canonical().is_loopback() {
        let what =
            format!("other machines can reach {address}, and nobody would have to say a token");
        return Err(Failure::usage(what).with_notes([
            format!("give tokens by --tokens FILE or {TOKENS}, as `polystore serve --help` says,"),
            "listen on 127.0.0.1, or say --allow-anonymous if all who reach it may do everything"
                .to_owned(),
        ]));
    }
    Ok(server)
}

fn cannot_listen(serving: &Serving, error: &io::Error) -> Failure {
    let address = serving.listen;
    if error.kind() == io::ErrorKind::AddrInUse {
        return Failure::store(format!("another program listens on {address} already"))
            .with_notes(["stop it, or choose another port by --listen".to_owned()]);
    }
    Failure::io(&format!("listen on {address}"), error)
}

/// From the file, else from the environment.
fn tokens(serving: &Serving) -> Result<Option<Tokens>, Failure> {
    if let Some(file) = &serving.tokens {
        warn_if_open(file);
        return Ok(Some(text(file)?.parse()?));
    }
    match env::var(TOKENS) {
        Ok(lines) => Ok(Some(lines.parse()?)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::usage(format!("{TOKENS} is not UTF-8"))),
    }
}

fn tls(serving: &Serving) -> Result<Option<Tls>, Failure> {
    let (Some(certificate), Some(key)) = (&serving.tls_cert, &serving.tls_key) else {
        return Ok(None);
    };
    warn_if_open(key);
    // As bytes: what is no text is said to be no PEM.
    Ok(Some(Tls::from_pem(&bytes(certificate)?, &bytes(key)?)?))
}

fn bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::io(&format!("read {}", file.display()), &error))
}

fn text(file: &Path) -> Result<String, Failure> {
    let text = String::from_utf8(bytes(file)?);
    text.map_err(|_| Failure::usage(format!("{} is not UTF-8", file.display())))
}

/// Says so if others on this machine can read what is secret.
fn warn_if_open(file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(file).is_ok_and(|it| it.permissions().mode() & 0o004 != 0) {
            let file = file.display();
            say(&format!(
                "polystore: everyone on this machine can read {file}: chmod 600 it"
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = file;
}

/// Is done at Ctrl-C or SIGTERM. The next one ends the process at once: stores stay whole then too.
fn stop() -> Result<impl Future<Output = ()> + Send, Failure> {
    #[cfg(unix)]
    let mut terminate = signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut told = async move || {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(async move {
        told().await;
        say("finishing what is under way; once more ends at once");
        tokio::spawn(async move {
            told().await;
            std::process::exit(130);
        });
    })
}

#[cfg(unix)]
fn signal(kind: tokio::signal::unix::SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    tokio::signal::unix::signal(kind).map_err(|error| Failure::io("hear signals", &error))
}

/// Reads the files again at SIGHUP. What is wrong with them is said, and what was there stays.
#[cfg(unix)]
fn renewing(
    serving: &Serving,
    old_tokens: Option<Tokens>,
    old_tls: Option<Tls>,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    let mut told = signal(tokio::signal::unix::SignalKind::hangup())?;
    let serving = serving.clone();
    Ok(tokio::spawn(async move {
        while told.recv().await.is_some() {
            match tokens(&serving).and_then(|tokens| Ok((tokens, tls(&serving)?))) {
                Ok((tokens, tls)) => {
                    if let (Some(old), Some(new)) = (&old_tokens, &tokens) {
                        old.replace(new);
                    }
                    if let (Some(old), Some(new)) = (&old_tls, &tls) {
                        old.replace(new);
                    }
                    say("read the tokens and certificates again");
                }
                Err(failure) => {
                    if let Some(report) = failure.report() {
                        say(report.trim_end());
                    }
                    say("the tokens and certificates stay as they were");
                }
            }
        }
    }))
}
