//! What this binary does when it is started as a part of the product.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serinus::local::process::shim;
use serinus::local::supervisor::{self, Client, Listening, Settings, WorkerLink, WorkerOrder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Plays the role named by the arguments, if one is.
pub(crate) fn play(arguments: &[String]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match words.as_slice() {
        ["internal", "exec"] => ExitCode::from(u8::try_from(shim::exec_shim()).unwrap()),
        ["internal", "supervisor", ..] => end(supervisor::resume()),
        ["internal", "worker", state, number] => block_on(worker(Path::new(state), number.parse().unwrap())),
        ["internal", "control", state] => block_on(control(PathBuf::from(state))),
        ["supervise", state, listen, workers] => {
            supervise(state, listen.parse().unwrap(), workers.parse().unwrap())
        }
        ["serve"] => block_on(serve()),
        _ => return None,
    };
    Some(code)
}

fn end(result: Result<(), supervisor::SupervisorError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn supervise(state: &str, listen: SocketAddr, workers: u32) -> ExitCode {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    let settings = Settings {
        shim: words(&["internal", "exec"]),
        worker: words(&["internal", "worker", "$(state)", "$(worker)"]),
        control: words(&["internal", "control", "$(state)"]),
        resume: words(&["internal", "supervisor"]),
        workers,
        listeners: [("web".to_owned(), listen)].into(),
        drain_ms: 5_000,
        ready_ms: 5_000,
        ..Settings::new(PathBuf::from(state)).unwrap()
    };
    end(supervisor::run(settings))
}

/// A worker of a protocol that cannot be simpler: a client says `hi`, the worker answers its process id. `slow`
/// instead is answered after 300 ms.
async fn worker(state: &Path, number: u64) -> ExitCode {
    // Before the supervisor can send it.
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let (mut link, boot) = WorkerLink::join(state, number).await.unwrap();
    if let Some(config) = boot.config {
        std::fs::write(state.join("worker-config"), config).unwrap();
    }
    let (stop, stopped) = watch::channel(false);
    let mut accepting = JoinSet::new();
    accept_all(&mut accepting, boot.listeners, &stopped);
    link.ready().await.unwrap();
    loop {
        tokio::select! {
            order = link.next() => match order {
                Ok(WorkerOrder::Listeners(listeners)) => {
                    accepting.abort_all();
                    accept_all(&mut accepting, listeners, &stopped);
                }
                Ok(WorkerOrder::Drain(_)) => break,
                // The supervisor is gone, and the signal that ends this process is on its way.
                Err(_) => return ExitCode::FAILURE,
            },
            _ = terminate.recv() => break,
        }
    }
    stop.send_replace(true);
    while accepting.join_next().await.is_some() {}
    // Each open connection holds a receiver.
    drop(stopped);
    stop.closed().await;
    ExitCode::SUCCESS
}

fn accept_all(set: &mut JoinSet<()>, listeners: Vec<Listening>, stopped: &watch::Receiver<bool>) {
    for listening in listeners {
        let (mut stopped, held) = (stopped.clone(), stopped.clone());
        let socket = TcpListener::from_std(listening.socket).unwrap();
        set.spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                    Ok((stream, _)) = socket.accept() => { tokio::spawn(answer(stream, held.clone())); }
                }
            }
        });
    }
}

async fn answer(mut stream: TcpStream, _alive: watch::Receiver<bool>) {
    let mut question = [0; 16];
    let Ok(read) = stream.read(&mut question).await else { return };
    if question[..read].starts_with(b"slow") {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let _ = stream.write_all(format!("{}\n", std::process::id()).as_bytes()).await;
}

/// A control process that only listens, and notes what it hears in `<state>/events`.
async fn control(state: PathBuf) -> ExitCode {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let (_client, mut events) = Client::subscribe(&state).await.unwrap();
    let mut log = OpenOptions::new().create(true).append(true).open(state.join("events")).unwrap();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => writeln!(log, "{}", serde_json::to_string(&event).unwrap()).unwrap(),
                None => return ExitCode::FAILURE,
            },
            _ = terminate.recv() => return ExitCode::SUCCESS,
        }
    }
}

/// A user's service: answers its process id and revision on `PORT`, says when it is asked to end.
async fn serve() -> ExitCode {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let revision = std::env::var("SERINUS_REVISION").unwrap();
    let socket = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    println!("listening");
    let stopping = Arc::new(AtomicBool::new(false));
    while !stopping.load(Ordering::SeqCst) {
        tokio::select! {
            Ok((mut stream, _)) = socket.accept() => {
                let text = format!("{} {revision}\n", std::process::id());
                tokio::spawn(async move { let _ = stream.write_all(text.as_bytes()).await; });
            }
            _ = terminate.recv() => {
                println!("asked to end");
                stopping.store(true, Ordering::SeqCst);
            }
        }
    }
    ExitCode::SUCCESS
}
