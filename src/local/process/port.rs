//! Free ports for user processes, one per (rollout, arm, ordinal), kept as long as the process is.
//!
//! They come from below the kernel's range for outgoing connections, so that no connection of anybody takes a port
//! between two runs of a process. A port cannot be held open for a program that binds it itself without
//! `SO_REUSEADDR`; so it is reserved in the books, and a process that finds its port taken by a stranger says so in
//! its own log and is restarted with back-off.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

/// The range used when the kernel's own begins where it usually does.
const LOWEST: u16 = 10_240;

/// Which port belongs to whom.
#[derive(Debug)]
pub struct Ports<K> {
    range: RangeInclusive<u16>,
    next: u16,
    held: BTreeMap<u16, K>,
}

/// No port is left.
#[derive(Debug, thiserror::Error)]
#[error("no free port between {first} and {last}")]
pub struct NoPort {
    /// First port tried.
    pub first: u16,
    /// Last port tried.
    pub last: u16,
}

impl<K: Eq + Clone> Ports<K> {
    /// Ports of `range`, tried from the `start`-th on (any number: two supervisors should not begin at the same one).
    #[must_use]
    pub fn new(range: RangeInclusive<u16>, start: u16) -> Self {
        let size = u32::from(range.end() - range.start()) + 1;
        let offset = u16::try_from(u32::from(start) % size).unwrap_or(0);
        Self { next: range.start() + offset, range, held: BTreeMap::new() }
    }

    /// The port of `owner`; a free one is taken if it has none yet.
    ///
    /// # Errors
    /// When every port of the range is taken.
    pub fn of(&mut self, owner: &K) -> Result<u16, NoPort> {
        if let Some((port, _)) = self.held.iter().find(|(_, held_by)| *held_by == owner) {
            return Ok(*port);
        }
        for _ in self.range.clone() {
            let port = self.next;
            self.next = if port == *self.range.end() { *self.range.start() } else { port + 1 };
            if !self.held.contains_key(&port) && is_free(port) {
                self.held.insert(port, owner.clone());
                return Ok(port);
            }
        }
        Err(NoPort { first: *self.range.start(), last: *self.range.end() })
    }

    /// Notes a port that `owner` has from an earlier image of the supervisor.
    pub fn keep(&mut self, owner: K, port: u16) {
        self.held.insert(port, owner);
    }

    /// Gives back what `owner` holds.
    pub fn release(&mut self, owner: &K) {
        self.held.retain(|_, held_by| held_by != owner);
    }
}

/// Nobody listens there, neither on all addresses nor on loopback.
fn is_free(port: u16) -> bool {
    [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST].iter().all(|ip| TcpListener::bind((*ip, port)).is_ok())
}

/// The ports below the kernel's range for outgoing connections.
#[must_use]
pub fn below_ephemeral() -> RangeInclusive<u16> {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").and_then(|text| {
        let first = text.split_whitespace().next().and_then(|n| n.parse::<u16>().ok());
        first.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a range"))
    });
    match first {
        Ok(first) if first > LOWEST + 1_000 => LOWEST..=first - 1,
        // A kernel set up to use (nearly) all ports: any of the usual ones, checked when picked.
        Ok(_) | Err(_) => LOWEST..=32_767,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_keeps_its_port_until_it_is_released() {
        let mut ports = Ports::new(below_ephemeral(), 17);
        let first = ports.of(&"a").unwrap();
        let second = ports.of(&"b").unwrap();
        assert_ne!(first, second);
        assert_eq!(ports.of(&"a").unwrap(), first);
        ports.release(&"a");
        assert_eq!(ports.held.len(), 1);
    }

    #[test]
    fn a_port_somebody_listens_on_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports::new(port..=port, 0);
        assert_eq!(
            ports.of(&"a").unwrap_err().to_string(),
            format!("no free port between {port} and {port}")
        );
    }
}
