//! Where the server is and how it is talked to, as a URL says.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslMode, TargetSessionAttrs};

use super::name::TableName;
use super::tls::{Checks, Security};
use crate::address::{Address, invalid};
use crate::error::Result;
use crate::remote::{Authority, Host, TlsFiles};
use crate::runtime::TIMEOUT;

const OPTIONS: &[&str] = &[
    "table",
    "timeout",
    "pooler",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "target_session_attrs",
    "load_balance_hosts",
    "channel_binding",
    "options",
    "host",
    "port",
    "user",
    "password",
    "dbname",
];

/// What is behind the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooler {
    /// The server itself, or a pooler that gives each client a session.
    None,
    /// One that gives a session for a transaction: nothing may be left in a session.
    Transaction,
}

/// What the store needs to know, but for how to connect.
pub(super) struct Settings {
    pub(super) table: TableName,
    pub(super) timeout: Duration,
    pub(super) pooler: Pooler,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            table: TableName::default(),
            timeout: TIMEOUT,
            pooler: Pooler::None,
        }
    }
}

/// The settings, and what to connect to.
pub(super) fn parse(mut address: Address) -> Result<(Settings, Config, Security)> {
    let authority = Authority::parse(address.location())?;
    let mut config = Config::new();
    hosts(&mut config, &authority, &mut address)?;

    let mut pick = |name: &str, inside: Option<String>| match (inside, address.take(name)) {
        (Some(_), Some(_)) => Err(invalid(format!(
            "the URL has a {name} of its own beside the option {name}"
        ))),
        (inside, option) => Ok(inside.or(option)),
    };
    let user = pick("user", authority.user)?;
    let password = pick("password", authority.password)?;
    let path = Some(authority.path).filter(|path| !path.is_empty());
    let database = pick("dbname", path)?;
    if let Some(user) = user {
        config.user(user);
    }
    if let Some(password) = password {
        config.password(password);
    }
    if let Some(database) = database {
        config.dbname(database);
    }
    if let Some(name) = address.take("application_name") {
        config.application_name(name);
    }
    if let Some(options) = address.take("options") {
        config.options(options);
    }
    config.target_session_attrs(one_of(
        &mut address,
        "target_session_attrs",
        &[
            ("any", TargetSessionAttrs::Any),
            ("read-write", TargetSessionAttrs::ReadWrite),
            ("read-only", TargetSessionAttrs::ReadOnly),
        ],
    )?);
    config.load_balance_hosts(one_of(
        &mut address,
        "load_balance_hosts",
        &[
            ("disable", LoadBalanceHosts::Disable),
            ("random", LoadBalanceHosts::Random),
        ],
    )?);
    config.channel_binding(one_of(
        &mut address,
        "channel_binding",
        &[
            ("prefer", ChannelBinding::Prefer),
            ("disable", ChannelBinding::Disable),
            ("require", ChannelBinding::Require),
        ],
    )?);
    let security = security(&mut config, &mut address)?;

    let table = address.take("table");
    let settings = Settings {
        table: table.map_or_else(|| Ok(TableName::default()), |name| TableName::parse(&name))?,
        timeout: address.take_timeout(TIMEOUT)?,
        pooler: one_of(
            &mut address,
            "pooler",
            &[
                ("none", Pooler::None),
                ("session", Pooler::None),
                ("transaction", Pooler::Transaction),
            ],
        )?,
    };
    address.finish(OPTIONS)?;
    // One that hangs must not take the time of the others.
    let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX);
    if hosts > 1 {
        config.connect_timeout(settings.timeout / hosts);
    }
    Ok((settings, config, security))
}

fn hosts(config: &mut Config, authority: &Authority, address: &mut Address) -> Result<()> {
    let (host, port) = (address.take("host"), address.take("port"));
    let ports = port.as_deref().map(parse_ports).transpose()?;
    if authority.hosts.is_empty() {
        let Some(names) = host else {
            return Err(invalid(
                "the URL names no server: write postgres://HOST/DATABASE, or \
                 postgres:///DATABASE?host=/FOLDER/OF/THE/SOCKET",
            ));
        };
        if names.split(',').any(str::is_empty) {
            return Err(invalid("a host in the option host has no name"));
        }
        names.split(',').for_each(|name| {
            config.host(name);
        });
    } else {
        if host.is_some() || ports.is_some() {
            return Err(invalid(
                "the URL names its servers: the options host and port are for one that does not",
            ));
        }
        for Host { name, port } in &authority.hosts {
            config.host(name.as_str());
            config.port(port.unwrap_or(5432));
        }
    }
    if let Some(ports) = ports {
        if ports.len() != 1 && ports.len() != config.get_hosts().len() {
            return Err(invalid("the option port is one port, or one for each host"));
        }
        for port in ports {
            config.port(port);
        }
    }
    Ok(())
}

fn parse_ports(text: &str) -> Result<Vec<u16>> {
    let ports = text.split(',').map(|port| port.parse().ok());
    ports
        .map(|port| port.filter(|port| *port > 0))
        .collect::<Option<_>>()
        .ok_or_else(|| invalid("the option port is a number from 1 to 65535"))
}

