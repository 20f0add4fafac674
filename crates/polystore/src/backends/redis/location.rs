//! Where the server is, as a URL says.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use redis::{ClientTlsConfig, ConnectionAddr, RedisConnectionInfo, TlsCertificates};

use crate::address::{Address, invalid};
use crate::error::Result;
use crate::remote::{Authority, Host, TlsFiles};
use crate::runtime::TIMEOUT;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What a URL says.
pub(super) struct Location {
    pub(super) place: Place,
    pub(super) login: Login,
    pub(super) database: i64,
    pub(super) tls: Option<TlsFiles>,
    pub(super) timeout: Duration,
}

/// Who asks.
#[derive(Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Who is asked.
pub(super) enum Place {
    Server(String, u16),
    Socket(PathBuf),
    Cluster(Vec<(String, u16)>),
    Sentinels {
        sentinels: Vec<(String, u16)>,
        master: String,
        login: Login,
    },
}

impl Location {
    pub(super) fn parse(mut address: Address) -> Result<Self> {
        let scheme = address.scheme().to_owned();
        let timeout = address.take_timeout(TIMEOUT)?;
        let mut options = vec!["timeout"];
        let tls = if scheme.starts_with("rediss") {
            let files = ["tls_ca", "tls_cert", "tls_key"];
            options.extend(files);
            Some(TlsFiles::take(&mut address, files)?)
        } else {
            None
        };
        if scheme == "redis+unix" {
            options.push("db");
            let database = number(&address.take("db").unwrap_or_default())?;
            let (login, path) = socket(address.location())?;
            address.finish(&options)?;
            return Ok(Self {
                place: Place::Socket(path),
                login,
                database,
                tls,
                timeout,
            });
        }

        let authority = Authority::parse(address.location())?;
        // In the npm package's URLs, and others', a password may stand without a user.
        let login = Login {
            user: authority.user,
            password: authority.password,
        };
        if login.user.is_some() && login.password.is_none() {
            return Err(invalid(
                "a redis: URL has a user but no password: write //USER:PASSWORD@ or //:PASSWORD@",
            ));
        }
        if authority.hosts.is_empty() {
            return Err(invalid("a redis: URL names a host"));
        }
        let database = number(authority.path.trim_end_matches('/'))?;
        let place = match scheme.as_str() {
            "redis" | "rediss" => {
                let [host] = &authority.hosts[..] else {
                    return Err(invalid(
                        "a redis: URL names one host: for a cluster it is redis-cluster://A,B,C",
                    ));
                };
                Place::Server(host.name.clone(), host.port.unwrap_or(PORT))
            }
            "redis-cluster" | "rediss-cluster" => {
                if database != 0 {
                    return Err(invalid("a Redis cluster has only the database 0"));
                }
                Place::Cluster(hosts(&authority.hosts, PORT))
            }
            _ => {
                options.extend(["master", "sentinel_user", "sentinel_password"]);
                let login = Login {
                    user: address.take("sentinel_user"),
                    password: address.take("sentinel_password"),
                };
                Place::Sentinels {
                    sentinels: hosts(&authority.hosts, SENTINEL_PORT),
                    master: address
                        .take("master")
                        .filter(|name| !name.is_empty())
                        .ok_or_else(|| {
                            invalid("a redis-sentinel: URL names its master: ?master=NAME")
                        })?,
                    login,
                }
            }
        };
        address.finish(&options)?;
        Ok(Self {
            place,
            login,
            database,
            tls,
            timeout,
        })
    }
}

impl Login {
    pub(super) fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        settings
    }
}

/// The driver's word for a host.
pub(super) fn address((host, port): &(String, u16), tls: bool) -> ConnectionAddr {
    if tls {
        ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host.clone(), *port)
    }
}

/// What is in the files now.
pub(super) fn certificates(files: &TlsFiles) -> Result<TlsCertificates> {
    let pem = files.read()?;
    // The driver takes an empty file of roots, and says little of a broken one.
    if pem.roots.is_some() {
        pem.root_store()?;
    }
    pem.client_identity()?;
    Ok(TlsCertificates {
        client_tls: pem.identity.map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate,
            client_key: key,
        }),
        root_cert: pem.roots,
    })
}

fn hosts(hosts: &[Host], port: u16) -> Vec<(String, u16)> {
    let with_port = |host: &Host| (host.name.clone(), host.port.unwrap_or(port));
    hosts.iter().map(with_port).collect()
}

