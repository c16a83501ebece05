//! A rollout as lines on a terminal: what `status` prints once and the live view draws again and again. Pure.

use jiff::Timestamp;
use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::words;
use crate::api::view::{PhaseName, RolloutView, WaitView};

mod bar;
mod evidence;
mod traffic;

/// Lines of a failed process that are shown.
const LAST_LINES: usize = 5;

/// The styles of a picture. Without colour, brightness tells things apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Theme {
    /// Whether colours may be used.
    pub(super) color: bool,
}

impl Theme {
    fn of(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// What went well.
    #[must_use]
    pub(super) fn good(self) -> Style {
        self.of(Color::Green)
    }

    /// What went wrong.
    #[must_use]
    pub(super) fn bad(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Worth a look.
    #[must_use]
    pub(super) fn warn(self) -> Style {
        self.of(Color::Yellow)
    }

    /// The stable side.
    #[must_use]
    pub(super) fn stable(self) -> Style {
        self.of(Color::Cyan)
    }

    /// The canary side.
    #[must_use]
    pub(super) fn canary(self) -> Style {
        self.of(Color::Yellow)
    }

    /// What a reader may skip.
    #[must_use]
    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What a reader looks for.
    #[must_use]
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}

/// A block of lines that belong together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Section {
    /// What it is about; empty: no heading.
    pub(super) title: &'static str,
    /// Its lines, no wider than asked for.
    pub(super) lines: Vec<Line<'static>>,
    /// What is left out first when there is no room: the lowest.
    pub(super) priority: u8,
}

/// Everything about a rollout, from top to bottom, no line wider than `width` columns. Empty sections are left out.
#[must_use]
pub(super) fn sections(view: &RolloutView, now: Timestamp, width: usize, theme: Theme) -> Vec<Section> {
    let all = [
        Section { title: "", lines: head(view, now, theme), priority: 9 },
        Section { title: "way", lines: traffic::way(view, width, theme), priority: 8 },
        Section { title: "traffic", lines: traffic::arms(view, width, theme), priority: 7 },
        Section { title: "last minute", lines: traffic::recent(view, width, theme), priority: 3 },
        Section { title: "evidence", lines: evidence::evidence(view, width, theme), priority: 6 },
        Section { title: "waits for", lines: waits(view, now, theme), priority: 5 },
        Section { title: "why it fails", lines: failure(view, width, theme), priority: 8 },
        Section { title: "troubles", lines: troubles(view, now, theme), priority: 8 },
    ];
    let mut all: Vec<_> = all.into_iter().filter(|it| !it.lines.is_empty()).collect();
    for line in all.iter_mut().flat_map(|it| &mut it.lines) {
        cut(line, width);
    }
    all
}

fn head(view: &RolloutView, now: Timestamp, theme: Theme) -> Vec<Line<'static>> {
    let style = match view.phase {
        PhaseName::Stepping if view.hold.is_some() => theme.warn(),
        PhaseName::Aborting | PhaseName::RolledBack => theme.bad(),
        PhaseName::Idle | PhaseName::Promoting => theme.good(),
        PhaseName::Adopting | PhaseName::Stepping | PhaseName::Leaving | PhaseName::Left => theme.strong(),
    };
    let mut first = vec![
        Span::styled(view.name.to_string(), theme.strong()),
        Span::raw("  "),
        Span::styled(words::stands(view), style),
    ];
    if view.attempt > 0 && view.phase.is_moving() {
        first.push(Span::styled(format!("  attempt {}", view.attempt), theme.dim()));
    }
    let since = if view.phase.is_moving() { view.started.unwrap_or(view.since) } else { view.since };
    let age = words::span(std::time::Duration::from_secs(words::between(since, now).as_secs()));
    first.push(Span::styled(format!("  for {age}"), theme.dim()));
    let mut lines = vec![Line::from(first)];
    let mut second = vec![];
    if let (true, Some(cause)) =
        (matches!(view.phase, PhaseName::Aborting | PhaseName::RolledBack), &view.cause)
    {
        second.push(Span::styled(words::cause(cause), theme.bad()));
    } else if let Some(held) = words::held(view) {
        second.push(Span::styled(format!("paused: {held}"), theme.warn()));
    }
    if !second.is_empty() {
        lines.push(Line::from(second));
    }
    let addresses: Vec<_> =
        view.addresses.iter().map(|it| format!("{}://{}", it.scheme, it.address)).collect();
    if !addresses.is_empty() {
        lines.push(Line::from(Span::styled(addresses.join("  "), theme.dim())));
    }
    lines
}

