//! The live view: the picture of a rollout on the whole terminal, drawn again as things change.
//!
//! The terminal is given back as it was on every way out: at the end, on a signal, on a panic.

use std::{
    collections::VecDeque,
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::{
        cursor::Show,
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
    },
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};
use tokio::sync::mpsc;

use super::{
    Failure,
    changes::{Change, Tone},
    picture::{self, Section, Theme},
    words,
};
use crate::api::view::RolloutView;

/// Lines of the log that are kept.
const LOG: usize = 200;

/// What a person did at the terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pressed {
    /// End it: Ctrl-C.
    Quit,
    /// Leave the picture: `q`, Esc, Ctrl-D.
    Close,
    /// Nobody can press anything any more: the terminal is gone.
    Gone,
    /// The terminal has another size, or is to be drawn again.
    Redraw,
}

/// Everything that is drawn.
#[derive(Debug)]
pub(super) struct Scene {
    /// The rollout, once it is known.
    pub(super) view: Option<RolloutView>,
    /// What is said above it; empty: nothing.
    pub(super) banner: String,
    /// What leaving the view means.
    pub(super) leaving: &'static str,
    /// What happened, oldest first.
    log: VecDeque<(Timestamp, Change)>,
    theme: Theme,
}

impl Scene {
    /// Nothing to be seen yet.
    #[must_use]
    pub(super) fn new(leaving: &'static str, theme: Theme) -> Self {
        Self { view: None, banner: String::new(), leaving, log: VecDeque::new(), theme }
    }

    /// Adds to the log.
    pub(super) fn note(&mut self, at: Timestamp, change: Change) {
        self.log.push_back((at, change));
        while self.log.len() > LOG {
            self.log.pop_front();
        }
    }

    /// All lines for a terminal of this size.
    #[must_use]
    pub(super) fn lines(&self, now: Timestamp, width: usize, height: usize) -> Vec<Line<'static>> {
        let inner = width.saturating_sub(2);
        let mut sections = vec![];
        if !self.banner.is_empty() {
            let lines = picture::fold(&self.banner, inner);
            let lines = lines.into_iter().map(|it| Line::from(Span::styled(it, self.theme.dim()))).collect();
            sections.push(Section { title: "", lines, priority: 4 });
        }
        match &self.view {
            Some(view) => sections.extend(picture::sections(view, now, inner, self.theme)),
            None => {
                sections.push(Section { title: "", lines: vec![Line::from("starting …")], priority: 9 });
            }
        }
        let mut lines = self.arranged(sections, width, height.saturating_sub(1));
        lines.truncate(height.saturating_sub(1));
        lines.iter_mut().for_each(|line| picture::cut(line, width));
        while lines.len() + 1 < height {
            lines.push(Line::default());
        }
        let mut foot = Line::from(Span::styled(format!(" q  {}", self.leaving), self.theme.dim()));
        picture::cut(&mut foot, width);
        lines.push(foot);
        lines
    }

    /// The sections that fit, then as much of the log as there is room for.
    fn arranged(&self, mut sections: Vec<Section>, width: usize, height: usize) -> Vec<Line<'static>> {
        let least_log = usize::from(!self.log.is_empty()) * 4;
        let tall = |it: &Section| it.lines.len() + 1 + usize::from(!it.title.is_empty());
        while sections.len() > 1 && sections.iter().map(tall).sum::<usize>() + least_log > height {
            let lowest = sections.iter().map(|it| it.priority).min();
            let Some(index) = sections.iter().position(|it| Some(it.priority) == lowest) else { break };
            if lowest >= Some(8) {
                break;
            }
            sections.remove(index);
        }
        let mut lines = vec![];
        for section in sections {
            if !section.title.is_empty() {
                lines.push(self.heading(section.title, width));
            }
            lines.extend(section.lines.into_iter().map(|mut it| {
                it.spans.insert(0, Span::raw(" "));
                it
            }));
            lines.push(Line::default());
        }
        let room = height.saturating_sub(lines.len() + 1);
        if room > 0 && !self.log.is_empty() {
            lines.push(self.heading("what happened", width));
            lines.extend(self.told(width.saturating_sub(2), room));
        }
        lines
    }

    fn heading(&self, title: &str, width: usize) -> Line<'static> {
        let rule = "─".repeat(width.saturating_sub(title.chars().count() + 4).min(120));
        let mut line = Line::from(Span::styled(format!("─ {title} {rule}"), self.theme.dim()));
        picture::cut(&mut line, width);
        line
    }

    /// The latest entries of the log, folded, in at most `room` lines.
    fn told(&self, width: usize, room: usize) -> Vec<Line<'static>> {
        let mut lines: VecDeque<Line<'static>> = VecDeque::new();
        for (at, change) in self.log.iter().rev() {
            let style = match change.tone {
                Tone::Plain => ratatui::style::Style::new(),
                Tone::Good => self.theme.good(),
                Tone::Bad => self.theme.bad(),
                Tone::Warn => self.theme.warn(),
            };
            let time = format!(" {}  ", words::clock_time(*at));
            let indent = " ".repeat(time.len());
            let folded = picture::fold(&change.text, width.saturating_sub(time.len()).max(10));
            for (index, text) in folded.into_iter().enumerate().rev() {
                let lead = if index == 0 { time.clone() } else { indent.clone() };
                let mut line =
                    Line::from(vec![Span::styled(lead, self.theme.dim()), Span::styled(text, style)]);
                picture::cut(&mut line, width);
                lines.push_front(line);
            }
            if lines.len() >= room {
                break;
            }
        }
        let surplus = lines.len().saturating_sub(room);
        lines.into_iter().skip(surplus).collect()
    }

    fn draw(&self, frame: &mut Frame<'_>, now: Timestamp) {
        let area: Rect = frame.area();
        let lines = self.lines(now, usize::from(area.width), usize::from(area.height));
        frame.render_widget(Paragraph::new(lines), area);
    }
}