fn number(text: &str) -> Result<i64> {
    if text.is_empty() {
        return Ok(0);
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_plain => Ok(number),
        _ => Err(invalid("the database of a redis: URL is a number")),
    }
}

/// `//user:password@/path/to/socket`, of which the path is needed.
fn socket(location: &str) -> Result<(Login, PathBuf)> {
    let wrong = || invalid("the URL of a Unix socket is redis+unix:///path/to/socket");
    let rest = location.strip_prefix("//").ok_or_else(wrong)?;
    let at = rest.find('/').ok_or_else(wrong)?;
    let (credentials, path) = rest.split_at(at);
    let login = match credentials.strip_suffix('@') {
        Some(_) => {
            let authority = Authority::parse(&format!("//{credentials}socket"))?;
            Login {
                user: authority.user,
                password: authority.password,
            }
        }
        None if credentials.is_empty() => Login::default(),
        None => return Err(wrong()),
    };
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| wrong())?;
    if path.contains('\0') || path.len() < 2 {
        return Err(wrong());
    }
    Ok((login, PathBuf::from(path.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Location> {
        Location::parse(Address::parse(url)?)
    }

    #[test]
    fn urls_say_who_is_asked_and_for_what() {
        let plain = parse("redis://ada:s%40crt@h/3?timeout=2s").unwrap();
        assert!(matches!(&plain.place, Place::Server(host, PORT) if host == "h"));
        assert_eq!(plain.login.user.as_deref(), Some("ada"));
        assert_eq!(plain.login.password.as_deref(), Some("s@crt"));
        assert_eq!((plain.database, plain.timeout.as_secs()), (3, 2));
        assert!(plain.tls.is_none());

        let secure = parse("rediss://[::1]:1?tls_ca=ca.pem").unwrap();
        assert!(matches!(&secure.place, Place::Server(host, 1) if host == "::1"));
        assert!(secure.tls.is_some_and(|files| files.is_given()));

        let unix = parse("redis+unix://:secret@/run/my%20redis.sock?db=2").unwrap();
        assert!(matches!(&unix.place, Place::Socket(path) if path.ends_with("my redis.sock")));
        assert_eq!(unix.login.password.as_deref(), Some("secret"));
        assert_eq!(unix.database, 2);

        let cluster = parse("redis-cluster://a:1,b,c:3").unwrap();
        let Place::Cluster(nodes) = &cluster.place else {
            panic!("it is a cluster");
        };
        let ports: Vec<_> = nodes.iter().map(|node| node.1).collect();
        assert_eq!(ports, [1, PORT, 3]);

        let sentinel = "rediss-sentinel://u:p@a,b:1/4?master=m&sentinel_password=q";
        let sentinel = parse(sentinel).unwrap();
        assert_eq!(sentinel.database, 4);
        let Place::Sentinels {
            sentinels,
            master,
            login,
        } = &sentinel.place
        else {
            panic!("they are sentinels");
        };
        assert_eq!((sentinels[0].1, sentinels[1].1), (SENTINEL_PORT, 1));
        assert_eq!((&master[..], login.password.as_deref()), ("m", Some("q")));
    }

    #[test]
    fn what_means_nothing_is_a_usage_error_that_hides_the_rest() {
        for url in [
            "redis:",
            "redis://",
            "redis:///1",
            "redis://secret@h",
            "redis://:secret@h/db",
            "redis://:secret@h/-1",
            "redis://:secret@a,b",
            "redis://:secret@h?db=1",
            "redis://:secret@h?tls_ca=ca.pem",
            "rediss://:secret@h?tls_cert=a.pem",
            "redis://:secret@h?secret=1&timeout=soon",
            "redis+unix:secret",
            "redis+unix://secret",
            "redis+unix://secret/path",
            "redis+unix:///",
            "redis+unix:///secret%00",
            "redis-cluster://:secret@h/1",
            "redis-cluster://:secret@h?master=m",
            "redis-sentinel://:secret@h",
            "redis-sentinel://:secret@h?master=",
        ] {
            let Err(error) = parse(url) else {
                panic!("{url} is taken");
            };
            assert!(error.is_usage(), "{url}");
            assert!(!format!("{error:?}").contains(":secret"), "{error:?}");
        }
    }
}
