//! The listening sockets. The supervisor holds them, workers get copies: a worker that dies takes no waiting
//! connection with it, because all share one queue.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};

use super::protocol::{ListenerSeen, Refusal};

/// Connections the kernel holds while no worker takes them (it lowers this to `net.core.somaxconn`).
const BACKLOG: i32 = 4096;

#[derive(Debug)]
struct Bound {
    asked: SocketAddr,
    socket: TcpListener,
    address: SocketAddr,
}

/// Listening sockets by name.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    bound: BTreeMap<String, Bound>,
    /// Sockets that somebody else has opened, a service manager: kept open whether they are used or not, because who
    /// opened them keeps them too, and nobody else could listen there.
    offered: Vec<(SocketAddr, TcpListener)>,
}

impl Listeners {
    /// From now on these are used for their addresses.
    pub(super) fn offer(&mut self, sockets: Vec<OwnedFd>) -> io::Result<()> {
        for socket in sockets {
            let socket = TcpListener::from(socket);
            socket.set_nonblocking(true)?;
            self.offered.push((socket.local_addr()?, socket));
        }
        Ok(())
    }

    /// The sockets that somebody else has opened.
    pub(super) fn offered(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.offered.iter().map(|(_, socket)| socket.as_fd())
    }

    fn given(&self, address: SocketAddr) -> Option<OwnedFd> {
        let (_, socket) = self.offered.iter().find(|(at, _)| *at == address)?;
        socket.as_fd().try_clone_to_owned().ok()
    }

    /// Listens on exactly `wanted`; true if that changed anything. A socket that is wanted under another name keeps being
    /// the same socket.
    ///
    /// # Errors
    /// [`Refusal::Listen`] for the first address that is not to be had; nothing has changed then.
    pub(super) fn ensure(&mut self, wanted: &BTreeMap<String, SocketAddr>) -> Result<bool, Refusal> {
        let is_kept = |name: &String, bound: &Bound| wanted.get(name) == Some(&bound.asked);
        // A port of the kernel's choice belongs to its name; a fixed one to whoever wants it.
        let mut free: BTreeMap<SocketAddr, String> = self
            .bound
            .iter()
            .filter(|(name, bound)| !is_kept(name, bound) && bound.asked.port() != 0)
            .map(|(name, bound)| (bound.asked, name.clone()))
            .collect();
        let (mut fresh, mut renamed) = (BTreeMap::new(), Vec::new());
        for (name, asked) in wanted {
            if self.bound.get(name).is_some_and(|bound| is_kept(name, bound)) {
                continue;
            }
            match free.remove(asked) {
                Some(before) => renamed.push((before, name.clone())),
                None => drop(fresh.insert(name.clone(), self.bind(name, *asked)?)),
            }
        }
        let before = self.bound.len();
        let moved: Vec<(String, Bound)> = renamed
            .into_iter()
            .filter_map(|(before, name)| Some((name, self.bound.remove(&before)?)))
            .collect();
        self.bound.retain(|name, bound| is_kept(name, bound));
        let changed = before != self.bound.len() || !fresh.is_empty();
        self.bound.extend(fresh);
        self.bound.extend(moved);
        Ok(changed)
    }

    /// Takes over a socket of an earlier image of the supervisor.
    pub(super) fn adopt(&mut self, name: String, asked: SocketAddr, socket: OwnedFd) -> io::Result<()> {
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        self.bound.insert(name, Bound { asked, socket, address });
        Ok(())
    }

    /// Closes all: who knocks from now on is refused at once.
    pub(super) fn close(&mut self) {
        self.bound.clear();
        self.offered.clear();
    }

    pub(super) fn seen(&self) -> Vec<ListenerSeen> {
        let seen =
            |(name, bound): (&String, &Bound)| ListenerSeen { name: name.clone(), address: bound.address };
        self.bound.iter().map(seen).collect()
    }

