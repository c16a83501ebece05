//! The end of a wait: the summary, and the exit code that says the same.

use super::{
    Exit, Failure,
    ending::Ending,
    output::{Flow, json_line, print},
    summary::Summary,
    watch::{Watch, Watched},
};

/// Says how a wait ended.
///
/// # Errors
/// Standard output is closed.
pub(super) fn wait(watched: Watched, watch: &Watch, flow: Flow) -> Result<Exit, Failure> {
    let over = match watched {
        Watched::Over(over) | Watched::TimedOut(over) => over,
        Watched::Left => {
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
