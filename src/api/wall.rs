//! What is told to people carries the time of the wall, however the engine measures its own.

use jiff::Timestamp;

use super::view::{
    AnalysisView, Applied, CalibrationView, Health, History, JournalRecord, LogView, OrderAnswer,
    RevisionView, RolloutEvent, RolloutList, RolloutView, Second, StepView, Trouble, WaitView,
};
use crate::clock::Timeline;

/// Something that is told to callers.
pub(super) trait Told: Sized {
    /// The same with every moment as the wall called it then.
    fn on_the_wall(mut self, timeline: &Timeline) -> Self {
        self.each_moment(&mut |at| *at = timeline.wall(*at));
        self
    }

    /// Every moment in it that the engine measured.
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp));
}

impl<T: Told> Told for Vec<T> {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.iter_mut().for_each(|it| it.each_moment(each));
    }
}

impl<T: Told> Told for Option<T> {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.iter_mut().for_each(|it| it.each_moment(each));
    }
}

impl<T: Told> Told for Box<T> {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        (**self).each_moment(each);
    }
}

impl Told for Timestamp {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        each(self);
    }
}

impl Told for RolloutList {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        let Self { rollouts, health } = self;
        rollouts.each_moment(each);
        health.each_moment(each);
    }
}

impl Told for RolloutView {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        // Without `..` for what holds a moment: a field that is added has to be thought of here.
        let Self {
            at,
            since,
            started,
            step,
            waiting,
            analyses,
            recent,
            last,
            troubles,
            failure,
            given,
            name: _,
            mode: _,
            phase: _,
            cause: _,
            stable: _,
            canary: _,
            wanted: _,
            generation: _,
            attempt: _,
            epoch: _,
            weight: _,
            arms: _,
            hold: _,
            sight: _,
            traffic: _,
            last_traffic: _,
            orders: _,
            addresses: _,
            namespace: _,
        } = self;
        at.each_moment(each);
        since.each_moment(each);
        started.each_moment(each);
        step.each_moment(each);
        waiting.each_moment(each);
        analyses.each_moment(each);
        recent.each_moment(each);
        last.iter_mut().for_each(|it| each(&mut it.at));
        troubles.each_moment(each);
        failure.iter_mut().for_each(|it| each(&mut it.at));
        given.iter_mut().for_each(|it| each(&mut it.at));
    }
}

impl Told for StepView {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.held.each_moment(each);
    }
}

impl Told for WaitView {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.since.each_moment(each);
        self.until.each_moment(each);
    }
}

impl Told for AnalysisView {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.since.each_moment(each);
    }
}

impl Told for Second {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.at.each_moment(each);
    }
}

impl Told for Trouble {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.since.each_moment(each);
    }
}

impl Told for History {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        let Self { revisions, attempts } = self;
        revisions.each_moment(each);
        attempts.iter_mut().for_each(|it| each(&mut it.at));
    }
}

impl Told for RevisionView {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.at.each_moment(each);
        self.promoted.each_moment(each);
    }
}

/// The body stays as it was decided on, so that it can be replayed.
impl Told for JournalRecord {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.at.each_moment(each);
    }
}

/// The order stays as it was given: what people say about time is the wall's already.
impl Told for OrderAnswer {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.view.each_moment(each);
    }
}

impl Told for RolloutEvent {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        match self {
            Self::Status(view) => view.each_moment(each),
            Self::Decision(record) => record.each_moment(each),
            Self::Gone => {}
        }
    }
}

/// Its step of the clock is the wall's own.
impl Told for Health {
    fn each_moment(&mut self, _: &mut dyn FnMut(&mut Timestamp)) {}
}

impl Told for Applied {
    fn each_moment(&mut self, each: &mut dyn FnMut(&mut Timestamp)) {
        self.rollouts.iter_mut().filter_map(|it| it.before.as_mut()).for_each(|it| each(&mut it.at));
    }
}

/// Only differences of its moments mean something.
impl Told for CalibrationView {
    fn each_moment(&mut self, _: &mut dyn FnMut(&mut Timestamp)) {}
}

impl Told for LogView {
    fn each_moment(&mut self, _: &mut dyn FnMut(&mut Timestamp)) {}
}

impl Told for () {
    fn each_moment(&mut self, _: &mut dyn FnMut(&mut Timestamp)) {}
}