    /// Copies of the sockets, in the order of [`Listeners::seen`].
    pub(super) fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        self.bound.values().map(|bound| bound.socket.as_fd().try_clone_to_owned()).collect()
    }

    fn bind(&self, name: &str, address: SocketAddr) -> Result<Bound, Refusal> {
        // Whoever opened a socket there already keeps it open.
        let bound = self.given(address).map_or_else(|| open(address), Ok).and_then(|socket| {
            let socket = TcpListener::from(socket);
            Ok((socket.local_addr()?, socket))
        });
        match bound {
            Ok((real, socket)) => Ok(Bound { asked: address, socket, address: real }),
            Err(error) => {
                let ours = self.bound.iter().find(|(_, bound)| bound.address.port() == address.port());
                let reason =
                    advise(&error, address, ours.map(|(name, bound)| (name.as_str(), bound.address)));
                Err(Refusal::Listen { name: name.to_owned(), address, reason })
            }
        }
    }

    /// Name, address asked for, socket.
    pub(super) fn each(&self) -> impl Iterator<Item = (&String, SocketAddr, BorrowedFd<'_>)> {
        self.bound.iter().map(|(name, bound)| (name, bound.asked, bound.socket.as_fd()))
    }
}

fn open(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    // Connections of an earlier run that linger must not keep us from our port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn advise(error: &io::Error, address: SocketAddr, ours: Option<(&str, SocketAddr)>) -> String {
    if let Some((name, at)) = ours.filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        return format!(
            "{error}: this instance itself listens on {at} ({name}), and both cannot be had at once; take another port \
             first"
        );
    }
    let advice = if error.kind() == io::ErrorKind::AddrInUse {
        ": another program listens there; stop it or choose another port"
    } else if error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024 {
        ": ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher port"
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        ": this machine has no such address"
    } else {
        ""
    };
    format!("{error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(&str, SocketAddr)]) -> BTreeMap<String, SocketAddr> {
        pairs.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect()
    }

    #[test]
    fn a_socket_that_is_given_serves_its_address_and_is_never_lost() {
        let given = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = given.local_addr().unwrap();
        let mut listeners = Listeners::default();
        listeners.offer(vec![given.into()]).unwrap();
        for _ in 0..2 {
            assert!(listeners.ensure(&wanted(&[("a", address)])).unwrap());
            assert_eq!(listeners.seen()[0].address, address);
            assert!(listeners.ensure(&wanted(&[])).unwrap());
        }
        assert_eq!(listeners.offered().count(), 1);
        listeners.close();
        TcpListener::bind(address).unwrap();
    }

    #[test]
    fn a_listener_that_stays_keeps_its_socket_and_one_not_to_be_had_changes_nothing() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut listeners = Listeners::default();
        assert!(listeners.ensure(&wanted(&[("a", any)])).unwrap());
        let before = listeners.seen();
        assert!(!listeners.ensure(&wanted(&[("a", any)])).unwrap());
        assert_eq!(listeners.seen(), before);
        let other = std::net::TcpListener::bind(any).unwrap();
        let taken = other.local_addr().unwrap();
        let error = listeners.ensure(&wanted(&[("b", taken)])).unwrap_err().to_string();
        assert!(error.contains("another program listens there"), "{error}");
        assert_eq!(listeners.seen(), before);
        assert!(listeners.ensure(&wanted(&[("b", any)])).unwrap());
        assert_eq!(listeners.seen().len(), 1);
        assert_eq!(listeners.copies().unwrap().len(), 1);
    }

    #[test]
    fn sockets_that_change_names_stay_the_same_and_nobody_is_in_their_way() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut listeners = Listeners::default();
        listeners.ensure(&wanted(&[("x", any), ("y", any)])).unwrap();
        let [one, other]: [SocketAddr; 2] =
            listeners.seen().iter().map(|it| it.address).collect::<Vec<_>>().try_into().unwrap();
        listeners.ensure(&BTreeMap::new()).unwrap();
        listeners.ensure(&wanted(&[("a", one), ("b", other)])).unwrap();
        let inode = |name: &str| rustix::fs::fstat(&listeners.bound[name].socket).unwrap().st_ino;
        let before = (inode("a"), inode("b"));
        assert!(listeners.ensure(&wanted(&[("a", other), ("b", one)])).unwrap());
        let inode = |name: &str| rustix::fs::fstat(&listeners.bound[name].socket).unwrap().st_ino;
        assert_eq!((inode("b"), inode("a")), before);
        assert_eq!(listeners.bound["a"].address, other);
    }

    #[test]
    fn who_is_in_the_way_is_named_rightly() {
        let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let mut listeners = Listeners::default();
        listeners.ensure(&wanted(&[("all", any)])).unwrap();
        let port = listeners.seen()[0].address.port();
        let one = SocketAddr::from(([127, 0, 0, 1], port));
        let error = listeners.ensure(&wanted(&[("all", any), ("one", one)])).unwrap_err().to_string();
        assert!(error.contains("this instance itself listens on 0.0.0.0"), "{error}");
    }
}
