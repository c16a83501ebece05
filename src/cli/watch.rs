//! Follows one rollout and shows it: live, in lines, or as JSON lines.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use strategies::Name;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::MissedTickBehavior,
};

use super::{
    Failure,
    changes::{Change, Tone, changes},
    color,
    connect::Home,
    ending::{Awaited, Ending},
    live::{Live, Pressed, Scene},
    output::{self, json_line},
    words,
};
use crate::{
    api::{
        client::{Client, ClientError},
        remote::{Followed as _, Remote},
        view::{RolloutEvent, RolloutView, TrafficView},
    },
    clock,
};

/// How long the engine may be silent before it counts as gone: it restarts by itself within a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// JSON lines come at least this often while something moves.
const JSON_EVERY: Duration = Duration::from_secs(5);

/// How a rollout is shown.
pub(super) enum Screen {
    /// On the whole terminal.
    Live(Box<Live>),
    /// One line per change.
    Lines,
    /// One JSON object per line.
    Json(Option<Instant>),
    /// Not at all.
    Silent,
}

/// One line of `--output json` while something moves.
#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum JsonLine<'a> {
    /// How it stands.
    Status {
        at: Timestamp,
        #[serde(flatten)]
        view: &'a RolloutView,
    },
    /// What changed.
    Change { at: Timestamp, rollout: &'a Name, text: &'a str },
}

/// What happens when nobody can see any more what is shown: the terminal was closed, the reader has gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unseen {
    /// Watching ends; what is watched goes on by itself.
    Ends,
    /// It goes on in silence: a service hangs on this process.
    GoesOn,
}

impl Screen {
    /// Says something that is not about the rollout itself.
    ///
    /// # Errors
    /// The output is gone.
    pub(super) fn say(&mut self, text: &str) -> Result<(), Failure> {
        let now = clock::wall();
        match self {
            Self::Live(live) => {
                live.scene.note(now, Change { tone: Tone::Plain, text: text.to_owned() });
                live.draw(now)
            }
            Self::Lines => output::print(text),
            Self::Json(_) | Self::Silent => Ok(()),
        }
    }

    /// Shows a rollout that has just been looked at.
    fn show(&mut self, before: Option<&RolloutView>, view: &RolloutView) -> Result<(), Failure> {
        let changes = changes(before, view);
        let now = clock::wall();
        match self {
            Self::Live(live) => {
                for it in changes {
                    live.scene.note(view.at, it);
                }
                live.scene.view = Some(view.clone());
                live.draw(now)
            }
            Self::Lines => {
                for it in &changes {
                    output::print(line(view.at, it))?;
                }
                Ok(())
            }
            Self::Json(last) => {
                let now = clock::instant();
                let due = last.is_none_or(|it| now.duration_since(it) >= JSON_EVERY);
                if !changes.is_empty() || (due && view.phase.is_moving()) {
                    *last = Some(now);
                    for it in &changes {
                        json_line(&JsonLine::Change { at: view.at, rollout: &view.name, text: &it.text })?;
                    }
                    json_line(&JsonLine::Status { at: view.at, view })?;
                }
                Ok(())
            }
            Self::Silent => Ok(()),
        }
    }

    async fn pressed(&mut self) -> Pressed {
        match self {
            Self::Live(live) => live.pressed().await,
            Self::Lines | Self::Json(_) | Self::Silent => std::future::pending().await,
        }
    }

    fn redraw(&mut self) -> Result<(), Failure> {
        match self {
            Self::Live(live) => live.draw(clock::wall()),
            Self::Lines | Self::Json(_) | Self::Silent => Ok(()),
        }
    }

    /// Draws on the whole terminal if there is one and nothing speaks against it, else in lines.
    ///
    /// # Errors
    /// The terminal cannot be prepared.
    pub(super) fn choose(flow: output::Flow, no_live: bool, leaving: &'static str) -> Result<Self, Failure> {
        match flow {
            output::Flow::Json => Ok(Self::Json(None)),
            output::Flow::Text if no_live || !super::live::possible() => Ok(Self::Lines),
            output::Flow::Text => {
                let theme = super::picture::Theme { color: color::on_stdout() };
                Ok(Self::Live(Box::new(Live::begin(Scene::new(leaving, theme))?)))
            }
        }
    }

    /// The scene that is drawn, where one is.
    pub(super) fn scene(&mut self) -> Option<&mut Scene> {
        match self {
            Self::Live(live) => Some(&mut live.scene),
            Self::Lines | Self::Json(_) | Self::Silent => None,
        }
    }
}

