//! The connections to one worker.

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use super::Shared;
use crate::local::proxy::{BadStreak, ProxyConfig, Snapshot, WorkerCallError, WorkerClient};

/// Longest wait for a worker's answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// First pause before a worker is connected to again; later ones are twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(10);
/// Longest pause.
const RETRY_MOST: Duration = Duration::from_millis(500);

/// Tells a worker every configuration, and asks what it counted, until the fleet forgets it.
pub(super) async fn orders(
    fleet: Weak<Shared>,
    worker: u64,
    socket: PathBuf,
    mut asked: mpsc::Receiver<oneshot::Sender<Snapshot>>,
) {
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
            shared.acknowledge_trouble(worker, trouble);
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
    loop {
        tokio::select! {
            biased;
            changed = config.changed() => {
                changed.ok()?;
                let next = config.borrow_and_update().clone();
                if let Some(next) = next {
                    match client.apply((*next).clone()).await {
                        Ok(generation) => fleet.upgrade()?.acknowledge(worker, Ok(generation)),
                        Err(error @ WorkerCallError::Refused { .. }) => {
                            tracing::error!(worker, error = &error as &dyn std::error::Error, "a worker refuses its configuration");
                            fleet.upgrade()?.acknowledge(worker, Err(error.to_string()));
                        }
                        Err(error) => return Some(error.to_string()),
                    }
                }
            }
            answer = asked.recv() => {
                let answer = answer?;
                match client.counts().await {
                    // Whoever asked may have stopped waiting.
                    Ok(snapshot) => drop(answer.send(snapshot)),
                    Err(error) => return Some(error.to_string()),
                }
            }
        }
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

impl Shared {
    fn acknowledge_trouble(&self, worker: u64, trouble: String) {
        self.acknowledge(worker, Err(trouble));
    }
}
