//! What the commands that give an order have in common: say what it is about, give it, tell what happens next.

use strategies::{Action, HumanDuration};

use super::{
    Exit, Failure, block_on, color,
    instance::{Chosen, Found},
    output::{Format, print, structured},
    words,
};
use crate::{
    api::{
        remote::Remote,
        view::{NewOrder, OrderAnswer, PhaseName, RolloutView},
    },
    clock,
};

/// What every order can say.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    chosen: Chosen,

    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// The step it is about: void if another one is current by then [default: the present one]
    #[arg(long, value_name = "NAME")]
    step: Option<String>,

    /// The revision it is about: refused if another one is on trial [default: the one on trial]
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,

    /// Void if it has had no effect by then
    #[arg(long, value_name = "DURATION")]
    within: Option<HumanDuration>,

    /// What to print: text, json or yaml
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

/// Whether an order is about the step it was given in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum About {
    /// The step the caller saw: a late one does not end another step.
    TheStepSeen,
    /// Whichever step is current.
    AnyStep,
}

impl Common {
    /// Gives the order.
    ///
    /// # Errors
    /// Nothing runs, or there is nothing that the order could be about.
    pub(super) fn give(self, action: Action, about: About) -> Result<Exit, Failure> {
        block_on(async {
            let found = self.chosen.find().await?;
            let order = self.order(action, about, &found.view)?;
            if !found.view.orders.contains(&action) {
                return Err(nothing_to(action, &found.view));
            }
            let asked = found.client.order(&found.name, &order);
            let answer = super::progress::during("waiting for it to take effect", asked).await;
            let answer = answer.map_err(|error| found.failed(error))?;
            if !structured(self.output, &answer)? {
                tell(action, &answer, &found)?;
            }
            Ok(Exit::Done)
        })
    }

    fn order(&self, action: Action, about: About, view: &RolloutView) -> Result<NewOrder, Failure> {
        let on_trial = view.canary.as_ref();
        if let Some(revision) = &self.revision
            && on_trial.is_none_or(|it| it.as_str() != revision)
        {
            let is = on_trial.map_or("no revision is".to_owned(), |it| format!("revision {it} is"));
            return Err(Failure::Usage {
                what: format!("{is} on trial, not {revision}"),
                help: "look at `serinus status` and decide again".to_owned(),
            });
        }
        let seen = view.step.as_ref().map(|it| it.name.clone()).filter(|_| about == About::TheStepSeen);
        let not_after = self.within.and_then(|it| clock::wall().checked_add(it.0).ok());
        Ok(NewOrder {
            id: None,
            action,
            revision: on_trial.cloned(),
            attempt: Some(view.attempt),
            step: self.step.as_deref().map(Into::into).or(seen),
            reason: self.reason.as_deref().map(Into::into),
            not_after,
        })
    }
}

fn nothing_to(action: Action, view: &RolloutView) -> Failure {
    let what = match action {
        Action::Promote | Action::PromoteFull => "there is no step to end",
        Action::Approve => "no step asks for approval",
        Action::Pause => "there is nothing to pause",
        Action::Resume => "it is not paused",
        Action::Abort => "there is nothing to turn back",
        Action::Retry => "there is no revision that was rolled back",
    };
    let can: Vec<_> = view.orders.iter().map(|it| format!("`serinus {it}`")).collect();
    let help = match can.as_slice() {
        [] => "`serinus status` shows what it does".to_owned(),
        can => format!("what would have an effect now: {}", can.join(", ")),
    };
    let stands = words::stands(view);
    Failure::NothingToDo { what: format!("{what}: {} is {}", view.name, is(view, &stands)), help }
}

fn is(view: &RolloutView, stands: &str) -> String {
    match view.phase {
        PhaseName::Stepping => format!("at {stands}"),
        PhaseName::Adopting
        | PhaseName::Idle
        | PhaseName::Promoting
        | PhaseName::Aborting
        | PhaseName::RolledBack
        | PhaseName::Leaving
        | PhaseName::Left => stands.to_owned(),
    }
}

fn tell(action: Action, answer: &OrderAnswer, found: &Found) -> Result<(), Failure> {
    let order = &answer.order;
    let step = order.step.as_ref().map(|it| format!(", step {it}")).unwrap_or_default();
    let about = format!("{} revision {}, attempt {}{step}", found.name, order.revision, order.attempt);
    match answer.accepted {
        true => print(format!("{} {about}", color::paint(color::GOOD, done(action))))?,
        false => {
            let because = answer.because.as_deref().unwrap_or("it has had no effect yet");
            print(format!("{} {about}: {because}", color::paint(color::WARN, "noted:")))?;
        }
    }
    print(format!("now: {}", words::stands(&answer.view)))?;
    for it in &answer.view.waiting {
        let until = it.until.map(|until| format!(", until {}", words::clock_time(until))).unwrap_or_default();
        print(format!("waits for {}{until}", it.text))?;
    }
    Ok(())
}

fn done(action: Action) -> &'static str {
    match action {
        Action::Promote => "promoted to the next step:",
        Action::PromoteFull => "promoted fully, past every gate:",
        Action::Approve => "approved:",
        Action::Pause => "paused:",
        Action::Resume => "resumed:",
        Action::Abort => "turning back:",
        Action::Retry => "trying again:",
    }
}
