use super::{Argument, Context, Key, Leaving, Mistake, Stage, Steps, TemplateKind, TemplateUse, Wrong};
use crate::{
    Goal, HumanDuration, Leave, Name, Scale, Step, Weight,
    step::{Analyze, AtOnce, Bake, Until},
};

/// Steps a rollout may have.
pub const MOST_STEPS: usize = 100;

/// A template that one step uses by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Use {
    /// The analysis it makes; unique within the plan.
    pub analysis: Name,
    /// Kind of the template.
    pub kind: TemplateKind,
    /// Name of the template.
    pub template: Name,
    /// Values for its arguments.
    pub args: Vec<Argument>,
    /// Where it is named.
    pub at: Vec<Key>,
}

/// Steps in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    context: Context<'a>,
    at: Vec<Key>,
    goal: Goal,
    made: Steps,
}

impl<'a> Draft<'a> {
    pub(super) fn new(context: Context<'a>) -> Self {
        let made = Steps { steps: vec![], uses: vec![], origins: vec![], mistakes: vec![] };
        Self { context, at: vec![], goal: Goal::home(), made }
    }

    pub(super) fn finish(mut self) -> Steps {
        let mut seen = Vec::new();
        self.made.mistakes.retain(|it| {
            let new = !seen.contains(it);
            if new {
                seen.push(it.clone());
            }
            new
        });
        self.made
    }

    /// Whatever `work` adds was written under `key`.
    pub(super) fn within<T>(&mut self, key: Key, work: impl FnOnce(&mut Self) -> T) -> T {
        self.at.push(key);
        let done = work(self);
        self.at.pop();
        done
    }

    /// Notes a mistake at `more` below the present place.
    pub(super) fn wrong(&mut self, more: &[Key], what: Wrong) {
        let at = [self.at.as_slice(), more].concat();
        self.made.mistakes.push(Mistake { at, what });
    }

    /// Adds the steps of a list, in order.
    pub(super) fn stages(&mut self, stages: &[Stage]) {
        if stages.is_empty() {
            self.wrong(&[], Wrong::NoSteps);
        }
        // The last step is ours, and what is beyond the limit would only repeat the same complaint.
        if MOST_STEPS <= stages.len() {
            self.wrong(&[], Wrong::TooManySteps { steps: stages.len() });
        }
        super::stage::compile_all(stages.get(..stages.len().min(MOST_STEPS)).unwrap_or_default(), self);
    }

    /// Whether there is room for one more step.
    pub(super) fn has_room(&self) -> bool {
        self.made.steps.len() < MOST_STEPS
    }

    /// `wanted`, or `wanted-2` and so on if a step of that name exists.
    pub(super) fn unused(&self, wanted: &str) -> Name {
        let taken = |name: &str| self.made.steps.iter().any(|it| it.name.as_str() == name);
        if !taken(wanted) {
            return wanted.into();
        }
        let free = (2..).map(|n: u64| format!("{wanted}-{n}")).find(|it| !taken(it));
        free.unwrap_or_else(|| wanted.to_owned()).into()
    }

    /// Adds one step that was written at the present place.
    pub(super) fn push(&mut self, step: Step) {
        if self.made.steps.iter().any(|it| it.name == step.name) {
            self.wrong(&[Key::Field("name")], Wrong::SameName { name: step.name.clone() });
        }
        for ended in step.matches.iter().filter(|it| it.any_of.is_empty()) {
            if !self.goal.matches.contains_key(&ended.id) {
                let at = [Key::Field("match"), Key::Field("anyOf")];
                self.wrong(&at, Wrong::EndsNothing { id: ended.id.clone() });
            }
        }
        let goal = step.goal(&self.goal);
        if let Some(now) = step.weight.filter(|it| *it < self.goal.weight) {
            let before = self.goal.weight;
            self.wrong(&[Key::Field("weight")], Wrong::GoesBack { before, now });
        }
        if step.mirror.is_some_and(|it| it != Weight::ZERO) && goal.mirror == Weight::ZERO {
            self.wrong(&[Key::Field("mirror")], Wrong::NothingToMirror);
        }
        if matches!(step.leave, Leave::AtOnce(_)) && goal == self.goal && step.weight != Some(Weight::FULL) {
            self.wrong(&[], Wrong::DoesNothing);
        }
        let own = |analyses: &[Name]| analyses == self.context.analyses;
        if !goal.reaches_canary() {
            match &step.leave {
                Leave::Until(_) => self.wrong(&[Key::Field("until")], Wrong::NothingToJudge),
                Leave::Analyze(it) if own(&it.analyses) => {
                    self.wrong(&[Key::Field("analyze")], Wrong::NothingToJudge);
                }
                Leave::Analyze(_)
                | Leave::AtOnce(_)
                | Leave::Pause(_)
                | Leave::Approve(_)
                | Leave::Bake(_) => {}
            }
        }
        self.goal = goal;
        self.made.origins.push(self.at.clone());
        self.made.steps.push(step);
    }

