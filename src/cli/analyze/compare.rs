//! Two judgements of the same time side by side.

use analysis::Verdict;
use serde::Serialize;

use super::say::{Said, style};
use crate::cli::{Exit, color, output::table, words};

/// What two templates said of the same time. Stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Compared {
    /// Whether both came to the same verdict.
    agree: bool,
    first: Named,
    second: Named,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    template: String,
    #[serde(flatten)]
    said: Said,
}

impl Compared {
    pub(super) fn new(first: (String, Said), second: (String, Said)) -> Self {
        let named = |(template, said)| Named { template, said };
        Self { agree: first.1.verdict() == second.1.verdict(), first: named(first), second: named(second) }
    }

    pub(super) fn exit(&self) -> Exit {
        if self.agree { Exit::Done } else { Exit::Failed }
    }

    pub(super) fn text(&self) -> String {
        let sides = [&self.first, &self.second];
        let mut names: Vec<&str> = sides.iter().flat_map(|it| it.said.decided()).map(|it| it.0).collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|it| seen.insert(*it));
        let mut rows = vec![vec![String::new(), self.first.template.clone(), self.second.template.clone()]];
        for name in names {
            let of = |it: &Named| {
                let found = it.said.decided().find(|it| it.0 == name);
                found.map_or_else(|| "–".to_owned(), |(_, verdict, after)| cell(verdict, after))
            };
            rows.push(vec![name.to_owned(), of(&self.first), of(&self.second)]);
        }
        let whole = |it: &Named| cell(it.said.verdict(), it.said.ended());
        rows.push(vec!["together".to_owned(), whole(&self.first), whole(&self.second)]);
        let mut text = table(&rows);
        text.push('\n');
        text += &match self.agree {
            true => format!("Both say {}.", self.first.said.verdict().name()),
            false => format!(
                "They disagree: `{}` says {}, `{}` says {}.",
                self.first.template,
                self.first.said.verdict().name(),
                self.second.template,
                self.second.said.verdict().name()
            ),
        };
        for it in sides {
            text += &format!("\n\n{}\n{}", color::paint(color::STRONG, &it.template), it.said.text());
        }
        text
    }
}

fn cell(verdict: Verdict, after: Option<f64>) -> String {
    let after = after.and_then(|it| std::time::Duration::try_from_secs_f64(it).ok());
    let after = after.map_or_else(String::new, |it| format!(" after {}", words::span(it)));
    format!("{}{after}", color::paint(style(verdict), verdict.name()))
}
