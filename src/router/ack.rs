use jiff::Timestamp;
use strategies::{Acknowledged, Split};

/// What one route is asked for, since which generation of its object, and what its data plane has acknowledged.
///
/// An acknowledgement stands for one asking. When the same split is asked for again after another one, the data plane
/// may still be following that other one, so the acknowledgement of the first asking counts no longer; that of another
/// split stays, because it may still be what users meet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Acks {
    asked: Option<Asked>,
    acknowledged: Option<Acknowledged>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Asked {
    split: Split,
    /// The generation that first asked for it.
    since: u64,
    /// The latest generation that is known to ask for it.
    latest: u64,
}

impl Acks {
    /// What an earlier engine knew to be acknowledged before it asked for something else.
    #[must_use]
    pub fn remembered(split: Split, since: Timestamp) -> Self {
        Self { asked: None, acknowledged: Some(Acknowledged { split, since }) }
    }

    /// The object asks for this split in this generation. One that rose by more than one, or fell, may have asked for
    /// something else in between.
    pub fn ask(&mut self, split: &Split, generation: u64) {
        if let Some(asked) = &mut self.asked
            && asked.split == *split
            && (asked.latest..=asked.latest.saturating_add(1)).contains(&generation)
        {
            asked.latest = generation;
            return;
        }
        self.ask_anew(split, generation);
    }

    /// The split is asked for from this generation on, whatever was asked for before, the same included.
    pub fn ask_anew(&mut self, split: &Split, generation: u64) {
        self.acknowledged.take_if(|it| it.split == *split);
        self.asked = Some(Asked { split: split.clone(), since: generation, latest: generation });
    }

    /// Nothing is asked for; what was acknowledged may still be met.
    pub fn ask_nothing(&mut self) {
        self.asked = None;
    }

    /// Everything that serves this route has taken up this generation of it, or a later one.
    pub fn confirm(&mut self, oldest: u64, now: Timestamp) {
        let Some(asked) = self.asked.as_ref().filter(|it| it.since <= oldest) else { return };
        if self.acknowledged.as_ref().is_none_or(|it| it.split != asked.split) {
            self.acknowledged = Some(Acknowledged { split: asked.split.clone(), since: now });
        }
    }

    /// Which split the data plane has acknowledged, and since when.
    #[must_use]
    pub fn acknowledged(&self) -> Option<&Acknowledged> {
        self.acknowledged.as_ref()
    }

    /// The generation that first asked for the present split.
    #[must_use]
    pub fn asked_in(&self) -> Option<u64> {
        self.asked.as_ref().map(|it| it.since)
    }
}

#[cfg(test)]
mod tests {
    use strategies::{Arm, Dest};

    use super::*;

    fn all_to(revision: &str) -> Split {
        Split::all_to(Dest::Arm(Arm::main(revision.into())))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn acknowledged(acks: &Acks) -> Option<(Split, i64)> {
        acks.acknowledged().map(|it| (it.split.clone(), it.since.as_second()))
    }

    #[test]
    fn an_acknowledgement_of_an_earlier_equal_split_does_not_count() {
        let mut acks = Acks::default();
        acks.ask(&all_to("a"), 1);
        acks.confirm(1, at(1));
        acks.ask(&all_to("b"), 2);
        assert_eq!(acknowledged(&acks), Some((all_to("a"), 1)), "users may still meet it");
        acks.ask(&all_to("a"), 3);
        assert_eq!(acknowledged(&acks), None);
        acks.confirm(2, at(5));
        assert_eq!(acknowledged(&acks), None, "that was the generation with the other split");
        acks.confirm(3, at(6));
        assert_eq!(acknowledged(&acks), Some((all_to("a"), 6)));
    }

    #[test]
    fn a_change_of_something_else_keeps_the_acknowledgement_and_a_gap_does_not() {
        let mut acks = Acks::default();
        acks.ask(&all_to("a"), 4);
        acks.confirm(4, at(1));
        acks.ask(&all_to("a"), 5);
        assert_eq!(acknowledged(&acks), Some((all_to("a"), 1)));
        acks.ask(&all_to("a"), 7);
        assert_eq!(acknowledged(&acks), None, "generation 6 was not seen");
        acks.confirm(7, at(2));
        acks.ask(&all_to("a"), 1);
        assert_eq!(acknowledged(&acks), None, "the object is another one");
    }

    #[test]
    fn an_acknowledgement_keeps_the_time_at_which_it_was_first_seen() {
        let mut acks = Acks::default();
        acks.ask(&all_to("a"), 1);
        acks.confirm(1, at(1));
        acks.confirm(2, at(9));
        assert_eq!(acknowledged(&acks), Some((all_to("a"), 1)));
    }

    #[test]
    fn what_an_earlier_engine_saw_does_not_settle_what_is_asked_again() {
        let mut acks = Acks::remembered(all_to("a"), at(1));
        acks.ask_anew(&all_to("b"), 8);
        assert_eq!(acknowledged(&acks), Some((all_to("a"), 1)));
        let mut acks = Acks::remembered(all_to("a"), at(1));
        acks.ask_anew(&all_to("a"), 8);
        assert_eq!(acknowledged(&acks), None);
    }
}