    /// Adds a step that only moves the weight.
    pub(super) fn weight(&mut self, weight: Weight, leaving: &Leaving) {
        let name = self.unused(&super::stage::named_after(weight));
        let leave = self.within(Key::Field("leave"), |draft| draft.leave(&name, leaving));
        self.push(Step { weight: Some(weight), ..bare(name, leave) });
    }

    /// Ends the plan: all requests to the canary, with stable kept for the length of `bake`.
    pub(super) fn promote(&mut self, bake: Option<Bake>) {
        let all = self.goal.weight == Weight::FULL;
        let (name, leave) = match bake {
            Some(bake) if bake.length == HumanDuration::default() => {
                self.wrong(&[Key::Field("bake"), Key::Field("for")], Wrong::NoTime);
                return;
            }
            Some(bake) => ("bake", Leave::Bake(bake)),
            // What was written last already asks for everything.
            None if all && !self.made.steps.is_empty() => return,
            None => ("promote", Leave::AtOnce(AtOnce {})),
        };
        let name = self.unused(name);
        self.push(Step { weight: Some(Weight::FULL), scale: Some(Scale::Traffic), ..bare(name, leave) });
    }

    /// The one way to leave that is given.
    pub(super) fn leave(&mut self, step: &Name, leaving: &Leaving) -> Leave {
        let given = leaving.given();
        match given.len() {
            0 => self.wrong(&[], Wrong::NoWayToLeave),
            1 => {}
            // The place is the second one: the first is as good as any.
            _ => {
                let second = given.get(1).copied().map(Key::Field);
                self.wrong(second.as_slice(), Wrong::SeveralWaysToLeave { given });
            }
        }
        let Leaving { until, analyze, approve, pause, at_once: _ } = leaving;
        if let Some(until) = until {
            let at = [Key::Field("until"), Key::Field("evidence")];
            let analyses = self.analyses(step, &at, &until.evidence.templates);
            if until.max < until.min {
                let what = Wrong::MinAboveMax { min: until.min, max: until.max };
                self.wrong(&[Key::Field("until"), Key::Field("min")], what);
            }
            return Leave::Until(Until { analyses, min: until.min, max: until.max });
        }
        if let Some(analyze) = analyze {
            let analyses = self.analyses(step, &[Key::Field("analyze")], &analyze.templates);
            if analyze.length == Some(HumanDuration::default()) {
                self.wrong(&[Key::Field("analyze"), Key::Field("for")], Wrong::NoTime);
            }
            return Leave::Analyze(Analyze { analyses, length: analyze.length });
        }
        match (approve, pause) {
            (Some(approve), _) => Leave::Approve(*approve),
            (None, Some(pause)) => Leave::Pause(*pause),
            (None, None) => Leave::AtOnce(AtOnce {}),
        }
    }

    fn analyses(&mut self, step: &Name, at: &[Key], templates: &[TemplateUse]) -> Vec<Name> {
        if templates.is_empty() {
            if self.context.analyses.is_empty() {
                self.wrong(at, Wrong::NoAnalyses);
            }
            return self.context.analyses.to_vec();
        }
        let mut names = Vec::new();
        for (index, it) in templates.iter().enumerate() {
            let wanted = format!("{step}/{}", it.name);
            let taken = |name: &Name| self.made.uses.iter().any(|other| other.analysis == *name);
            let numbered = (2..).map(|n: u64| Name::from(format!("{wanted}-{n}")));
            let free = std::iter::once(Name::from(wanted.clone())).chain(numbered).find(|it| !taken(it));
            let analysis = free.unwrap_or_else(|| wanted.clone().into());
            let more = [Key::Field("templates"), Key::Index(index)];
            let at = [self.at.as_slice(), at, &more].concat();
            self.made.uses.push(Use {
                analysis: analysis.clone(),
                kind: it.kind,
                template: it.name.clone(),
                args: it.args.clone(),
                at,
            });
            names.push(analysis);
        }
        names
    }
}

/// A step that changes nothing.
pub(super) fn bare(name: Name, leave: Leave) -> Step {
    Step { name, weight: None, matches: vec![], mirror: None, sticky: None, scale: None, leave }
}
