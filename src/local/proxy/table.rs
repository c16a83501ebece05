//! One listener's configuration, compiled: who serves a request.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use http::request::Parts;

use super::{
    backend::Endpoint,
    config::{ArmConfig, ArmName, Limits, ListenerConfig, Protocol, Timeouts, Upstream, WHOLE},
    counts::{RevisionCounts, Routed},
    matching::{Match, MatchError},
    sticky::{Assignment, Sticky},
    tls::Tls,
    urn::Urn,
};
use crate::clock;

/// A configuration can't be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("listener {listener}: weights sum to {sum}, not to {WHOLE}")]
    Sum { listener: String, sum: u64 },
    #[error("listener {listener}: {place} names arm {arm:?}, which is not among its arms")]
    UnknownArm { listener: String, place: String, arm: ArmName },
    #[error("listener {listener}: arm {arm:?} is draining but has weight, a match or a mirror")]
    DrainingIsUsed { listener: String, arm: ArmName },
    #[error("listener {listener}: mirror {arm:?} has {ppm} parts per million, more than {WHOLE}")]
    Mirror { listener: String, arm: ArmName, ppm: u32 },
    #[error("listener {listener}: match {id:?}: {source}")]
    Match { listener: String, id: String, source: MatchError },
    #[error(
        "listener {listener}: sticky needs a key of at least 16 bytes and a cookie name of token characters"
    )]
    Sticky { listener: String },
}

/// A destination, compiled.
pub(super) struct Arm {
    pub(super) name: ArmName,
    pub(super) listener: Rc<str>,
    pub(super) revision: String,
    pub(super) endpoints: Vec<Rc<Endpoint>>,
    pub(super) counts: Rc<RevisionCounts>,
    pub(super) upstream: Upstream,
    next: Cell<usize>,
}

/// A listener's configuration, compiled.
pub(super) struct Table {
    pub(super) arms: Vec<Rc<Arm>>,
    urn: Rc<RefCell<Urn>>,
    matches: Vec<Match>,
    mirrors: Vec<(usize, Rc<RefCell<Urn>>)>,
    sticky: Option<Sticky>,
    fallback: Option<usize>,
    pub(super) timeouts: Timeouts,
    pub(super) limits: Limits,
    pub(super) trust_forwarded: bool,
    pub(super) tls: Option<Arc<Tls>>,
}

/// Who serves a request.
pub(super) struct Picked {
    pub(super) arm: usize,
    pub(super) routed: Routed,
    /// To be told to the client.
    pub(super) assign: Option<Assignment>,
}

/// What a table is made from besides its configuration.
pub(super) struct Making<'a> {
    pub(super) listener: &'a Rc<str>,
    pub(super) before: Option<&'a Table>,
    pub(super) seed: u64,
    pub(super) endpoint: &'a dyn Fn(SocketAddr) -> Rc<Endpoint>,
    pub(super) counts: &'a dyn Fn(&str) -> Rc<RevisionCounts>,
}

