//! Commands that no shell reads: what only a shell would understand in them.
//!
//! A command is a list of words that the program gets as they stand. What is refused here can only be meant for a
//! shell; what a program may well understand itself (`${…}` in a Java option, a script for `awk`) is not.

use strategies::recipe::Key;

use super::{Check, Code, Diagnostic};

/// Programs that read what follows as a command line, here or elsewhere.
const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "busybox", "su", "runuser", "ssh", "parallel",
];
/// Programs whose arguments are scripts of their own, in which `$` means something.
const SCRIPTED: &[&str] =
    &["awk", "gawk", "mawk", "perl", "sed", "jq", "expect", "tclsh", "pwsh", "envsubst"];
/// Options that a script follows.
const SCRIPT_FOLLOWS: &[&str] = &["-c", "-e", "-E", "-r", "-p", "-x", "--eval", "--exec", "--execute"];
/// Words that steer a shell.
const OPERATORS: &[&str] =
    &["&&", "||", "|", "&", ";", "<", ">", ">>", "2>", "2>>", "2>&1", "&>", "1>", "1>&2", ">&2", "|&"];

/// A command to be looked at.
pub(super) struct Command<'a> {
    /// Program and arguments as written.
    pub(super) words: Vec<&'a str>,
    /// Variables that it certainly gets, and what to write for each instead, where there is something.
    pub(super) variables: Vec<(&'a str, Option<&'static str>)>,
}

/// One thing that is wrong with a word.
struct Wrong {
    message: String,
    label: Option<String>,
    help: String,
    /// It can be meant, and seldom is.
    seldom: bool,
}

/// Looks at a command; `way`: where its list stands.
pub(super) fn check(command: &Command<'_>, way: &[Key], check: &mut Check<'_>) {
    let shell = command.words.iter().position(|it| SHELLS.contains(&base(it)));
    let scripted = command.words.first().is_some_and(|it| SCRIPTED.contains(&base(it)));
    for (index, word) in command.words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|it| command.words.get(it));
        let is_script = scripted || before.is_some_and(|it| SCRIPT_FOLLOWS.contains(it));
        if shell.is_some_and(|shell| shell < index) || (0 < index && is_script) {
            continue;
        }
        let found = if index == 0 { program(word, command.words.len()) } else { argument(word) };
        for wrong in found.into_iter().chain(variable(word, command)) {
            let span = check.at(&[way, &[Key::Index(index)]].concat());
            let make = if wrong.seldom { Diagnostic::warning } else { Diagnostic::error };
            let mut told = make(Code::NoShell, span, wrong.message).help(wrong.help);
            told.label = wrong.label;
            check.found.push(told);
        }
    }
}

fn program(word: &str, words: usize) -> Option<Wrong> {
    let mut parts = word.split_whitespace();
    let (first, rest): (&str, Vec<&str>) = (parts.next()?, parts.collect());
    let bare = !first.contains('/');
    let options = rest.iter().any(|it| it.starts_with('-'));
    if !rest.is_empty() && (bare || options || words == 1 && !first.starts_with('/')) {
        let each: Vec<String> = std::iter::once(first).chain(rest.iter().copied()).map(quoted).collect();
        return Some(Wrong {
            message: "a program and its arguments in one word: no shell takes them apart".into(),
            label: Some(format!("write `[ {} ]`", each.join(", "))),
            help:
                "each word of a command is written by itself; a path that does hold a blank begins with `/`"
                    .into(),
            seldom: false,
        });
    }
    if word.starts_with("~/") {
        return Some(Wrong {
            message: "no shell replaces `~` by a home directory".into(),
            label: None,
            help: "write the path itself, absolute or relative to `workingDir`".into(),
            seldom: false,
        });
    }
    let (name, value) = word.split_once('=')?;
    let is_name = |it: &str| it.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (!name.is_empty() && is_name(name) && 1 < words).then(|| Wrong {
        message: format!("no shell sets the variable `{name}`: this is taken for the program"),
        label: None,
        help: format!("write `env: [ {{ name: {name}, value: {} }} ]`", quoted(value)),
        seldom: false,
    })
}