/// The terminal while the live view has it.
pub(super) struct Live {
    terminal: DefaultTerminal,
    keys: mpsc::Receiver<Pressed>,
    over: Arc<AtomicBool>,
    /// What is drawn.
    pub(super) scene: Scene,
}

/// Whether there is a terminal to draw on and to read keys from.
#[must_use]
pub(super) fn possible() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|it| it.is_empty() || it == "dumb");
    !dumb && std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

impl Live {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It cannot be prepared.
    pub(super) fn begin(scene: Scene) -> Result<Self, Failure> {
        show_cursor_on_panic();
        // Also gives the terminal back when the program panics.
        let terminal = ratatui::try_init()
            .map_err(|source| Failure::System { act: "draw on this terminal; try `--no-live`", source })?;
        let (press, keys) = mpsc::channel(16);
        let over = Arc::new(AtomicBool::new(false));
        std::thread::spawn({
            let over = Arc::clone(&over);
            move || listen(&press, &over)
        });
        Ok(Self { terminal, keys, over, scene })
    }

    /// The next thing a person does. Cancel safe.
    pub(super) async fn pressed(&mut self) -> Pressed {
        match self.keys.recv().await {
            Some(pressed) => pressed,
            None => Pressed::Gone,
        }
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, now: Timestamp) -> Result<(), Failure> {
        let scene = &self.scene;
        let drawn = self.terminal.draw(|frame| scene.draw(frame, now));
        drawn.map(drop).map_err(|source| Failure::System { act: "draw on this terminal", source })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // There is nobody left to tell.
        let _ = ratatui::try_restore();
    }
}

fn show_cursor_on_panic() {
    let then = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The terminal may be what failed.
        let _ = execute!(std::io::stdout(), Show);
        then(panic);
    }));
}

/// Reads keys until it is over. A thread, because reading a terminal blocks.
fn listen(press: &mpsc::Sender<Pressed>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        match event::poll(Duration::from_millis(100)) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let Ok(event) = event::read() else { return };
        if let Some(pressed) = meaning(&event)
            && press.blocking_send(pressed).is_err()
        {
            return;
        }
    }
}

fn meaning(event: &Event) -> Option<Pressed> {
    match event {
        Event::Resize(..) | Event::FocusGained => Some(Pressed::Redraw),
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(KeyEvent { code: KeyCode::Char('q' | 'Q') | KeyCode::Esc, .. }) => Some(Pressed::Close),
        Event::Key(KeyEvent { code: KeyCode::Char('d'), modifiers, .. })
            if modifiers.contains(KeyModifiers::CONTROL) =>
        {
            Some(Pressed::Close)
        }
        Event::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, .. })
            if modifiers.contains(KeyModifiers::CONTROL) =>
        {
            Some(Pressed::Quit)
        }
        Event::Key(_) | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::view;

    fn scene() -> Scene {
        let mut scene = Scene::new("leave", Theme { color: true });
        scene.view = Some(view());
        for number in 0..50 {
            let text = format!("change number {number} with a few more words than fit on a narrow terminal");
            scene.note(Timestamp::UNIX_EPOCH, Change { tone: Tone::Plain, text });
        }
        scene
    }

    #[test]
    fn only_an_interrupt_ends_what_is_watched() {
        let key = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Pressed::Quit));
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::NONE),
            (KeyCode::Char('Q'), KeyModifiers::SHIFT),
            (KeyCode::Esc, KeyModifiers::NONE),
            (KeyCode::Char('d'), KeyModifiers::CONTROL),
        ] {
            assert_eq!(key(code, modifiers), Some(Pressed::Close));
        }
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
    }

    #[test]
    fn every_size_is_filled_and_none_is_exceeded() {
        let scene = scene();
        for width in [1, 10, 40, 60, 120, 250] {
            for height in [1, 2, 5, 10, 24, 60] {
                let lines = scene.lines(Timestamp::UNIX_EPOCH, width, height);
                assert_eq!(lines.len(), height, "{width}x{height}");
                for line in &lines {
                    assert!(line.width() <= width, "{width}x{height}: {} {line}", line.width());
                }
            }
        }
    }

    #[test]
    fn the_latest_change_is_always_in_sight() {
        let lines = scene().lines(Timestamp::UNIX_EPOCH, 80, 24);
        let text: String = lines.iter().map(|it| format!("{it}\n")).collect();
        assert!(text.contains("change number 49"), "{text}");
        assert!(text.contains("step 1 of 2 (five)"), "{text}");
    }
}