/// The first one is the default.
fn one_of<T: Copy>(address: &mut Address, name: &str, values: &[(&str, T)]) -> Result<T> {
    let Some(given) = address.take(name) else {
        return Ok(values[0].1);
    };
    let found = values.iter().find(|(word, _)| *word == given);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = values.iter().map(|(word, _)| *word).collect();
        invalid(format!("the option {name} is {}", words.join(", ")))
    })
}

/// As libpq has it, but for one thing: who names roots wants them used.
fn security(config: &mut Config, address: &mut Address) -> Result<Security> {
    let mode = address.take("sslmode");
    let files = TlsFiles::take(address, ["sslrootcert", "sslcert", "sslkey"])?;
    let (mode, checks) = match mode.as_deref() {
        None if files.has_roots() => (SslMode::Require, Checks::Name),
        None | Some("prefer") => (SslMode::Prefer, Checks::Nothing),
        Some("disable") if files.is_given() => {
            return Err(invalid(
                "with sslmode=disable there is no use for sslrootcert, sslcert and sslkey",
            ));
        }
        Some("disable") => (SslMode::Disable, Checks::Nothing),
        Some("require") if files.has_roots() => (SslMode::Require, Checks::Authority),
        Some("require") => (SslMode::Require, Checks::Nothing),
        Some("verify-ca") => (SslMode::Require, Checks::Authority),
        Some("verify-full") => (SslMode::Require, Checks::Name),
        Some(_) => {
            return Err(invalid(
                "the option sslmode is disable, prefer, require, verify-ca or verify-full",
            ));
        }
    };
    config.ssl_mode(mode);
    Ok(Security { checks, files })
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn parsed(url: &str) -> Result<(Settings, Config, Security)> {
        parse(Address::parse(url)?)
    }

    #[test]
    fn a_url_is_taken_apart_as_libpq_does() {
        let (settings, config, _) = parsed(
            "postgres://ada:s%40crt@a:1,[::1]/my%20db?table=app.kv&timeout=3s&pooler=transaction\
             &application_name=me&target_session_attrs=read-write",
        )
        .unwrap();
        assert_eq!(config.get_user(), Some("ada"));
        assert_eq!(config.get_password(), Some(&b"s@crt"[..]));
        assert_eq!(config.get_dbname(), Some("my db"));
        let hosts = [Host::Tcp("a".into()), Host::Tcp("::1".into())];
        assert_eq!(config.get_hosts(), hosts);
        assert_eq!(config.get_ports(), [1, 5432]);
        assert_eq!(config.get_application_name(), Some("me"));
        assert_eq!(
            config.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
        assert_eq!(config.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(settings.timeout, Duration::from_secs(3));
        assert_eq!(settings.pooler, Pooler::Transaction);
        assert_eq!(settings.table.quoted(), "\"app\".\"kv\"");
    }

    #[test]
    fn sockets_are_hosts() {
        for url in [
            "postgresql://%2Frun%2Fpg/db",
            "postgres:///db?host=/run/pg",
            "postgres:///db?host=%2Frun%2Fpg&port=5433",
        ] {
            let (_, config, _) = parsed(url).unwrap();
            assert_eq!(config.get_hosts(), [Host::Unix("/run/pg".into())], "{url}");
        }
    }

    #[test]
    fn sslmode_says_what_is_checked() {
        for (query, mode, checks) in [
            ("", SslMode::Prefer, Checks::Nothing),
            ("?sslmode=disable", SslMode::Disable, Checks::Nothing),
            ("?sslmode=require", SslMode::Require, Checks::Nothing),
            (
                "?sslmode=require&sslrootcert=ca",
                SslMode::Require,
                Checks::Authority,
            ),
            ("?sslmode=verify-ca", SslMode::Require, Checks::Authority),
            ("?sslmode=verify-full", SslMode::Require, Checks::Name),
            ("?sslrootcert=ca", SslMode::Require, Checks::Name),
        ] {
            let (_, config, security) = parsed(&format!("postgres://h{query}")).unwrap();
            assert_eq!(config.get_ssl_mode(), mode, "{query}");
            assert_eq!(security.checks, checks, "{query}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_and_not_shown() {
        for url in [
            "postgres:secret",
            "postgres:///secret",
            "postgres://u:secret@h?host=x",
            "postgres://u:secret@h?port=1",
            "postgres://u:secret@h?user=x",
            "postgres://u:secret@h?password=secret",
            "postgres://u:secret@h?sslmode=secret",
            "postgres://u:secret@h?sslmode=disable&sslrootcert=secret",
            "postgres://u:secret@h?sslcert=secret",
            "postgres://u:secret@h?pooler=secret",
            "postgres://u:secret@h?target_session_attrs=secret",
            "postgres://u:secret@h?connect_timeout=3",
            "postgres://u:secret@h?table=a.b.secret",
            "postgres://u:secret@h?table=1secret",
            "postgres://u:secret@h?table=",
            "postgres:///db?host=secret,,x",
            "postgres:///db?host=secret&port=0",
            "postgres:///db?host=secret&port=1,2",
            "postgres://u:secret@h?timeout=0",
        ] {
            let Err(error) = parsed(url) else {
                panic!("{url} was taken")
            };
            assert!(error.is_usage(), "{url}");
            assert!(!format!("{error:?}").contains("secret"), "{url}: {error:?}");
        }
    }
}