fn argument(word: &str) -> Option<Wrong> {
    if OPERATORS.contains(&word) {
        return Some(Wrong {
            message: format!("`{word}` steers a shell, and no shell reads this command"),
            label: None,
            help: "let one read it: `command: [ sh, -c, \"exec …\" ]`".into(),
            seldom: false,
        });
    }
    let (option, value) = word.split_once(' ')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_option = option.starts_with('-') && option.len() > 1 && option.chars().all(plain);
    (is_option && !value.trim().contains(' ')).then(|| Wrong {
        message: format!("`{word}` is one argument, with a blank in it"),
        label: Some(format!("write `{option}, {}`", quoted(value.trim()))),
        help: "no shell takes an option and its value apart: each is a word of its own".into(),
        seldom: true,
    })
}

/// A variable of the environment as a shell would replace it.
fn variable(word: &str, command: &Command<'_>) -> Option<Wrong> {
    let (written, name) = reference(word)?;
    let known = command.variables.iter().find(|(it, _)| *it == name);
    // Programs on the JVM replace `${…}` in their options themselves.
    let replaces = written.starts_with("${")
        && command.words.iter().any(|it| base(it) == "java" || it.ends_with(".jar"));
    let (label, help) = match known.and_then(|(_, instead)| *instead) {
        Some(instead) => (
            Some(format!("write `{}`", word.replace(&written, instead))),
            format!(
                "`{instead}` is replaced without a shell; the program also finds it in the variable `{name}`"
            ),
        ),
        None => (
            None,
            format!("write its value, or let a shell read the command: `[ sh, -c, \"exec … {written}\" ]`"),
        ),
    };
    Some(Wrong {
        message: format!("no shell replaces `{written}`: the program gets these characters"),
        label,
        help,
        seldom: replaces || known.is_none(),
    })
}

/// The first `$NAME` or `${NAME}` of capital letters, as it is written and its name.
fn reference(word: &str) -> Option<(String, &str)> {
    let starts = word.match_indices('$').map(|(at, _)| at);
    starts.into_iter().find_map(|at| {
        if word[..at].ends_with(['$', '\\']) {
            return None;
        }
        let rest = &word[at + 1..];
        let (inside, braces) = match rest.strip_prefix('{') {
            Some(inside) => (inside, true),
            None => (rest, false),
        };
        let end = inside.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let name = &inside[..end.unwrap_or(inside.len())];
        let begins = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
        let closed = if braces { Some(inside.find('}')? + 1) } else { None };
        begins.then(|| {
            let length = closed.map_or(1 + name.len(), |closed| 2 + closed);
            (word[at..at + length].to_owned(), name)
        })
    })
}

/// The name of a program without its directories.
fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// A word as it can stand in a list between brackets.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-=+@".contains(c);
    let needs = word.is_empty()
        || !word.chars().all(plain)
        || word.starts_with(|c: char| "@-".contains(c) && word.len() == 1);
    if needs { format!("{word:?}") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_as_a_shell_would_find_it() {
        let check = |word: &str, expected: Option<(&str, &str)>| {
            let found = reference(word);
            assert_eq!(found.as_ref().map(|(written, name)| (written.as_str(), *name)), expected, "{word}");
        };
        check("$PORT", Some(("$PORT", "PORT")));
        check("--port=${PORT}x", Some(("${PORT}", "PORT")));
        check("${PORT:-8080}", Some(("${PORT:-8080}", "PORT")));
        check("0.0.0.0:$PORT/$X", Some(("$PORT", "PORT")));
        check("$(port)", None);
        check("$$PORT", None);
        check("\\$PORT", None);
        check("$port", None);
        check("^a$", None);
        check("${PORT", None);
        check("$1", None);
    }

    #[test]
    fn words_are_quoted_where_a_list_needs_it() {
        for (word, expected) in
            [("node", "node"), ("-p", "-p"), ("a b", "\"a b\""), ("", "\"\""), ("$(port)", "\"$(port)\"")]
        {
            assert_eq!(quoted(word), expected);
        }
    }
}