fn line(at: Timestamp, change: &Change) -> String {
    let style = match change.tone {
        Tone::Plain => anstyle::Style::new(),
        Tone::Good => color::GOOD,
        Tone::Bad => color::BAD,
        Tone::Warn => color::WARN,
    };
    format!("{}  {}", color::paint(color::DIM, words::clock_time(at)), color::paint(style, &change.text))
}

/// How watching ended.
#[derive(Debug)]
pub(super) enum Watched {
    /// What was waited for is over.
    Over(Box<Over>),
    /// The time was up.
    TimedOut(Box<Over>),
    /// A person or a signal said that it is to end.
    Left,
    /// A person left the picture.
    Closed,
    /// The rollout was deleted.
    Gone,
}

/// The end of what was waited for.
#[derive(Clone, Debug)]
pub(super) struct Over {
    /// How it ended and why.
    pub(super) ending: (Ending, String),
    /// The rollout then.
    pub(super) view: RolloutView,
    /// The traffic of the attempt.
    pub(super) traffic: Vec<TrafficView>,
    /// Seconds of the attempt, or of the wait where there was none.
    pub(super) took: Duration,
}

/// Follows one rollout.
pub(super) struct Watch<R = Client> {
    client: R,
    name: Name,
    /// Where it is.
    home: Home,
    /// What is waited for; `None`: nothing, it is watched until somebody leaves.
    pub(super) awaited: Option<Awaited>,
    /// How long at most.
    pub(super) timeout: Option<Duration>,
    /// What becomes of it when nobody can see it.
    pub(super) unseen: Unseen,
    /// What stands above the live view, asked for at each drawing.
    pub(super) banner: Option<Box<dyn Fn() -> String>>,
    before: Option<RolloutView>,
    began: Timestamp,
    /// When the awaited attempt was first seen, and its traffic since.
    attempt_began: Option<Timestamp>,
    traffic: Vec<TrafficView>,
}

/// Since when nothing was heard of the engine, and whether that was said.
struct Silence {
    since: Instant,
    told: bool,
}

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    unseen: Unseen,
}

impl Signals {
    /// Hears them from now on: one that comes before [`Self::end`] is called is remembered, and ends nothing by itself.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub(super) fn new(unseen: Unseen) -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|source| Failure::System { act: "listen to signals", source });
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
            unseen,
        })
    }

    /// SIGINT, SIGTERM, and SIGHUP where a closed terminal means the end.
    pub(super) async fn end(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => match self.unseen {
                    Unseen::Ends => return,
                    Unseen::GoesOn => tracing::info!("the terminal was closed; the service goes on"),
                },
            }
        }
    }
}

/// Ends when this process is asked to end: by SIGINT or SIGTERM; by SIGHUP too where a closed terminal means that.
///
/// # Errors
/// Signals cannot be listened to.
pub(super) async fn asked_to_end(unseen: Unseen) -> Result<(), Failure> {
    Signals::new(unseen)?.end().await;
    Ok(())
}

impl<R: Remote> Watch<R> {
    /// Follows `name`.
    #[must_use]
    pub(super) fn new(client: R, name: Name, home: Home) -> Self {
        Self {
            client,
            name,
            home,
            awaited: None,
            timeout: None,
            unseen: Unseen::Ends,
            banner: None,
            before: None,
            began: clock::wall(),
            attempt_began: None,
            traffic: vec![],
        }
    }

    /// Watches until what is awaited is over, the time is up, or somebody leaves.
    ///
    /// # Errors
    /// The engine is gone and does not come back, or the output is gone.
    pub(super) async fn run(&mut self, screen: &mut Screen) -> Result<Watched, Failure> {
        let mut signals = Signals::new(self.unseen)?;
        let until = self.timeout.map(|it| clock::instant() + it);
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut silence = Silence { since: clock::instant(), told: false };
        let mut events = follow(self.client.clone(), self.name.clone());
        loop {
            tokio::select! {
                Some(event) = events.recv() => match event {
                    Ok(RolloutEvent::Status(view)) => {
                        silence = Silence { since: clock::instant(), told: false };
                        if let Some(over) = self.look(*view, screen)? {
                            return Ok(Watched::Over(Box::new(over)));
                        }
                    }
                    Ok(RolloutEvent::Decision(_)) => {}
                    Ok(RolloutEvent::Gone) => return Ok(Watched::Gone),
                    Err(error) => self.excuse(error, &mut silence, screen)?,
                },
                _ = ticks.tick() => {
                    if let (Some(scene), Some(banner)) = (screen.scene(), &self.banner) {
                        scene.banner = banner();
                    }
                    self.seen(screen, Screen::redraw)?;
                    if until.is_some_and(|it| clock::instant() >= it) {
                        return self.timed_out();
                    }
                }
                pressed = screen.pressed() => match pressed {
                    Pressed::Quit => return Ok(Watched::Left),
                    Pressed::Close => return Ok(Watched::Closed),
                    Pressed::Redraw => self.seen(screen, Screen::redraw)?,
                    Pressed::Gone if self.unseen == Unseen::Ends => return Ok(Watched::Left),
                    Pressed::Gone => *screen = Screen::Silent,
                },
                () = signals.end() => return Ok(Watched::Left),
            }
        }
    }

