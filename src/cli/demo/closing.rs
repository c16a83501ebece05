//! The end of a demo in words: who won, who was hurt, how long it took and why.

use serde::Serialize;

use super::{Args, Fault, Side, users::Counted};
use crate::cli::{
    Exit, Failure, color,
    ending::{Awaited, Ending},
    output::{Flow, json_line, print},
    summary::{Summary, verdict},
    watch::Over,
    words,
};

/// The summary of a demo: that of any wait, and what only the users know.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DemoSummary<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// Requests that the service itself answered with an error.
    errors: u64,
    /// Middle latency by version, milliseconds.
    median_ms: std::collections::BTreeMap<&'a str, f64>,
}

/// Says how it ended.
///
/// # Errors
/// Standard output is closed.
pub(super) fn close(args: &Args, over: &Over, awaited: Awaited, users: &Counted) -> Result<Exit, Failure> {
    let mut summary =
        Summary::new(&over.view, awaited.revision, over.ending.clone(), over.took, &over.traffic);
    (summary.requests, summary.failed) = (users.requests, users.failed);
    match args.output {
        Flow::Json => {
            let median_ms = users.versions.iter().map(|(name, it)| (name.as_str(), it.median_ms())).collect();
            json_line(&DemoSummary { summary: &summary, errors: users.errors, median_ms })?;
        }
        Flow::Text => tell(args, &summary, users)?,
    }
    Ok(exit(args, summary.phase))
}

/// A fault in the new version that is rolled back has shown what it should; one that is promoted has not.
fn exit(args: &Args, ending: Ending) -> Exit {
    match (args.fault, args.fault_in, ending) {
        (Some(_), Side::Canary, Ending::RolledBack) => Exit::Done,
        (Some(_), Side::Canary, Ending::Promoted) => Exit::Failed,
        (_, _, ending) => ending.exit(),
    }
}

fn tell(args: &Args, summary: &Summary, users: &Counted) -> Result<(), Failure> {
    let (style, _) = verdict(summary.phase);
    let took = words::span(std::time::Duration::from_secs_f64(summary.seconds.max(0.0)));
    let won = match summary.phase {
        Ending::Promoted => "version 2 won: all requests go to it now",
        Ending::RolledBack => "version 1 won: version 2 was rolled back",
        Ending::Inconclusive | Ending::Paused => "nobody won: version 2 stands still where it is",
        Ending::Superseded => "another version took the place of version 2",
        Ending::Unfinished => "it was not over in time",
    };
    print("")?;
    print(format!("{} after {took}", color::paint(style, won)))?;
    print(format!("  why    {}", summary.reason))?;
    print(format!("  users  {}", hurt(summary, users)))?;
    for (name, it) in &users.versions {
        let share = words::percentage(it.errors, it.requests);
        print(format!(
            "  {name:<5}  {}, {share} of them errors, half of them within {:.1} ms",
            words::counted(it.requests, "answer"),
            it.median_ms()
        ))?;
    }
    print("")?;
    print(color::paint(color::DIM, next(args, summary.phase)))
}

fn hurt(summary: &Summary, users: &Counted) -> String {
    let sent = words::counted(users.requests, "request");
    let lost = match users.failed {
        0 => "none was lost on the way".to_owned(),
        failed => format!("{} lost on the way or late", words::count(failed)),
    };
    let canary = match summary.canary_failed {
        0 => format!("version 2 got {} and failed none", words::count(summary.canary_requests)),
        failed => format!(
            "version 2 got {} and failed {} of them",
            words::count(summary.canary_requests),
            words::count(failed)
        ),
    };
    format!("{sent}; {lost}; {canary}")
}

fn next(args: &Args, ending: Ending) -> String {
    let again = match (args.fault, args.fault_in) {
        (None, _) => "make version 2 bad: serinus demo --fault errors (or latency, or crash)",
        (Some(Fault::Errors), Side::Canary) => {
            "a smaller harm takes longer to see: serinus demo --fault errors --factor 3"
        }
        (Some(Fault::Latency | Fault::Crash), Side::Canary) => {
            "make the old version the bad one: serinus demo --fault errors --fault-in stable"
        }
        (Some(_), Side::Stable) => "let both be good: serinus demo",
    };
    let own = "your own service: serinus run FILE, then serinus apply FILE for its next release";
    match ending {
        Ending::Unfinished => "more time: serinus demo --timeout 1h".to_owned(),
        Ending::Promoted
        | Ending::RolledBack
        | Ending::Inconclusive
        | Ending::Paused
        | Ending::Superseded => format!("next, {again}\n      {own}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[track_caller]
    fn check(words: &[&str], ending: Ending, expected: u8) {
        let args = Line::parse_from([&["demo"], words].concat()).args;
        assert_eq!(exit(&args, ending).code(), expected, "{words:?} {ending:?}");
    }

    #[test]
    fn a_demo_succeeds_when_it_shows_what_it_should() {
        check(&[], Ending::Promoted, 0);
        check(&[], Ending::RolledBack, 3);
        check(&["--fault", "errors"], Ending::RolledBack, 0);
        check(&["--fault", "errors"], Ending::Promoted, 1);
        check(&["--fault", "crash"], Ending::Inconclusive, 4);
        check(&["--fault", "crash", "--fault-in", "stable"], Ending::Promoted, 0);
        check(&["--fault", "latency", "--fault-in", "stable"], Ending::RolledBack, 3);
        check(&[], Ending::Unfinished, 5);
    }
}
