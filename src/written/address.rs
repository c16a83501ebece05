//! Network addresses as people write them: `127.0.0.1:8080`, `[::1]:8080`, `app.local:8080`.

use std::{borrow::Cow, fmt, net::SocketAddr, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A host and a port to connect to. The host may be a name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Address {
    host: String,
    port: u16,
}

/// An IP address and a port to listen on; port 0 takes any free one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ListenAddress(pub SocketAddr);

/// A text that is no address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidAddress {
    /// Not a host and a port.
    Connect(String),
    /// Not an IP address and a port.
    Listen(String),
}

impl Address {
    /// The host: a name or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress::Connect(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().ok().filter(|it| *it != 0).ok_or_else(invalid)?;
        let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let plain = |it: &str| {
            !it.is_empty()
                && it.len() <= 253
                && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it))
        };
        match bracketed {
            Some(ip) if ip.parse::<std::net::Ipv6Addr>().is_ok() => Ok(Self { host: ip.to_owned(), port }),
            None if plain(host) => Ok(Self { host: host.to_owned(), port }),
            Some(_) | None => Err(invalid()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        // `:8080` is what many programs take for every address of the machine.
        let whole =
            if text.starts_with(':') { Cow::Owned(format!("0.0.0.0{text}")) } else { Cow::Borrowed(text) };
        whole.parse().map(Self).map_err(|_| InvalidAddress::Listen(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(text) => {
                write!(
                    f,
                    "`{text}` is no address: write host and port, such as `127.0.0.1:8080` or `app.local:8080`"
                )
            }
            Self::Listen(text) => write!(
                f,
                "`{text}` is no address to listen on: write IP address and port, such as `127.0.0.1:8080` or `[::]:80`"
            ),
        }
    }
}

impl std::error::Error for InvalidAddress {}

macro_rules! as_text {
    ($($Type:ident = $description:literal, $pattern:literal;)*) => { $(
        impl Serialize for $Type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $Type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $Type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Type).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description, "pattern": $pattern })
            }
        }
    )* };
}

as_text! {
    Address = "A host and a port, such as `127.0.0.1:8080`.", r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$";
    ListenAddress = "An IP address and a port, such as `127.0.0.1:8080`; `:8080` is every address of the machine.",
        r"^(\[[0-9a-fA-F:.]+\]|[0-9.]*):[0-9]{1,5}$";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_and_nothing_else_is_read() {
        for text in ["127.0.0.1:8080", "app.local:1", "[::1]:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in
            ["", "8080", "host", "host:", "host:0", "host:65536", "::1:80", "[::1:80", "a b:1", "http://a:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert_eq!(":80".parse::<ListenAddress>().unwrap().to_string(), "0.0.0.0:80");
        assert!("localhost:80".parse::<ListenAddress>().is_err());
    }
}