    fn look(&mut self, view: RolloutView, screen: &mut Screen) -> Result<Option<Over>, Failure> {
        self.seen(screen, |screen| screen.show(self.before.as_ref(), &view))?;
        self.count(&view);
        let ending = self.awaited.as_ref().and_then(|it| it.ended(&view));
        let over = ending.map(|ending| self.over(ending, view.clone()));
        self.before = Some(view);
        Ok(over)
    }

    /// Shows something. Where a service hangs on this process, a screen that is gone is given up and nothing else.
    fn seen(
        &self,
        screen: &mut Screen,
        show: impl FnOnce(&mut Screen) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match (show(screen), self.unseen) {
            (Err(error), Unseen::GoesOn) => {
                *screen = Screen::Silent;
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "nobody sees this; the service goes on"
                );
                Ok(())
            }
            (shown, Unseen::Ends | Unseen::GoesOn) => shown,
        }
    }

    /// Keeps the counts of the awaited attempt: they begin anew with the next one.
    fn count(&mut self, view: &RolloutView) {
        let Some(awaited) = &self.awaited else { return };
        let over = view.last.as_ref().is_some_and(|it| it.attempt >= awaited.attempt);
        if view.attempt == awaited.attempt && !over {
            self.attempt_began = self.attempt_began.or(view.started);
            self.traffic.clone_from(&view.traffic);
        } else if over && !view.last_traffic.is_empty() {
            self.traffic.clone_from(&view.last_traffic);
        } else if self.attempt_began.is_none() {
            self.traffic.clone_from(&view.traffic);
        }
    }

    fn over(&self, ending: (Ending, String), view: RolloutView) -> Over {
        let ended = view.last.as_ref().filter(|it| self.attempt_began.is_some_and(|began| it.at >= began));
        let end = ended.map_or(view.at, |it| it.at);
        let took = words::between(self.attempt_began.unwrap_or(self.began), end);
        Over { ending, view, traffic: self.traffic.clone(), took }
    }

    fn timed_out(&mut self) -> Result<Watched, Failure> {
        let within = strategies::HumanDuration(self.timeout.unwrap_or_default());
        let Some(view) = self.before.clone() else {
            return Err(Failure::TimedOut { what: format!("rollout `{}`", self.name), within });
        };
        let waits: Vec<_> = view.waiting.iter().map(|it| it.text.clone()).collect();
        let waits =
            if waits.is_empty() { String::new() } else { format!("; it waits for {}", waits.join(", ")) };
        let reason = format!("not over within {within}: {}{waits}", words::stands(&view));
        Ok(Watched::TimedOut(Box::new(self.over((Ending::Unfinished, reason), view))))
    }

    /// The engine may be restarting. Where a service hangs on this process it may take as long as it likes: requests
    /// are served without it.
    fn excuse(&self, error: ClientError, silence: &mut Silence, screen: &mut Screen) -> Result<(), Failure> {
        let gone = clock::instant().duration_since(silence.since) >= PATIENCE;
        let never_seen = self.before.is_none() && matches!(error, ClientError::NotRunning { .. });
        match self.unseen {
            Unseen::Ends if !error.retryable() || never_seen => Err(error.into()),
            Unseen::Ends if gone => Err(self.home.down()),
            Unseen::GoesOn if gone && !silence.told => {
                silence.told = true;
                let log = self.home.log();
                let text = format!(
                    "the engine does not answer ({error}); requests are served as before; its log is {log}"
                );
                self.seen(screen, |screen| screen.say(&text))
            }
            Unseen::Ends | Unseen::GoesOn => Ok(()),
        }
    }
}

/// Events of a rollout for as long as somebody listens. A stream that ended is begun again.
fn follow(client: impl Remote, name: Name) -> mpsc::Receiver<Result<RolloutEvent, ClientError>> {
    let (tell, heard) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            if let Err(error) = forward(&client, &name, &tell).await
                && tell.send(Err(error)).await.is_err()
            {
                return;
            }
            if tell.is_closed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    heard
}

async fn forward(
    client: &impl Remote,
    name: &Name,
    tell: &mpsc::Sender<Result<RolloutEvent, ClientError>>,
) -> Result<(), ClientError> {
    let mut events = client.events(name).await?;
    while let Some(event) = events.next().await? {
        if tell.send(Ok(event)).await.is_err() {
            break;
        }
    }
    Ok(())
}
