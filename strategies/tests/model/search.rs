//! Breadth first over every state, so that a counterexample is a shortest one; and backwards from the good ends.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use strategies::{Verdict, invariants::Violation};

use super::{
    act::Act,
    bridge::Model,
    coverage::Coverage,
    eval::Memo,
    state::{Flight, Lag, Packed, St},
};

/// How far and with what.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub states: usize,
    pub threads: usize,
    /// Whether to look for states without a way to a good end.
    pub live: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    pub complete: bool,
    pub coverage: Coverage,
    pub good: usize,
    pub failure: Option<Failure>,
}

/// A broken property and the shortest way to it.
#[derive(Debug)]
pub struct Failure {
    pub violation: Violation,
    pub trace: Vec<Act>,
}

/// 64 bits of a state; never 0. Two of 50 million differing states share them with probability 10⁻⁴.
pub fn fingerprint(words: &Packed) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for word in words {
        hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53).rotate_left(23);
    }
    hash ^= hash >> 29;
    hash.max(1)
}

/// Fingerprints of the states that were met, each with the place of the one it was first met from.
struct Met {
    keys: Vec<AtomicU64>,
    parents: Vec<AtomicU32>,
    count: AtomicUsize,
}

impl Met {
    fn new(states: usize) -> Self {
        let slots = (states * 2).next_power_of_two().max(1 << 12);
        Self {
            keys: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            parents: (0..slots).map(|_| AtomicU32::new(u32::MAX)).collect(),
            count: AtomicUsize::new(0),
        }
    }

    /// Where the state is kept, and whether it is new.
    fn insert(&self, key: u64, parent: u32) -> (u32, bool) {
        let mask = self.keys.len() - 1;
        let mut slot = usize::try_from(key).unwrap() & mask;
        loop {
            match self.keys[slot].compare_exchange(0, key, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.parents[slot].store(parent, Ordering::Release);
                    self.count.fetch_add(1, Ordering::Relaxed);
                    return (u32::try_from(slot).unwrap(), true);
                }
                Err(found) if found == key => return (u32::try_from(slot).unwrap(), false),
                Err(_) => slot = (slot + 1) & mask,
            }
        }
    }

    /// The fingerprints from the first state to the one at `slot`.
    fn way_to(&self, slot: u32) -> Vec<u64> {
        let mut way = vec![];
        let mut at = slot;
        while at != u32::MAX {
            way.push(self.keys[at as usize].load(Ordering::Acquire));
            at = self.parents[at as usize].load(Ordering::Acquire);
        }
        way.reverse();
        way
    }
}

#[derive(Default)]
struct Found {
    next: Vec<(u32, Packed)>,
    edges: Vec<(u32, u32)>,
    good: Vec<u32>,
    transitions: usize,
    failures: Vec<(u32, Option<Act>, Violation)>,
}

/// Explores a configuration.
pub fn search(model: &Model, bounds: Bounds) -> Report {
    let met = Met::new(bounds.states + 2_000_000.min(bounds.states));
    let init = model.init().pack();
    let (root, _) = met.insert(fingerprint(&init), u32::MAX);
    let mut frontier = vec![(root, init)];
    let mut report = Report { complete: true, ..Report::default() };
    let (mut edges, mut good, mut unknown) = (vec![], vec![], BTreeSet::new());
    let memos: Vec<Mutex<Memo>> = (0..bounds.threads).map(|_| Mutex::new(Memo::new())).collect();
    while !frontier.is_empty() {
        let found = level(model, &met, &frontier, bounds, &memos);
        report.transitions += found.transitions;
        edges.extend(found.edges);
        good.extend(found.good);
        if let Some((slot, act, violation)) = found.failures.into_iter().next() {
            let mut trace = retrace(model, &met.way_to(slot));
            trace.extend(act);
            report.failure = Some(Failure { violation, trace });
            report.complete = false;
            break;
        }
        frontier = found.next;
        report.depth += 1;
        if met.count.load(Ordering::Relaxed) >= bounds.states && !frontier.is_empty() {
            report.complete = false;
            unknown.extend(frontier.iter().map(|(slot, _)| *slot));
            break;
        }
    }
    report.states = met.count.load(Ordering::Relaxed);
    report.good = good.len();
    for memo in memos {
        report.coverage.0.extend(memo.into_inner().unwrap().coverage.0);
    }
    if bounds.live && report.failure.is_none() {
        good.extend(unknown);
        report.failure = stuck(model, &met, &edges, &good);
    }
    report
}

