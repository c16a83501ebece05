//! Traces that kill mutants: found by a search, kept as text, and replayed.

use strategies::mutant::Mutant;

use super::{
    act::Act,
    bridge::Model,
    config::{self, Config},
    eval::Memo,
    search::{Bounds, Report, search},
    state::{Flight, Lag, St},
};

/// A defect: of the machine, or of what surrounds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Defect {
    Machine(Mutant),
    /// Writes carry no version.
    BlindWrites,
    /// The runtime acts on a status that is not on the disk.
    ActsUnsynced,
}

/// A configuration and acts that a defect does not survive.
pub struct Kill {
    pub config: String,
    pub breaks: String,
    pub acts: Vec<Act>,
}

impl Defect {
    pub fn all() -> Vec<Self> {
        let machine = Mutant::ALL.iter().copied().map(Self::Machine);
        machine.chain([Self::BlindWrites, Self::ActsUnsynced]).collect()
    }

    pub fn name(self) -> String {
        let name = match self {
            Self::Machine(mutant) => format!("{mutant:?}"),
            other @ (Self::BlindWrites | Self::ActsUnsynced) => format!("{other:?}"),
        };
        let mut kebab = String::new();
        for (at, it) in name.char_indices() {
            if it.is_uppercase() && at > 0 {
                kebab.push('-');
            }
            kebab.extend(it.to_lowercase());
        }
        kebab
    }

    pub fn model(self, config: Config) -> Model {
        let config = match self {
            Self::Machine(_) => config,
            Self::BlindWrites => Config { blind: true, ..config },
            Self::ActsUnsynced => Config { acts_unsynced: true, ..config },
        };
        let mut model = Model::new(config);
        if let Self::Machine(mutant) = self {
            model.mutant = Some(mutant);
        }
        model
    }

    /// The shortest way to see it in the first configuration that shows it, with more and more effort.
    pub fn hunt(self, places: &[String], states: usize, threads: usize) -> Option<Kill> {
        let place = |it: &Config| places.is_empty() || places.iter().any(|name| name == it.name);
        let efforts = [2_000, 15_000, states].into_iter().filter(|it| *it <= states);
        efforts.into_iter().find_map(|states| {
            config::all().into_iter().filter(place).find_map(|it| self.seek(it, states, threads))
        })
    }

    fn seek(self, config: Config, states: usize, threads: usize) -> Option<Kill> {
        let (name, live) = (config.name.to_owned(), config.live);
        let report: Report = search(&self.model(config), Bounds { states, threads, live });
        let failure = report.failure?;
        Some(Kill { config: name, breaks: failure.violation.id.to_owned(), acts: failure.trace })
    }
}

impl Kill {
    pub fn read(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|it| !it.is_empty() && !it.starts_with('#'));
        let mut head = |key: &str| {
            let line = lines.next().unwrap_or_default();
            line.strip_prefix(key)
                .map(str::to_owned)
                .ok_or_else(|| format!("expected `{key}`, found `{line}`"))
        };
        let (config, breaks) = (head("config: ")?, head("breaks: ")?);
        Ok(Self { config, breaks, acts: lines.map(str::parse).collect::<Result<_, _>>()? })
    }

    pub fn write(&self) -> String {
        let acts: String = self.acts.iter().map(|it| format!("{it}\n")).collect();
        format!("config: {}\nbreaks: {}\n\n{acts}", self.config, self.breaks)
    }

    fn config(&self) -> Config {
        config::all().into_iter().find(|it| it.name == self.config).expect("a configuration of the model")
    }

    /// What the trace breaks with the defect switched on.
    pub fn with(&self, defect: Defect) -> Option<String> {
        replay(&defect.model(self.config()), &self.acts, self.breaks == "L1")
    }

    /// Whether the trace breaks what it says with the defect, and nothing without.
    pub fn holds(&self, defect: Defect) -> bool {
        self.with(defect).as_ref() == Some(&self.breaks) && self.without().is_none()
    }

    /// What it breaks without.
    pub fn without(&self) -> Option<String> {
        replay(&Model::new(self.config()), &self.acts, self.breaks == "L1")
    }
}

/// Walks along a trace, leaving out what cannot happen, and says what is broken on the way or at its end.
fn replay(model: &Model, acts: &[Act], live: bool) -> Option<String> {
    let mut memo = Memo::new();
    let mut st = model.init();
    for act in acts.iter().map(Some).chain([None]) {
        let seen = model.eval(&model.seen(&st), &mut memo);
        let truth = model.eval(&St { lag: Lag::None, ..st }, &mut memo);
        let broken = model.check_state(&st, &mut memo);
        if let Some(it) = broken.iter().chain(&seen.violations).next() {
            return Some(it.id.to_owned());
        }
        let Some(act) = act else { break };
        let mut possible = vec![];
        model.acts(&st, &truth, &mut possible);
        if !possible.contains(act) {
            continue;
        }
        let landing = match act {
            Act::Land(at) => model.check_landing(&st, st.flights[usize::from(*at)]),
            Act::Step => model.check_landing(&st, seen.flight),
            _ => vec![],
        };
        if let Some(it) = landing.first() {
            return Some(it.id.to_owned());
        }
        if let Some(next) = model.step(&st, *act, &seen, &truth) {
            st = next;
        }
    }
    (live && !recovers(model, st, &mut memo)).then(|| "L1".to_owned())
}

/// Whether the machine and a recovering world reach a good end from here.
fn recovers(model: &Model, from: St, memo: &mut Memo) -> bool {
    let mut met = std::collections::BTreeSet::from([from.pack()]);
    let mut open = std::collections::VecDeque::from([from]);
    while let Some(st) = open.pop_front() {
        let seen = model.eval(&model.seen(&st), memo);
        let truth = model.eval(&St { lag: Lag::None, ..st }, memo);
        if truth.good && st.flights == [Flight::None; 2] && st.lag == Lag::None && st.durable.is_none() {
            return true;
        }
        let mut acts = vec![];
        model.acts(&st, &truth, &mut acts);
        for act in acts.into_iter().filter(|it| it.helps()) {
            if let Some(next) = model.step(&st, act, &seen, &truth)
                && met.insert(next.pack())
            {
                open.push_back(next);
            }
        }
    }
    false
}
