//! To whom a provider may speak: the text of an address, every resolved address, nothing else.
//!
//! A name is resolved once per connection, every answer is tested, and the connection goes to an address that was
//! tested; redirects are never followed. What is always refused: link-local addresses, among them the metadata
//! services of clouds, and whatever embeds one.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// What may be reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Egress {
    /// Addresses of this machine.
    pub loopback: bool,
    /// Addresses of private networks.
    pub private: bool,
    /// Addresses of everybody.
    pub public: bool,
    /// Never these, whatever else is allowed: an API server, the engine's own port.
    pub never: Vec<SocketAddr>,
    /// Only these ports; empty: all.
    pub ports: Vec<u16>,
    /// Whether `http` is allowed besides `https`.
    pub plain: bool,
}

impl Egress {
    /// For a source that an operator has set up: any network of theirs, this machine included.
    #[must_use]
    pub fn of_operator() -> Self {
        Self { loopback: true, private: true, public: true, never: vec![], ports: vec![], plain: true }
    }

    /// For an address that somebody wrote who may not know the network from inside: nothing at all.
    #[must_use]
    pub fn of_tenant() -> Self {
        Self { loopback: false, private: false, public: false, never: vec![], ports: vec![], plain: false }
    }

    /// For an address that a tenant wrote where the operator lets them: only what everybody can reach, by TLS.
    #[must_use]
    pub fn of_trusted_tenant() -> Self {
        Self { public: true, ports: vec![443], ..Self::of_tenant() }
    }

    /// Reads an address as it was written.
    ///
    /// # Errors
    /// [`Refused`] says which rule it breaks.
    pub fn url(&self, written: &str) -> Result<Url, Refused> {
        let refused = |why| Err(Refused::Written(why));
        if written.chars().any(|it| it.is_control() || it.is_whitespace()) {
            return refused("it holds a blank or a control character");
        }
        if written.contains('\\') {
            return refused("it holds a backslash");
        }
        let Ok(url) = Url::parse(written) else { return refused("it is no URL") };
        match url.scheme() {
            "https" => {}
            "http" if self.plain => {}
            "http" => return refused("it must be https"),
            _ => return refused("it must be http or https"),
        }
        if !url.username().is_empty() || url.password().is_some() || written.contains('@') {
            return refused("it holds a name or a password: use `credentials`");
        }
        if url.fragment().is_some() {
            return refused("it holds a fragment");
        }
        let Some(host) = url.host() else { return refused("it names no host") };
        if !is_written_plainly(&host, written) {
            return refused("its host is written in an unusual form");
        }
        if url.port_or_known_default().is_none_or(|port| port == 0 || !self.allows_port(port)) {
            return refused("its port is not allowed");
        }
        match host {
            Host::Domain(_) => {}
            Host::Ipv4(it) => self.address(IpAddr::V4(it), url.port_or_known_default())?,
            Host::Ipv6(it) => self.address(IpAddr::V6(it), url.port_or_known_default())?,
        }
        Ok(url)
    }

    fn allows_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.contains(&port)
    }

    /// Tests one resolved address.
    ///
    /// # Errors
    /// [`Refused`] when nobody may connect to it from here.
    pub fn address(&self, ip: IpAddr, port: Option<u16>) -> Result<(), Refused> {
        let inner = embedded(ip);
        for it in [Some(ip), inner].into_iter().flatten() {
            let allowed = match reach(it) {
                Reach::Never => false,
                Reach::Loopback => self.loopback,
                Reach::Private => self.private,
                // A translated address is as public as what it translates to.
                Reach::Public => self.public || (it == ip && inner.is_some()),
            };
            let never = |other: &SocketAddr| other.ip() == it && port.is_none_or(|port| port == other.port());
            if !allowed || self.never.iter().any(never) {
                return Err(Refused::Address(ip));
            }
        }
        Ok(())
    }
}

/// Why nobody is asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The address as it was written breaks a rule.
    #[error("the address is refused: {0}")]
    Written(&'static str),
    /// The name leads to an address that must not be reached from here.
    #[error("the address {0} must not be reached from here")]
    Address(IpAddr),
    /// The name leads nowhere.
    #[error("the name cannot be resolved")]
    Unresolved,
}

