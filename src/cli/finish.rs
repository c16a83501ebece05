//! The end of a wait: the summary, and the exit code that says the same.

use super::{
    Exit, Failure,
    connect::Home,
    edit::Waiting,
    ending::Ending,
    output::{Flow, json_line, print},
    send::awaited,
    summary::Summary,
    watch::{Screen, Unseen, Watch, Watched},
};
use crate::{
    api::{remote::Remote, view::Applied},
    clock,
};

/// Says how a wait ended.
///
/// # Errors
/// Standard output is closed.
pub(super) fn wait(watched: Watched, watch: &Watch<impl Remote>, flow: Flow) -> Result<Exit, Failure> {
    let over = match watched {
        Watched::Over(over) | Watched::TimedOut(over) => over,
        Watched::Left | Watched::Closed => {
            if flow == Flow::Text {
                print("it goes on by itself; `serinus wait` waits on")?;
            }
            return Ok(Exit::Failed);
        }
        Watched::Gone => {
            return Err(Failure::NothingToDo {
                what: "the rollout was deleted meanwhile".to_owned(),
                help: "`serinus apply FILE` begins it anew".to_owned(),
            });
        }
    };
    let revision = watch.awaited.as_ref().and_then(|it| it.revision.clone());
    let summary = Summary::new(&over.view, revision, over.ending.clone(), over.took, &over.traffic);
    say(&summary, flow)?;
    Ok(summary.phase.exit())
}

/// Waits for every rollout of an application, one after the other; the exit is that of the first that did not end well.
///
/// # Errors
/// The engine is gone, or the output.
pub(super) async fn wait_for_all(
    applied: &Applied,
    client: &impl Remote,
    home: &Home,
    waiting: &Waiting,
    (leaving, unseen): (&'static str, Unseen),
) -> Result<Exit, Failure> {
    let until = waiting.timeout.map(|it| clock::instant() + it.0);
    let mut exit = Exit::Done;
    for one in &applied.rollouts {
        let mut watch = Watch::new(client.clone(), one.name.clone(), home.clone());
        watch.awaited = Some(awaited(one));
        watch.unseen = unseen;
        watch.timeout = until.map(|it| it.saturating_duration_since(clock::instant()));
        let mut screen = Screen::choose(waiting.output, waiting.no_live, leaving)?;
        let watched = watch.run(&mut screen).await;
        drop(screen);
        let watched = watched?;
        let left = matches!(watched, Watched::Left | Watched::Closed);
        let ended = wait(watched, &watch, waiting.output)?;
        exit = if exit == Exit::Done { ended } else { exit };
        if left {
            break;
        }
    }
    Ok(exit)
}

/// Prints a summary.
///
/// # Errors
/// Standard output is closed.
pub(super) fn say(summary: &Summary, flow: Flow) -> Result<(), Failure> {
    match flow {
        Flow::Json => json_line(summary),
        Flow::Text => {
            print(summary.text())?;
            let next = match summary.phase {
                Ending::Promoted | Ending::Superseded => return Ok(()),
                Ending::RolledBack => {
                    "`serinus explain` tells why; `serinus apply FILE` releases a better one, `serinus retry` \
                     tries this one again"
                }
                Ending::Inconclusive | Ending::Paused => {
                    "`serinus resume` measures again, `serinus promote` goes on, `serinus abort` turns back"
                }
                Ending::Unfinished => "it goes on by itself; `serinus status` shows how it stands",
            };
            print(next)
        }
    }
}