fn waits(view: &RolloutView, now: Timestamp, theme: Theme) -> Vec<Line<'static>> {
    let line = |it: &WaitView| {
        let until = match it.until {
            Some(until) => format!("until {} ({})", words::clock_time(until), words::relative(until, now)),
            None => "no deadline".to_owned(),
        };
        Line::from(vec![Span::raw(it.text.clone()), Span::styled(format!("  {until}"), theme.dim())])
    };
    view.waiting.iter().map(line).collect()
}

fn failure(view: &RolloutView, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(it) = &view.failure else { return vec![] };
    let styled = |style: Style| move |text: String| Line::from(Span::styled(text, style));
    let mut lines: Vec<_> = fold(&format!("{}: {}", it.revision, it.because), width)
        .into_iter()
        .map(styled(theme.bad()))
        .collect();
    let said = it.said.iter().rev().take(LAST_LINES).rev();
    lines.extend(said.map(|text| Line::from(Span::styled(format!("  {text}"), theme.dim()))));
    if let Some(log) = &it.log {
        // A path is copied by hand: it is folded, never cut.
        lines.extend(pieces(&format!("log: {}", log.display()), width).into_iter().map(styled(theme.dim())));
    }
    lines
}

/// Text in pieces of at most `width` columns, wherever they end.
fn pieces(text: &str, width: usize) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    all.chunks(width.max(1)).map(|it| it.iter().collect()).collect()
}

fn troubles(view: &RolloutView, now: Timestamp, theme: Theme) -> Vec<Line<'static>> {
    let line = |it: &crate::api::view::Trouble| {
        let since = format!("  ({})", words::relative(it.since, now));
        Line::from(vec![Span::styled(it.text.clone(), theme.warn()), Span::styled(since, theme.dim())])
    };
    view.troubles.iter().map(line).collect()
}

/// Cuts a line to so many columns; three dots say that something is missing.
pub(super) fn cut(line: &mut Line<'static>, width: usize) {
    if line.width() <= width {
        return;
    }
    let mut left = width.saturating_sub(1);
    let mut kept = vec![];
    for span in line.spans.drain(..) {
        if span.width() <= left {
            left -= span.width();
            kept.push(span);
            continue;
        }
        let text: String = span.content.chars().take(left).collect();
        kept.push(Span::styled(format!("{text}…"), span.style));
        break;
    }
    line.spans = kept;
}

/// A line with the control sequences of its styles, for streams that take them out where they do not belong.
#[must_use]
pub(super) fn ansi(line: &Line<'static>) -> String {
    line.spans.iter().map(|it| super::color::paint(anstyle_of(it.style), &it.content)).collect()
}

fn anstyle_of(style: Style) -> anstyle::Style {
    use anstyle::{AnsiColor, Effects};
    let mut effects = Effects::new();
    if style.add_modifier.contains(Modifier::BOLD) {
        effects |= Effects::BOLD;
    }
    if style.add_modifier.contains(Modifier::DIM) {
        effects |= Effects::DIMMED;
    }
    let color = match style.fg {
        Some(Color::Green) => Some(AnsiColor::Green),
        Some(Color::Red) => Some(AnsiColor::Red),
        Some(Color::Yellow) => Some(AnsiColor::Yellow),
        Some(Color::Cyan) => Some(AnsiColor::Cyan),
        // No theme uses any other.
        Some(_) | None => None,
    };
    anstyle::Style::new().effects(effects).fg_color(color.map(Into::into))
}

