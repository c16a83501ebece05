//! Answers the orders of the control process.

use std::{convert::Infallible, rc::Rc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{
    streaks::Said,
    wire::{self, Lines, Order, Reply, WireError},
    worker::Worker,
};

/// Replies waiting to be written on one connection.
const QUEUE: usize = 16;

/// Accepts control connections until the worker ends.
pub(super) async fn listen(worker: Rc<Worker>, listener: Rc<UnixListener>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(converse(Rc::clone(&worker), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "control socket can't accept; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(worker: Rc<Worker>, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let (queue, mut said) = mpsc::channel(QUEUE);
    let reading = read(Rc::clone(&worker), Lines::new(reader), queue);
    let writing = async move {
        while let Some(said) = said.recv().await {
            let reply = match said {
                Said::Reply(reply) => reply,
                Said::Streak { listener, revision } => {
                    Reply::Pushed { listener, revision, snapshot: Box::new(worker.snapshot()) }
                }
            };
            if wire::send(&mut writer, &reply).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = reading => {}, () = writing => {} }
}

async fn read(
    worker: Rc<Worker>,
    mut lines: Lines<tokio::net::unix::OwnedReadHalf>,
    queue: mpsc::Sender<Said>,
) {
    loop {
        let reply = match lines.next::<Order>().await {
            Ok(order) => obey(&worker, order, &queue),
            Err(error @ WireError::Unreadable(_)) => Reply::Unreadable { reason: error.to_string() },
            Err(error @ WireError::TooLong) => {
                let _ = queue.send(Said::Reply(Reply::Unreadable { reason: error.to_string() })).await;
                // Time to write it; then the connection ends, for the rest of the line can't be told from the next.
                tokio::time::sleep(Duration::from_secs(1)).await;
                return;
            }
            Err(WireError::Io(_) | WireError::Closed) => return,
        };
        if queue.send(Said::Reply(reply)).await.is_err() {
            return;
        }
    }
}

fn obey(worker: &Rc<Worker>, order: Order, queue: &mpsc::Sender<Said>) -> Reply {
    match order {
        Order::Apply(config) => {
            let (generation, refused) = (config.generation, worker.apply(&config));
            match refused.is_empty() {
                true => Reply::Applied { generation },
                false => {
                    let reason = refused.values().cloned().collect::<Vec<_>>().join("; ");
                    Reply::Refused { generation, reason, only: Some(refused) }
                }
            }
        }
        Order::Counts => Reply::Counts(Box::new(worker.snapshot())),
        Order::Subscribe(what) => {
            worker.subscribers.add(queue.clone(), what);
            Reply::Subscribed
        }
        Order::Drain { deadline_ms } => {
            worker.drain(Duration::from_millis(deadline_ms));
            Reply::Draining
        }
        Order::Health => Reply::Health(worker.health()),
    }
}
