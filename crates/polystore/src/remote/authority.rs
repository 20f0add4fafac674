//! Who and where, in a URL: `//user:password@host:port,host:port/path`.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::address::invalid;
use crate::error::Result;

/// A server's name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Without the brackets that an IPv6 address has in a URL.
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

/// What stands between a scheme and the options of a URL that names servers. All of
/// it is percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// At least one, but for URLs such as `postgres:///database`.
    pub(crate) hosts: Vec<Host>,
    /// What comes after the first `/` after the hosts.
    pub(crate) path: String,
}

impl Authority {
    /// `location` is what an [`Address`](crate::address::Address) has.
    ///
    /// # Errors
    /// They say nothing of what the URL holds: any part of it may be a password.
    pub(crate) fn parse(location: &str) -> Result<Self> {
        let rest = location
            .strip_prefix("//")
            .ok_or_else(|| invalid("the URL of a server is KIND://HOST:PORT"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may hold an `@` that nobody has encoded.
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let (user, password) = match credentials {
            None => (None, None),
            Some(credentials) => match credentials.split_once(':') {
                Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
                None => (Some(decoded(credentials)?), None),
            },
        };
        let hosts = if hosts.is_empty() {
            Vec::new()
        } else {
            hosts.split(',').map(Host::parse).collect::<Result<_>>()?
        };
        Ok(Self {
            user: user.filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
            hosts,
            path: decoded(path)?,
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest
                    .split_once(']')
                    .ok_or_else(|| invalid("an IPv6 address in a URL is [::1]"))?;
                let port = match port.strip_prefix(':') {
                    None if port.is_empty() => None,
                    Some(port) => Some(port),
                    None => return Err(invalid("after an IPv6 address comes :PORT")),
                };
                (name.to_owned(), port)
            }
            None => match text.split_once(':') {
                Some((name, port)) => (decoded(name)?, Some(port)),
                None => (decoded(text)?, None),
            },
        };
        if name.is_empty() {
            return Err(invalid("a host in the URL has no name"));
        }
        let port = match port.filter(|port| !port.is_empty()) {
            None => None,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => Some(port),
                _ => {
                    return Err(invalid(
                        "a port in a URL is a number from 1 to 65535 (in a password, write / as \
                         %2F and : as %3A)",
                    ));
                }
            },
        };
        Ok(Self { name, port })
    }
}

fn decoded(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| invalid("a part of the URL is not UTF-8 when decoded"))?;
    if decoded.contains('\0') {
        return Err(invalid("a part of the URL has a NUL character"));
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: impl Into<Option<u16>>) -> Host {
        Host {
            name: name.to_owned(),
            port: port.into(),
        }
    }

    #[test]
    fn users_passwords_hosts_and_paths_are_told_apart_and_decoded() {
        let all = Authority::parse("//ada:s%3Acr@t@a:1,b,[::1]:3,[fe80::1]/1%20x/y").unwrap();
        assert_eq!(all.user.as_deref(), Some("ada"));
        assert_eq!(all.password.as_deref(), Some("s:cr@t"));
        let hosts = [
            host("a", 1),
            host("b", None),
            host("::1", 3),
            host("fe80::1", None),
        ];
        assert_eq!(all.hosts, hosts);
        assert_eq!(all.path, "1 x/y");

        let bare = Authority::parse("//localhost").unwrap();
        assert_eq!((bare.user, bare.password), (None, None));
        assert_eq!(bare.hosts, [host("localhost", None)]);
        assert_eq!(bare.path, "");

        let password = Authority::parse("//:secret@h:6379/").unwrap();
        assert_eq!(
            (password.user, password.password),
            (None, Some("secret".to_owned()))
        );
        let socket = Authority::parse("//%2Frun%2Fpg/db").unwrap();
        assert_eq!(socket.hosts, [host("/run/pg", None)]);
        assert_eq!(Authority::parse("///db").unwrap().hosts, []);
    }

    #[test]
    fn what_is_wrong_is_a_usage_error_that_hides_the_rest() {
        for location in [
            "secret",
            "/secret",
            "//secret@host:port",
            "//secret@host:0",
            "//secret@host:70000",
            "//secret@host:1:2",
            "//secret@a,,b",
            "//secret@:1",
            "//secret@[::1",
            "//secret@[::1]x",
            "//secret%00@host",
            "//secret%FF@host",
            "//host/secret%FF",
        ] {
            let error = Authority::parse(location).unwrap_err();
            assert!(error.is_usage(), "{location}");
            assert!(!format!("{error:?}").contains("secret"), "{location}");
        }
        let shown = format!("{:?}", Authority::parse("//ada:secret@h/secret").unwrap());
        assert!(
            !shown.contains("secret") && !shown.contains("ada"),
            "{shown}"
        );
    }
}