/// Everything that follows from one level.
fn level(
    model: &Model,
    met: &Met,
    frontier: &[(u32, Packed)],
    bounds: Bounds,
    memos: &[Mutex<Memo>],
) -> Found {
    let cursor = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let work = |memo: &mut Memo| {
        let mut found = Found::default();
        loop {
            let from = cursor.fetch_add(CHUNK, Ordering::Relaxed);
            if from >= frontier.len() || stop.load(Ordering::Relaxed) {
                return found;
            }
            for (slot, words) in &frontier[from..frontier.len().min(from + CHUNK)] {
                expand(model, met, *slot, words, bounds, memo, &mut found);
                if !found.failures.is_empty() {
                    stop.store(true, Ordering::Relaxed);
                    return found;
                }
            }
        }
    };
    if frontier.len() < CHUNK * 2 || memos.len() == 1 {
        return work(&mut memos[0].lock().unwrap());
    }
    let parts: Vec<Found> = std::thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> =
            memos.iter().map(|memo| scope.spawn(move || work(&mut memo.lock().unwrap()))).collect();
        handles.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let mut all = Found::default();
    for mut part in parts {
        all.next.append(&mut part.next);
        all.edges.append(&mut part.edges);
        all.good.append(&mut part.good);
        all.failures.append(&mut part.failures);
        all.transitions += part.transitions;
    }
    all
}

const CHUNK: usize = 256;

fn expand(
    model: &Model,
    met: &Met,
    slot: u32,
    words: &Packed,
    bounds: Bounds,
    memo: &mut Memo,
    found: &mut Found,
) {
    let st = St::unpack(words);
    let seen = model.eval(&model.seen(&st), memo);
    let truth =
        if st.lag == Lag::None { seen.clone() } else { model.eval(&St { lag: Lag::None, ..st }, memo) };
    let broken = model.check_state(&st, memo).into_iter().chain(seen.violations.iter().cloned()).next();
    if let Some(violation) = broken {
        found.failures.push((slot, None, violation));
        return;
    }
    if truth.good && st.flights == [Flight::None; 2] && st.lag == Lag::None && st.durable.is_none() {
        found.good.push(slot);
    }
    let mut acts = vec![];
    model.acts(&st, &truth, &mut acts);
    for act in acts {
        let landing = match act {
            Act::Land(at) => model.check_landing(&st, st.flights[usize::from(at)]),
            Act::Step => model.check_landing(&st, seen.flight),
            _ => vec![],
        };
        let Some(next) = model.step(&st, act, &seen, &truth) else { continue };
        if let Some(violation) = landing.into_iter().next() {
            found.failures.push((slot, Some(act), violation));
            return;
        }
        found.transitions += 1;
        let packed = next.pack();
        let (to, new) = met.insert(fingerprint(&packed), slot);
        if new {
            found.next.push((to, packed));
        }
        if bounds.live && act.helps() {
            found.edges.push((slot, to));
        }
    }
}

/// The first states that are met, at most so many.
pub fn first_states(model: &Model, most: usize) -> Vec<St> {
    let mut memo = Memo::new();
    let mut states = vec![model.init()];
    let mut met = BTreeSet::from([states[0].pack()]);
    let mut at = 0;
    while at < states.len() && states.len() < most {
        let st = states[at];
        let (seen, truth) =
            (model.eval(&model.seen(&st), &mut memo), model.eval(&St { lag: Lag::None, ..st }, &mut memo));
        let mut acts = vec![];
        model.acts(&st, &truth, &mut acts);
        let nexts = acts.into_iter().filter_map(|act| model.step(&st, act, &seen, &truth));
        states.extend(nexts.filter(|it| met.insert(it.pack())));
        at += 1;
    }
    states
}

/// The acts that lead through these states.
fn retrace(model: &Model, way: &[u64]) -> Vec<Act> {
    let mut memo = Memo::new();
    let mut st = model.init();
    let mut trace = vec![];
    for key in &way[1..] {
        let (seen, truth) =
            (model.eval(&model.seen(&st), &mut memo), model.eval(&St { lag: Lag::None, ..st }, &mut memo));
        let mut acts = vec![];
        model.acts(&st, &truth, &mut acts);
        let (act, next) = acts
            .into_iter()
            .filter_map(|act| Some((act, model.step(&st, act, &seen, &truth)?)))
            .find(|(_, next)| fingerprint(&next.pack()) == *key)
            .expect("the way was walked before");
        trace.push(act);
        st = next;
    }
    trace
}

