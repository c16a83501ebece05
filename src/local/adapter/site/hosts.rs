//! Where hosts are. Looking one up may take seconds, so nobody waits for it but who needs the answer.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::{clock, written::Address};

/// How long the address of a host is taken for true.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// How long a host that was not found is not looked up again.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// Longest time one look may take.
const WITHIN: Duration = Duration::from_secs(2);
/// Hosts that are looked up at the same time; each may hold a thread for longer than its answer is waited for.
const AT_ONCE: usize = 4;

/// Finds the address of a host; `None`: it is not known.
type LookUp = Arc<dyn Fn(Address) -> BoxFuture<'static, Option<SocketAddr>> + Send + Sync>;

/// The hosts that a rollout leads to.
pub(super) struct Hosts {
    look_up: LookUp,
    hosts: BTreeMap<Address, Host>,
    queue: VecDeque<Address>,
    under_way: JoinSet<(Address, Option<SocketAddr>)>,
}

/// What is known of one.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    /// What was found last: an address of before is better than none.
    address: Option<SocketAddr>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Asked,
    Found(Timestamp),
    NotFound(Timestamp),
}

impl Default for Hosts {
    fn default() -> Self {
        Self::new(Arc::new(|host| Box::pin(look_up(host))))
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

async fn look_up(host: Address) -> Option<SocketAddr> {
    let found = tokio::net::lookup_host((host.host().to_owned(), host.port()));
    tokio::time::timeout(WITHIN, found).await.ok()?.ok()?.next()
}

impl Hosts {
    fn new(look_up: LookUp) -> Self {
        Self { look_up, hosts: BTreeMap::new(), queue: VecDeque::new(), under_way: JoinSet::new() }
    }

    /// These are the ones; others are forgotten. Those of which nothing fresh is known begin to be looked up.
    pub(super) fn want(&mut self, wanted: impl IntoIterator<Item = Address>, now: Timestamp) {
        let before = std::mem::take(&mut self.hosts);
        self.hosts = wanted
            .into_iter()
            .map(|it| {
                let known = before.get(&it).copied().unwrap_or_else(|| {
                    self.queue.push_back(it.clone());
                    Host::default()
                });
                (it, known)
            })
            .collect();
        for (name, host) in &mut self.hosts {
            let until = match host.state {
                State::Asked => continue,
                State::Found(at) => at + KNOWN_FOR,
                State::NotFound(at) => at + UNKNOWN_FOR,
            };
            if until <= now {
                host.state = State::Asked;
                self.queue.push_back(name.clone());
            }
        }
        self.begin(now);
    }

    /// Waits until more is known of one of them; never ready while none is looked up. Cancel safe.
    pub(super) async fn changed(&mut self) {
        match self.under_way.join_next().await {
            Some(Ok((host, found))) => self.found(&host, found, clock::now()),
            // A look that failed is no answer: it is repeated like one that found nothing.
            Some(Err(_)) => self.give_up(clock::now()),
            None => std::future::pending().await,
        }
    }

    /// Waits until every one has been looked up.
    pub(super) async fn all(&mut self) {
        while !self.under_way.is_empty() {
            self.changed().await;
        }
    }

    /// Where this one is, as far as is known.
    pub(super) fn address(&self, host: &Address) -> Option<SocketAddr> {
        self.hosts.get(host)?.address
    }

    /// Those that were looked up and not found.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &Address> {
        self.hosts.iter().filter(|(_, it)| matches!(it.state, State::NotFound(_))).map(|(host, _)| host)
    }

    fn begin(&mut self, now: Timestamp) {
        while self.under_way.len() < AT_ONCE {
            let Some(host) = self.queue.pop_front() else { return };
            match host.host().parse() {
                // An address is itself.
                Ok(ip) => self.know(&host, Some(SocketAddr::new(ip, host.port())), now),
                Err(_) if self.hosts.contains_key(&host) => {
                    let found = (self.look_up)(host.clone());
                    self.under_way.spawn(async move { (host, found.await) });
                }
                Err(_) => {}
            }
        }
    }

    fn found(&mut self, host: &Address, found: Option<SocketAddr>, now: Timestamp) {
        self.know(host, found, now);
        self.begin(now);
    }

    fn know(&mut self, host: &Address, found: Option<SocketAddr>, now: Timestamp) {
        // It may be wanted no longer.
        if let Some(host) = self.hosts.get_mut(host) {
            host.state = if found.is_some() { State::Found(now) } else { State::NotFound(now) };
            host.address = found.or(host.address);
        }
    }

    fn give_up(&mut self, now: Timestamp) {
        for host in self.hosts.values_mut().filter(|it| matches!(it.state, State::Asked)) {
            host.state = State::NotFound(now);
        }
        self.queue.clear();
        self.under_way.abort_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Address {
        format!("{name}:80").parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Hosts that begin with `slow` are never found nor not found; `none` is not found.
    fn hosts() -> Hosts {
        Hosts::new(Arc::new(|it| {
            Box::pin(async move {
                match it.host() {
                    name if name.starts_with("slow") => std::future::pending().await,
                    "none" => None,
                    _ => Some(SocketAddr::from(([10, 0, 0, 1], it.port()))),
                }
            })
        }))
    }

    #[tokio::test]
    async fn an_address_is_known_at_once_and_a_host_that_never_answers_holds_up_no_other() {
        let mut hosts = hosts();
        hosts.want([host("slow"), host("fast"), host("10.0.0.9")], at(0));
        assert_eq!(hosts.address(&host("10.0.0.9")), Some(([10, 0, 0, 9], 80).into()));
        while hosts.address(&host("fast")).is_none() {
            hosts.changed().await;
        }
        assert_eq!(hosts.address(&host("slow")), None);
        assert_eq!(hosts.unknown().count(), 0, "nobody knows yet");
    }

    #[tokio::test]
    async fn what_is_not_found_is_named_until_it_is_wanted_no_longer() {
        let mut hosts = hosts();
        hosts.want([host("none")], at(0));
        hosts.all().await;
        assert_eq!(hosts.unknown().collect::<Vec<_>>(), [&host("none")]);
        hosts.want([host("fast")], clock::now());
        assert_eq!(hosts.unknown().count(), 0);
    }

    #[tokio::test]
    async fn an_address_of_before_stays_while_the_host_is_looked_up_again() {
        let mut hosts = hosts();
        hosts.want([host("fast")], at(0));
        hosts.all().await;
        let found = hosts.address(&host("fast"));
        hosts.want([host("fast")], clock::now() + Duration::from_secs(60));
        assert_eq!((hosts.under_way.len(), hosts.address(&host("fast"))), (1, found));
        assert!(found.is_some());
    }

    #[tokio::test]
    async fn so_many_are_looked_up_at_once_and_the_others_follow() {
        let mut hosts = hosts();
        let many: Vec<Address> = (0..20).map(|it| host(&format!("host-{it}"))).collect();
        hosts.want(many.clone(), at(0));
        assert_eq!(hosts.under_way.len(), AT_ONCE);
        hosts.all().await;
        assert!(many.iter().all(|it| hosts.address(it).is_some()));
    }
}