impl Table {
    /// Compiles; draws go on where the table before left off, as far as weights are the same.
    pub(super) fn new(config: &ListenerConfig, making: &Making<'_>) -> Result<Self, TableError> {
        let listener = || making.listener.to_string();
        check_sum(config, making.listener)?;
        let names = order(config);
        let find = |place: &str, arm: &ArmName| {
            let unknown =
                || TableError::UnknownArm { listener: listener(), place: place.to_owned(), arm: arm.clone() };
            names.iter().position(|name| *name == arm).ok_or_else(unknown)
        };
        for arm in config.split.keys() {
            find("split", arm)?;
        }
        check_draining(config, making.listener)?;
        let arms = names.iter().map(|name| Rc::new(Arm::new(name, &config.arms[*name], making))).collect();
        let matches = config.matches.iter().map(|config| {
            let failed = |source| TableError::Match { listener: listener(), id: config.id.clone(), source };
            Match::compile(config, find(&format!("match {:?}", config.id), &config.to)?).map_err(failed)
        });
        let matches = matches.collect::<Result<Vec<_>, _>>()?;
        let weights = names.iter().map(|name| config.split.get(*name).copied().unwrap_or(0)).collect();
        let urn = reuse(making.before.map(|before| &before.urn), weights, making.seed);
        let tls = match &config.protocol {
            Protocol::Http => None,
            Protocol::Tls { certificate, key } => {
                let before = making.before.and_then(|before| before.tls.as_ref());
                Some(Tls::open(certificate, key, before, clock::instant()))
            }
        };
        let sticky = match &config.sticky {
            None => None,
            Some(sticky) => {
                let made = Sticky::new(sticky.clone(), making.listener, tls.is_some());
                Some(made.ok_or_else(|| TableError::Sticky { listener: listener() })?)
            }
        };
        let fallback = config.fallback.as_ref().map(|arm| find("fallback", arm)).transpose()?;
        let mut mirrors = Vec::with_capacity(config.mirrors.len());
        for (at, (arm, &ppm)) in config.mirrors.iter().enumerate() {
            if ppm > WHOLE {
                return Err(TableError::Mirror { listener: listener(), arm: arm.clone(), ppm });
            }
            let seed = making.seed.rotate_left(17).wrapping_add(at as u64 + 1);
            let before = making.before.and_then(|before| before.mirror_urn(arm));
            mirrors.push((find("mirror", arm)?, reuse(before.as_ref(), vec![ppm, WHOLE - ppm], seed)));
        }
        Ok(Self {
            arms,
            urn,
            matches,
            mirrors,
            sticky,
            fallback,
            timeouts: config.timeouts.clone(),
            limits: config.limits.clone(),
            trust_forwarded: config.trust_forwarded,
            tls,
        })
    }

    fn mirror_urn(&self, name: &str) -> Option<Rc<RefCell<Urn>>> {
        self.mirrors.iter().find(|(arm, _)| self.arms[*arm].name == name).map(|(_, urn)| Rc::clone(urn))
    }

    /// Who serves the request; `None` when no arm has weight.
    pub(super) fn pick(&self, request: &Parts, now_s: impl Fn() -> u64) -> Option<Picked> {
        if let Some(fits) = self.matches.iter().find(|fits| fits.fits(request)) {
            return Some(Picked { arm: fits.to, routed: Routed::Match, assign: None });
        }
        let Some(sticky) = &self.sticky else {
            let arm = self.urn.borrow_mut().draw()?;
            return Some(Picked { arm, routed: Routed::Weight, assign: None });
        };
        let now_s = now_s();
        match sticky.read(&request.headers, now_s).and_then(|assigned| self.stick(assigned)) {
            Some(picked) => Some(picked),
            None => {
                let arm = self.urn.borrow_mut().draw()?;
                let position = self.position_within(arm);
                let assign = Assignment {
                    revision: self.arms[arm].revision.clone(),
                    position,
                    expires_s: sticky.expires_s(now_s),
                };
                Some(Picked { arm, routed: Routed::Weight, assign: Some(assign) })
            }
        }
    }

    /// The arm that owns the assigned position; `None` when the assignment's revision is no longer here.
    fn stick(&self, assigned: Assignment) -> Option<Picked> {
        self.arms.iter().find(|arm| arm.revision == assigned.revision)?;
        let mut end = 0;
        let urn = self.urn.borrow();
        let arm = urn.weights().iter().position(|weight| {
            end += weight;
            assigned.position < end
        })?;
        let revision = &self.arms[arm].revision;
        let moved = *revision != assigned.revision;
        let assign = moved.then(|| Assignment { revision: revision.clone(), ..assigned });
        Some(Picked { arm, routed: Routed::Sticky, assign })
    }

    fn position_within(&self, arm: usize) -> u32 {
        let mut urn = self.urn.borrow_mut();
        let start: u32 = urn.weights()[..arm].iter().sum();
        let width = urn.weights()[arm];
        start + urn.random_below(width)
    }

