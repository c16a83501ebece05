//! The connections to one worker.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{Heard, Shared};
use crate::local::proxy::{BadStreak, ProxyConfig, Snapshot, WorkerCallError, WorkerClient};

/// Longest wait for a worker's answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// First pause before a worker is connected to again; later ones are twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(10);
/// Longest pause.
const RETRY_MOST: Duration = Duration::from_millis(500);

/// First pause before a configuration that was refused is told again; later ones are twice as long.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// Longest of them.
const AGAIN_MOST: Duration = Duration::from_secs(30);

/// Tells a worker every configuration, and asks what it counted, until the fleet forgets it.
pub(super) async fn orders(
    fleet: Weak<Shared>,
    worker: u64,
    socket: PathBuf,
    asked: Arc<tokio::sync::Mutex<mpsc::Receiver<oneshot::Sender<Snapshot>>>>,
) {
    let mut asked = asked.lock().await;
    let Some(mut config) = fleet.upgrade().map(|it| it.config.subscribe()) else { return };
    let mut pause = RETRY_FIRST;
    loop {
        let trouble = match WorkerClient::connect(&socket, PATIENCE).await {
            Ok(client) => {
                pause = RETRY_FIRST;
                serve(&fleet, worker, client, &mut config, &mut asked).await
            }
            Err(error) => Some(error.to_string()),
        };
        let Some(shared) = fleet.upgrade() else { return };
        if let Some(trouble) = trouble {
            shared.acknowledge(worker, Heard::Trouble(trouble));
        }
        drop(shared);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}

/// Over one connection; answers what broke it. `None`: nobody asks any more.
async fn serve(
    fleet: &Weak<Shared>,
    worker: u64,
    mut client: WorkerClient,
    config: &mut watch::Receiver<Option<Arc<ProxyConfig>>>,
    asked: &mut mpsc::Receiver<oneshot::Sender<Snapshot>>,
) -> Option<String> {
    // A new connection may be to a new process: it is told the present configuration whatever it began with.
    config.mark_changed();
    let mut refused: Option<Refused> = None;
    loop {
        let at = refused.map(|it| it.again_at);
        tokio::select! {
            biased;
            changed = config.changed() => {
                changed.ok()?;
                refused = None;
            }
            () = until(at) => {}
            answer = asked.recv() => {
                let answer = answer?;
                match client.counts().await {
                    // Whoever asked may have stopped waiting.
                    Ok(snapshot) => drop(answer.send(snapshot)),
                    Err(error) => return Some(error.to_string()),
                }
                continue;
            }
        }
        let Some(next) = config.borrow_and_update().clone() else { continue };
        let heard = match client.apply((*next).clone()).await {
            Ok(generation) => Heard::Applied { generation, refused: BTreeMap::new() },
            Err(WorkerCallError::Refused { generation, only: Some(only), .. }) => {
                Heard::Applied { generation, refused: only }
            }
            Err(error @ WorkerCallError::Refused { .. }) => Heard::Trouble(error.to_string()),
            Err(error) => return Some(error.to_string()),
        };
        let whole = matches!(&heard, Heard::Applied { refused, .. } if refused.is_empty());
        if !whole && refused.is_none() {
            tracing::error!(
                worker,
                ?heard,
                "a worker refuses something of its configuration; it is told again"
            );
        }
        refused = (!whole).then(|| Refused::after(refused));
        fleet.upgrade()?.acknowledge(worker, heard);
    }
}

/// A configuration that was refused is told again: what was wrong with it may lie outside of it.
#[derive(Clone, Copy)]
struct Refused {
    again_at: Instant,
    pause: Duration,
}

impl Refused {
    fn after(before: Option<Self>) -> Self {
        let pause = before.map_or(AGAIN_FIRST, |it| (it.pause * 2).min(AGAIN_MOST));
        Self { again_at: Instant::now() + pause, pause }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Hears of revisions that fail.
pub(super) async fn streaks(fleet: Weak<Shared>, socket: PathBuf) {
    let mut pause = RETRY_FIRST;
    loop {
        if let Ok(client) = WorkerClient::connect(&socket, PATIENCE).await
            && let Ok(mut streaks) = client.subscribe(BadStreak::default()).await
        {
            pause = RETRY_FIRST;
            while let Ok(seen) = streaks.next().await {
                let Some(shared) = fleet.upgrade() else { return };
                // Without anybody who listens there is nobody to tell.
                let _ = shared.streaks.send(Arc::new(seen));
            }
        }
        if fleet.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}