/// Whether the host stands in the address in its only plain form: no decimal, octal, hexadecimal or short IPv4
/// address, no trailing dot, no escaped or non-ASCII letters.
fn is_written_plainly(host: &Host<&str>, written: &str) -> bool {
    let Some((_, rest)) = written.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    match host {
        Host::Domain(it) => name.eq_ignore_ascii_case(it) && !it.ends_with('.'),
        Host::Ipv4(it) => name == it.to_string(),
        Host::Ipv6(it) => name.parse::<Ipv6Addr>().is_ok_and(|name| name == *it),
    }
}

/// Who can reach an address.
enum Reach {
    Never,
    Loopback,
    Private,
    Public,
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(it) => reach_v4(it),
        IpAddr::V6(it) => reach_v6(it),
    }
}

fn reach_v4(it: Ipv4Addr) -> Reach {
    let [a, b, c, d] = it.octets();
    // Metadata services that do not hide at a link-local address.
    let metadata = matches!([a, b, c, d], [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16]);
    if it.is_loopback() {
        Reach::Loopback
    } else if a == 0 || it.is_link_local() || it.is_multicast() || it.is_broadcast() || a >= 240 || metadata {
        Reach::Never
    } else if it.is_private() || (a == 100 && (64..128).contains(&b)) {
        Reach::Private
    } else if it.is_documentation() || (a, b, c) == (192, 0, 0) || (a == 198 && (18..20).contains(&b)) {
        Reach::Never
    } else {
        Reach::Public
    }
}

fn reach_v6(it: Ipv6Addr) -> Reach {
    let first = it.segments()[0];
    let metadata = it == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    if it.is_loopback() {
        Reach::Loopback
    } else if it.is_unspecified()
        || it.is_multicast()
        || metadata
        || it.is_unicast_link_local()
        || first & 0xffc0 == 0xfec0
    {
        Reach::Never
    } else if it.is_unique_local() {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// The IPv4 address within an IPv6 address: mapped, compatible, translated (NAT64), 6to4 or Teredo.
fn embedded(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(it) = ip else { return None };
    let s = it.segments();
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        [0x64, 0xff9b, .., high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        [0x2001, 0, .., high, low] => of(!high, !low),
        _ => None,
    }
}

/// How names become addresses.
#[derive(Clone, Default)]
pub enum Names {
    /// As this machine resolves them.
    #[default]
    System,
    /// By a list of answers, one per question, the last of which stays: for tests of names that change.
    Listed(Arc<Mutex<BTreeMap<String, VecDeque<Vec<IpAddr>>>>>),
}

impl Names {
    /// Names with a fixed sequence of answers each.
    #[must_use]
    pub fn listed<'a>(names: impl IntoIterator<Item = (&'a str, Vec<Vec<IpAddr>>)>) -> Self {
        let map = names.into_iter().map(|(name, answers)| (name.to_owned(), answers.into()));
        Self::Listed(Arc::new(Mutex::new(map.collect())))
    }

    async fn of(&self, name: &str) -> Vec<IpAddr> {
        match self {
            Self::System => {
                let found = tokio::net::lookup_host((name, 0)).await;
                found.map(|all| all.map(|it| it.ip()).collect()).unwrap_or_default()
            }
            Self::Listed(map) => {
                let Ok(mut map) = map.lock() else { return vec![] };
                match map.get_mut(name) {
                    Some(answers) if answers.len() > 1 => answers.pop_front().unwrap_or_default(),
                    Some(answers) => answers.front().cloned().unwrap_or_default(),
                    None => vec![],
                }
            }
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Listed(_) => "Listed",
        })
    }
}

/// Resolves names and lets through only answers of which every address may be reached.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) egress: Arc<Egress>,
    pub(super) names: Names,
    pub(super) port: Option<u16>,
    /// The name on a certificate, and whom it is looked for at instead.
    pub(super) instead: Option<(String, Host<String>)>,
}

impl Checked {
    async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, Refused> {
        let found = match &self.instead {
            Some((alias, Host::Ipv4(it))) if alias == name => vec![IpAddr::V4(*it)],
            Some((alias, Host::Ipv6(it))) if alias == name => vec![IpAddr::V6(*it)],
            Some((alias, Host::Domain(real))) if alias == name => self.names.of(real).await,
            Some(_) | None => self.names.of(name).await,
        };
        if found.is_empty() {
            return Err(Refused::Unresolved);
        }
        // One bad answer among good ones is a trap, not bad luck.
        found.iter().try_for_each(|it| self.egress.address(*it, self.port))?;
        Ok(found.into_iter().map(|it| SocketAddr::new(it, 0)).collect())
    }
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = this.addresses(name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