    /// The cookie that tells an assignment.
    pub(super) fn cookie(&self, assign: &Assignment, now_s: u64) -> Option<http::HeaderValue> {
        self.sticky.as_ref()?.write(assign, now_s)
    }

    /// The arm that takes over when `arm` could not even be connected to.
    pub(super) fn instead_of(&self, arm: usize) -> Option<usize> {
        self.fallback.filter(|&fallback| fallback != arm)
    }

    /// Arms that get a copy of a request which `arm` serves.
    pub(super) fn mirrored(&self, arm: usize) -> impl Iterator<Item = usize> {
        let others = self.mirrors.iter().filter(move |(to, _)| *to != arm);
        others.filter(|(_, urn)| urn.borrow_mut().flip()).map(|(to, _)| *to)
    }

    pub(super) fn mirrors(&self) -> bool {
        !self.mirrors.is_empty()
    }
}

fn reuse(before: Option<&Rc<RefCell<Urn>>>, weights: Vec<u32>, seed: u64) -> Rc<RefCell<Urn>> {
    match before {
        Some(urn) if urn.borrow().weights() == weights => Rc::clone(urn),
        Some(_) | None => Rc::new(RefCell::new(Urn::new(weights, seed))),
    }
}

/// The fallback last: positions then move from it to the others as their weights rise, and back as they fall.
fn order(config: &ListenerConfig) -> Vec<&ArmName> {
    let is_fallback = |name: &&ArmName| config.fallback.as_ref() == Some(*name);
    let others = config.arms.keys().filter(|name| !is_fallback(name));
    others.chain(config.arms.keys().filter(is_fallback)).collect()
}

fn check_sum(config: &ListenerConfig, listener: &str) -> Result<(), TableError> {
    let sum: u64 = config.split.values().map(|&ppm| u64::from(ppm)).sum();
    if config.split.is_empty() || sum == u64::from(WHOLE) {
        return Ok(());
    }
    Err(TableError::Sum { listener: listener.to_owned(), sum })
}

fn check_draining(config: &ListenerConfig, listener: &str) -> Result<(), TableError> {
    for (arm, _) in config.arms.iter().filter(|(_, config)| config.draining) {
        let weighs = |weights: &BTreeMap<ArmName, u32>| weights.get(arm).is_some_and(|&ppm| ppm > 0);
        let matched = config.matches.iter().any(|fits| fits.to == *arm);
        if weighs(&config.split)
            || weighs(&config.mirrors)
            || matched
            || config.fallback.as_ref() == Some(arm)
        {
            return Err(TableError::DrainingIsUsed { listener: listener.to_owned(), arm: arm.clone() });
        }
    }
    Ok(())
}

impl Arm {
    fn new(name: &ArmName, config: &ArmConfig, making: &Making<'_>) -> Self {
        Self {
            name: name.clone(),
            listener: Rc::clone(making.listener),
            revision: config.revision.clone(),
            endpoints: config.endpoints.iter().map(|&address| (making.endpoint)(address)).collect(),
            counts: (making.counts)(&config.revision),
            upstream: config.upstream,
            next: Cell::new(0),
        }
    }

    /// The least busy backend that is not left out; when all are, the one whose time is over first, because a
    /// refused attempt costs less than refusing everybody after it has come back.
    pub(super) fn choose(&self, now: Instant, tried: &[SocketAddr]) -> Option<&Rc<Endpoint>> {
        let n = self.endpoints.len();
        let start = self.next.get();
        self.next.set(start.wrapping_add(1));
        let candidates = (0..n).map(|at| &self.endpoints[start.wrapping_add(at) % n]);
        let candidates = candidates.filter(|endpoint| !tried.contains(&endpoint.address()));
        let chosen = candidates.min_by_key(|endpoint| {
            let out = endpoint.is_ejected(now).then(|| endpoint.ejected_until());
            (out, endpoint.in_flight())
        })?;
        chosen.is_tried_now(now);
        Some(chosen)
    }
}
