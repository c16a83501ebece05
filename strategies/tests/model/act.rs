//! What can happen next.

use std::{fmt, str::FromStr};

use strategies::{Action, Verdict};

/// One thing that the machine, its environment or a person does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// A controller decides, and the decision takes effect at once.
    Step,
    /// A controller decides; the decision is on its way.
    Prepare(u8),
    /// The decision arrives, and takes effect if its object is as it was.
    Land(u8),
    /// The decision is lost: a crash, a refused connection.
    Lose(u8),
    /// The last save reaches the disk.
    Sync,
    /// A replica gets ready.
    Ready(u8),
    /// A data plane acknowledges what its route asks for.
    Ack(u8),
    /// A data plane does what its route asks for.
    Apply(u8),
    /// The instance manager arrives where it was sent.
    Owner,
    /// The instance manager sets right what it owns.
    Heal,
    /// Time passes until somebody asked to be woken.
    Wake,
    /// An analysis ends.
    Verdict(u8, Verdict),
    /// The lagging cache catches up.
    Fresh,
    /// Another revision is wanted.
    Push(u8),
    /// A person orders something about the present attempt, or the one before it.
    Order(Action, bool),
    /// All orders are withdrawn.
    Withdraw,
    /// The Rollout is deleted.
    Leave,
    /// Its mode changes.
    Mode(u8),
    /// Its plan is edited.
    Edit(u8),
    /// Another number of replicas is wanted.
    Scale,
    /// A ready replica is lost.
    Loss(u8),
    /// Somebody else changes a route: everything to the canary, to stable, or to whatever is ready.
    Drift(u8, u8),
    /// From now on a controller sees one object as it is now, or not at all.
    Stale(u8),
    /// The machine loses power.
    Crash,
    /// The user takes the workload back, or gives it again.
    Take,
    /// The workload is deleted, or made again.
    Vanish,
}

pub const VERDICTS: [Verdict; 4] = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::Error];
/// Names of the activities in the plans of the model.
pub const ACTIVITIES: [&str; 3] = ["pods", "evidence", "analyze"];
const OBJECTS: [&str; 11] = [
    "status",
    "wanted",
    "owner",
    "arm-a",
    "arm-b",
    "web",
    "no-wanted",
    "no-workload",
    "no-owner",
    "no-arm-a",
    "no-route",
];

impl Act {
    /// Whether it belongs to a world that recovers, without people and without new faults.
    pub fn helps(self) -> bool {
        match self {
            Self::Step
            | Self::Prepare(_)
            | Self::Land(_)
            | Self::Sync
            | Self::Ready(_)
            | Self::Ack(_)
            | Self::Apply(_)
            | Self::Owner
            | Self::Heal
            | Self::Wake
            | Self::Verdict(..)
            | Self::Fresh => true,
            Self::Lose(_)
            | Self::Push(_)
            | Self::Order(..)
            | Self::Withdraw
            | Self::Leave
            | Self::Mode(_)
            | Self::Edit(_)
            | Self::Scale
            | Self::Loss(_)
            | Self::Drift(..)
            | Self::Stale(_)
            | Self::Crash
            | Self::Take
            | Self::Vanish => false,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = |at: u8| ["a", "b", "c"][usize::from(at)];
        match *self {
            Self::Step => write!(f, "step"),
            Self::Prepare(it) => write!(f, "prepare {it}"),
            Self::Land(it) => write!(f, "land {it}"),
            Self::Lose(it) => write!(f, "lose {it}"),
            Self::Sync => write!(f, "sync"),
            Self::Ready(it) => write!(f, "ready {}", revision(it)),
            Self::Ack(it) => write!(f, "acknowledge {it}"),
            Self::Apply(it) => write!(f, "apply {it}"),
            Self::Owner => write!(f, "owner arrives"),
            Self::Heal => write!(f, "owner heals"),
            Self::Wake => write!(f, "wake"),
            Self::Verdict(at, verdict) => {
                write!(f, "verdict {} {verdict:?}", ACTIVITIES[usize::from(at)])
            }
            Self::Fresh => write!(f, "fresh"),
            Self::Push(it) => write!(f, "push {}", revision(it)),
            Self::Order(action, late) => {
                write!(f, "{} {action:?}", if late { "late-order" } else { "order" })
            }
            Self::Withdraw => write!(f, "withdraw"),
            Self::Leave => write!(f, "delete"),
            Self::Mode(it) => write!(f, "mode {it}"),
            Self::Edit(it) => write!(f, "edit {it}"),
            Self::Scale => write!(f, "scale"),
            Self::Loss(it) => write!(f, "loss {}", revision(it)),
            Self::Drift(route, how) => write!(f, "drift {route} {how}"),
            Self::Stale(it) => write!(f, "stale {}", OBJECTS[usize::from(it)]),
            Self::Crash => write!(f, "crash"),
            Self::Take => write!(f, "take"),
            Self::Vanish => write!(f, "vanish"),
        }
    }
}

impl FromStr for Act {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let unknown = || format!("no act of the model: {line}");
        let number = |at: usize| words.get(at).and_then(|it| it.parse::<u8>().ok()).ok_or_else(unknown);
        let place = |names: &[&str], at: usize| {
            let word = words.get(at).ok_or_else(unknown)?;
            let at = names.iter().position(|it| it == word).ok_or_else(unknown)?;
            u8::try_from(at).map_err(|_| unknown())
        };
        let revision = || place(&["a", "b", "c"], 1);
        let action = || {
            let named = |it: &&Action| words.get(1) == Some(&format!("{it:?}").as_str());
            Action::ALL.iter().find(named).copied().ok_or_else(unknown)
        };
        Ok(match *words.first().ok_or_else(unknown)? {
            "step" => Self::Step,
            "prepare" => Self::Prepare(number(1)?),
            "land" => Self::Land(number(1)?),
            "lose" => Self::Lose(number(1)?),
            "sync" => Self::Sync,
            "ready" => Self::Ready(revision()?),
            "acknowledge" => Self::Ack(number(1)?),
            "apply" => Self::Apply(number(1)?),
            "owner" if words.get(1) == Some(&"heals") => Self::Heal,
            "owner" => Self::Owner,
            "wake" => Self::Wake,
            "verdict" => {
                let named = |it: &&Verdict| words.get(2) == Some(&format!("{it:?}").as_str());
                let verdict = VERDICTS.iter().find(named).copied().ok_or_else(unknown)?;
                Self::Verdict(place(&ACTIVITIES, 1)?, verdict)
            }
            "fresh" => Self::Fresh,
            "push" => Self::Push(revision()?),
            "order" => Self::Order(action()?, false),
            "late-order" => Self::Order(action()?, true),
            "withdraw" => Self::Withdraw,
            "delete" => Self::Leave,
            "mode" => Self::Mode(number(1)?),
            "edit" => Self::Edit(number(1)?),
            "scale" => Self::Scale,
            "loss" => Self::Loss(revision()?),
            "drift" => Self::Drift(number(1)?, number(2)?),
            "stale" => Self::Stale(place(&OBJECTS, 1)?),
            "crash" => Self::Crash,
            "take" => Self::Take,
            "vanish" => Self::Vanish,
            _ => return Err(unknown()),
        })
    }
}