/// Folds text into lines of at most `width` columns, between words.
#[must_use]
pub(super) fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::ArmRole;
    use crate::cli::testing;

    fn text(sections: &[Section]) -> Vec<String> {
        let lines = |it: &Section| it.lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        sections.iter().flat_map(lines).collect()
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut view = testing::view();
        view.traffic = vec![
            testing::traffic("aaaaaaaaaa", ArmRole::Stable, 1_000_000, 12),
            testing::traffic("bbbbbbbbbb", ArmRole::Canary, 50_000, 3),
        ];
        view.waiting = vec![WaitView {
            what: strategies::WaitingFor::Time,
            text: "a very long text about something that takes its time ".repeat(4),
            since: Timestamp::UNIX_EPOCH,
            until: None,
        }];
        view.failure = Some(crate::api::view::FailureView {
            revision: "bbbbbbbbbb".into(),
            attempt: 1,
            at: Timestamp::UNIX_EPOCH,
            because: "exit code 1: ModuleNotFoundError: No module named 'payments'".into(),
            ended: true,
            said: vec!["a long line of a stack ".repeat(20), "ModuleNotFoundError".into()],
            log: Some("/var/lib/shop/.serinus/logs/shop/bbbbbbbbbb-main-0.log".into()),
        });
        for width in [1, 20, 40, 60, 80, 120, 200] {
            for section in sections(&view, Timestamp::UNIX_EPOCH, width, Theme { color: true }) {
                for line in section.lines {
                    assert!(line.width() <= width, "{width}: {} {line}", line.width());
                }
            }
        }
    }

    #[test]
    fn fresh_replicas_have_a_share_of_their_own_and_stables_requests() {
        let mut view = testing::view();
        let arm = |revision: &str, role| crate::api::view::ArmView {
            revision: revision.into(),
            role,
            desired: 1,
            ready: Some(1),
            replicas: vec![],
        };
        view.arms = vec![
            arm("aaaaaaaaaa", ArmRole::Stable),
            arm("aaaaaaaaaa", ArmRole::Baseline),
            arm("bbbbbbbbbb", ArmRole::Canary),
        ];
        view.traffic = vec![testing::traffic("aaaaaaaaaa", ArmRole::Stable, 1_000, 1)];
        view.weight.baseline = strategies::Weight::from_percent(5);
        let by = [("aaaaaaaaaa".into(), crate::api::view::Tally { total: 10, failed: 0 })].into();
        view.recent = vec![crate::api::view::Second { at: Timestamp::UNIX_EPOCH, by }];
        let lines = text(&sections(&view, Timestamp::UNIX_EPOCH, 100, Theme { color: false }));
        let fresh: Vec<&String> = lines.iter().filter(|it| it.trim_start().starts_with("fresh")).collect();
        assert!(matches!(fresh[..], [one] if one.contains(" 5%") && one.contains("1/1 ready")), "{lines:#?}");
        assert!(lines.iter().any(|it| it.contains("stable") && it.contains(" 90%")), "{lines:#?}");
    }

    #[test]
    fn without_colour_no_colour_is_used() {
        let mut view = testing::view();
        view.phase = PhaseName::Aborting;
        view.cause = Some(strategies::Cause::ProgressDeadline);
        let all = sections(&view, Timestamp::UNIX_EPOCH, 80, Theme { color: false });
        let spans = all.iter().flat_map(|it| &it.lines).flat_map(|it| &it.spans);
        assert!(spans.into_iter().all(|it| it.style.fg.is_none() && it.style.bg.is_none()));
        assert!(text(&all)[0].contains("turning back"));
    }

    #[test]
    fn text_folds_between_words() {
        assert_eq!(fold("one two three", 7), ["one two", "three"]);
        assert_eq!(fold("", 7), Vec::<String>::new());
    }
}
