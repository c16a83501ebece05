//! Where a process listens, as the kernel tells: for one that does not where it should.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::family::Family;

/// State of a socket that listens, as `/proc/net/tcp` writes it.
const LISTENS: &str = "0A";

/// The addresses on which a process or one that it started listens; nothing where that cannot be seen.
#[must_use]
pub fn listening(pid: u32) -> BTreeSet<SocketAddr> {
    let members = Family { leader: pid, marks: vec![] }.members();
    let sockets: BTreeSet<u64> =
        members.into_iter().map(|it| it.pid).chain([pid]).flat_map(sockets_of).collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|it| fs::read_to_string(it).unwrap_or_default());
    let all = tables.iter().flat_map(|it| it.lines().skip(1)).filter_map(listener);
    all.filter(|(inode, _)| sockets.contains(inode)).map(|(_, address)| address).collect()
}

/// Where else it listens than at `wanted`, in words and with what to do; `None`: there, or that is not known.
#[must_use]
pub fn elsewhere(pid: u32, wanted: SocketAddr) -> Option<String> {
    advice(&listening(pid), wanted)
}

fn advice(found: &BTreeSet<SocketAddr>, wanted: SocketAddr) -> Option<String> {
    let reaches =
        |it: &&SocketAddr| it.port() == wanted.port() && (it.ip() == wanted.ip() || it.ip().is_unspecified());
    if found.is_empty() || found.iter().any(|it| reaches(&it)) {
        return None;
    }
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    let cure = match found.iter().any(|it| it.port() == wanted.port()) {
        true => format!("it has to listen on {}", wanted.ip()),
        false => {
            format!("its port is {}, in the variable PORT and as `$(port)` in the command", wanted.port())
        }
    };
    Some(format!("it listens on {}; {cure}", list.join(", ")))
}

fn sockets_of(pid: u32) -> Vec<u64> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let inode =
        |link: &std::path::Path| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    files.filter_map(|it| inode(&fs::read_link(it.path()).ok()?)).collect()
}

/// Inode and address of a line of `/proc/net/tcp` or `tcp6`, if it is of a socket that listens.
fn listener(line: &str) -> Option<(u64, SocketAddr)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTENS {
        return None;
    }
    Some((fields.get(9)?.parse().ok()?, address(fields.get(1)?)?))
}

/// `0100007F:1F90`: each group of four bytes as the machine keeps a number, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let group = |index: usize| {
        u32::from_str_radix(host.get(index * 8..index * 8 + 8)?, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match host.len() {
        8 => IpAddr::from(Ipv4Addr::from(group(0)?)),
        32 => {
            let groups = [group(0)?, group(1)?, group(2)?, group(3)?];
            let bytes: [u8; 16] = groups.concat().try_into().ok()?;
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_where_it_listens() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let own = listener.local_addr().unwrap();
            assert!(listening(std::process::id()).contains(&own), "{own}");
        }
    }

    #[track_caller]
    fn check(found: &[&str], expected: Option<&str>) {
        let found = found.iter().map(|it| it.parse().unwrap()).collect();
        let said = advice(&found, "127.0.0.1:10300".parse().unwrap());
        match (&said, expected) {
            (None, None) => {}
            (Some(said), Some(part)) if said.contains(part) => {}
            _ => panic!("{said:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn only_who_cannot_be_reached_there_listens_elsewhere() {
        check(&[], None);
        check(&["127.0.0.1:10300"], None);
        check(&["0.0.0.0:10300", "0.0.0.0:9"], None);
        check(&["[::]:10300"], None);
        check(&["0.0.0.0:3000"], Some("it listens on 0.0.0.0:3000; its port is 10300"));
        check(&["[::1]:10300"], Some("has to listen on 127.0.0.1"));
    }
}