/// A state from which no good end can be reached by the machine and a world that recovers.
fn stuck(model: &Model, met: &Met, edges: &[(u32, u32)], good: &[u32]) -> Option<Failure> {
    let slots = met.keys.len();
    let mut first = vec![0_u32; slots + 1];
    for (_, to) in edges {
        first[*to as usize + 1] += 1;
    }
    for slot in 0..slots {
        first[slot + 1] += first[slot];
    }
    let mut fill = first.clone();
    let mut back = vec![0_u32; edges.len()];
    for (from, to) in edges {
        back[fill[*to as usize] as usize] = *from;
        fill[*to as usize] += 1;
    }
    let mut safe = vec![false; slots];
    let mut open: Vec<u32> = vec![];
    for slot in good {
        if !std::mem::replace(&mut safe[*slot as usize], true) {
            open.push(*slot);
        }
    }
    while let Some(slot) = open.pop() {
        let range = first[slot as usize] as usize..first[slot as usize + 1] as usize;
        for from in &back[range] {
            if !std::mem::replace(&mut safe[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    let lost = (0..slots).filter(|it| met.keys[*it].load(Ordering::Relaxed) != 0 && !safe[*it]);
    let lost: Vec<u32> = lost.map(|it| u32::try_from(it).unwrap()).collect();
    let nearest = lost.iter().min_by_key(|it| met.way_to(**it).len())?;
    let message = format!("{} states have no way to a good end", lost.len());
    Some(Failure { violation: Violation { id: "L1", message }, trace: retrace(model, &met.way_to(*nearest)) })
}

/// A failure for people: every act that leads to it, what the machine says next, and where a stuck one halts.
pub fn narrate(model: &Model, failure: &Failure) -> Vec<String> {
    let mut memo = Memo::new();
    let mut st = model.init();
    let mut lines = vec![];
    for act in &failure.trace {
        let (seen, truth) =
            (model.eval(&model.seen(&st), &mut memo), model.eval(&St { lag: Lag::None, ..st }, &mut memo));
        let decides = matches!(act, Act::Step | Act::Prepare(_));
        let says = if decides { format!(": {}", model.describe(&model.seen(&st))) } else { String::new() };
        lines.push(format!("{act}{says}"));
        match model.step(&st, *act, &seen, &truth) {
            Some(next) => st = next,
            None => lines.push("  (changes nothing)".to_owned()),
        }
    }
    if failure.violation.id == "L1" {
        lines.push("  and then, with nothing in the way:".to_owned());
        lines.extend(std::iter::from_fn(|| go_on(model, &mut st, &mut memo)).take(MOST_ONWARDS));
    }
    let view = model.expand(&st);
    lines.push(format!("=> {}", model.describe(&model.seen(&st))));
    lines.push(format!("status {:?}", view.status));
    for (arm, seen) in &view.world.arms {
        lines.push(format!("arm {arm} {:?}", seen.get()));
    }
    for ((id, seen), raw) in view.world.routes.iter().zip(&st.routes) {
        lines.push(format!("route {id} {seen:?} really {:?}", model.split(&st, raw.actual)));
    }
    lines.push(format!("owner {:?} orders {:?} ran {:?}", view.world.owner, view.orders, view.world.ran));
    lines
}

/// So many acts show where a stuck rollout comes to a halt.
const MOST_ONWARDS: usize = 60;

/// What the machine does next where the world does at once what it is asked and time is the last to move.
fn go_on(model: &Model, st: &mut St, memo: &mut Memo) -> Option<String> {
    let (seen, truth) = (model.eval(&model.seen(st), memo), model.eval(&St { lag: Lag::None, ..*st }, memo));
    let mut acts = vec![];
    model.acts(st, &truth, &mut acts);
    acts.retain(|it| it.helps() && !matches!(it, Act::Verdict(_, verdict) if *verdict != Verdict::Pass));
    acts.sort_by_key(|it| *it == Act::Wake);
    let (act, next) = acts.into_iter().find_map(|act| Some((act, model.step(st, act, &seen, &truth)?)))?;
    let says = match act {
        Act::Step | Act::Prepare(_) => format!(": {}", model.describe(&model.seen(st))),
        _ => String::new(),
    };
    *st = next;
    Some(format!("{act}{says}"))
}
