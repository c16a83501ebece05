//! What the child does: saves, number after number, says what it was told, and begins again after an error.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serinus::journal::NewRecord;
use serinus::local::store::{OrderState, Store, StoreError};

/// Numbers to be saved.
const NUMBERS: u64 = 9;
/// Each so many numbers an order comes.
pub(crate) const ORDER_EVERY: u64 = 3;
/// At this number an order to abort is accepted.
pub(crate) const ABORT_AT: u64 = 5;
/// The disk fails for good after so many errors: the script gives up.
const PATIENCE: u32 = 4;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) n: u64,
    padding: String,
}

/// The child's `main`: ends by losing power, whatever happened before.
pub(crate) fn play(state: &Path) -> ExitCode {
    if let Err(error) = play_with(state, say) {
        say("error", &error);
    }
    // What no sync has saved goes with it.
    let _ = std::fs::remove_file("/shim/power");
    ExitCode::SUCCESS
}

/// The same in this process, to the end of its numbers, everything moved into the database.
pub(crate) fn play_quietly(state: &Path) -> Result<(), String> {
    play_with(state, |_, _| {})?;
    let mut store = Store::open(state).map_err(|e| e.to_string())?;
    store.reopen().map_err(|e| e.to_string())
}

fn say(word: &str, text: &str) {
    let line = format!("{word} {text}\n");
    // In one piece and unbuffered: the next moment may be the last.
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn play_with(state: &Path, say: impl Fn(&str, &str)) -> Result<(), String> {
    let mut errors = 0;
    let mut store = loop {
        match Store::open(state) {
            Ok(store) => break store,
            Err(error) if errors == PATIENCE => return Err(error.to_string()),
            Err(error) => {
                errors += 1;
                say("error", &error.to_string());
            }
        }
    };
    store.limit_log(60 << 10);
    while errors < PATIENCE {
        let seen = match store.status::<Status>("shop") {
            Ok(seen) => seen,
            Err(error) => return Err(error.to_string()),
        };
        let (n, fence) = seen.map_or((0, 0), |saved| (saved.status.n, saved.fence));
        if n == NUMBERS {
            return Ok(());
        }
        say("try", &(n + 1).to_string());
        match save(&mut store, fence, n + 1) {
            Ok(()) => {
                say("saved", &(n + 1).to_string());
                if n + 1 == ABORT_AT {
                    say("aborted", "1");
                }
            }
            Err(error) => {
                errors += 1;
                say("error", &error.to_string());
                // A poisoned handle saves nothing more, whatever the disk does now; it still reads.
                let again = save(&mut store, fence, n + 1);
                assert!(matches!(again, Err(StoreError::Poisoned(_))), "{again:?}");
                store.journal(None, 0, 1).map_err(|e| e.to_string())?;
                if let Err(error) = store.reopen() {
                    say("error", &error.to_string());
                }
            }
        }
    }
    Ok(())
}

/// One change over every table.
fn save(store: &mut Store, fence: u64, n: u64) -> Result<(), StoreError> {
    let at = Timestamp::UNIX_EPOCH;
    store.commit(|change| {
        let padding = "x".repeat(usize::try_from(n * 300).unwrap_or(0));
        change.save_status("shop", fence, at, &Status { n, padding: padding.clone() })?;
        change.append_journal(&NewRecord { rollout: "shop", at, kind: "number", body: &n.to_string() })?;
        change.save_checkpoint("shop", "errors", at, &n)?;
        change.save_revision("shop", &format!("r{}", n % 4), at, &n)?;
        change.apply_document("shop", at, &format!("n: {n} {padding}"), &padding)?;
        if n.is_multiple_of(ORDER_EVERY) {
            change.append_order(&(n / ORDER_EVERY).to_string(), "shop", at, &format!("order {n}"))?;
        }
        if n == ABORT_AT {
            change.append_order("abort", "shop", at, &"abort")?;
            change.close_order("abort", OrderState::Accepted, at)?;
        }
        Ok(())
    })
}
