//! Takes connections off a listening socket that other workers share.

use std::{convert::Infallible, io, rc::Rc, time::Duration};

use tokio::net::TcpListener;

use super::{
    connection,
    worker::{Listener, Worker},
};

/// Pause after the process or the machine ran out of something.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Accepts until cancelled. When full or out of file descriptors it leaves connections in the queue, where
/// another worker may take them, and says so in the listener's trouble.
pub(super) async fn run(worker: Rc<Worker>, listener: Rc<Listener>, socket: Rc<TcpListener>) -> Infallible {
    loop {
        while listener.is_full() {
            let room = listener.room.notified();
            if listener.is_full() {
                room.await;
            }
        }
        let accepted = match listener.is_deaf() {
            false => socket.accept().await,
            true => match tokio::time::timeout(EXHAUSTED, socket.accept()).await {
                Ok(accepted) => accepted,
                Err(_) => {
                    // Nobody waits any more.
                    listener.accepts(None);
                    continue;
                }
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                listener.accepts(None);
                let opened = worker.opened(&listener);
                let serving = connection::run(
                    Rc::clone(&worker),
                    Rc::clone(&listener),
                    stream,
                    peer,
                    opened.state.clone(),
                );
                tokio::task::spawn_local(async move {
                    serving.await;
                    drop(opened);
                });
            }
            Err(error) if is_clients(&error) => {}
            Err(error) => {
                listener.accepts(Some(&error));
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Whether only the one connection is lost.
fn is_clients(error: &io::Error) -> bool {
    [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted]
        .contains(&error.kind())
}
