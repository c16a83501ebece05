//! What a program said before it ended: the lines that tell, among those it printed.

/// Longest line that is passed on, characters.
const MOST_CHARACTERS: usize = 300;

/// Words by which programs of all kinds say what went wrong.
const TELLING: [&str; 17] = [
    "error",
    "exception",
    "panic",
    "fatal",
    "cannot",
    "can't",
    "could not",
    "failed",
    "failure",
    "denied",
    "refused",
    "in use",
    "not found",
    "no such",
    "unable",
    "missing",
    "invalid",
];

/// The line that most likely says why; `None`: nothing was printed.
///
/// It is the last that names a failure, frames of a stack left out; else the last one.
#[must_use]
pub fn telling(lines: &[String]) -> Option<&str> {
    let lines = || lines.iter().map(String::as_str).filter(|it| !it.trim().is_empty()).rev();
    let names = |line: &&str| {
        let line = line.to_lowercase();
        TELLING.iter().any(|it| line.contains(it))
    };
    lines().filter(|it| !is_frame(it)).find(names).or_else(|| lines().next()).map(str::trim)
}

/// A line as it is passed on: without control characters, and no longer than a person reads.
#[must_use]
pub fn plain(line: &str) -> String {
    let mut text: String = line.trim_end().chars().filter(|it| !it.is_control() || *it == '\t').collect();
    if let Some((end, _)) = text.char_indices().nth(MOST_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A line of a stack, of Node, Java, Python or Rust: it names what called, not what went wrong.
fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    let indented = text.len() < line.len();
    indented && (text.starts_with("at ") || text.starts_with("File \"") || text.starts_with("... "))
        || text.starts_with("note: run with `RUST_BACKTRACE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert_eq!(telling(&lines), expected);
    }

    #[test]
    fn the_line_that_names_the_failure_is_found_whatever_the_language() {
        check("", None);
        check("\n \n", None);
        check("starting\nbye", Some("bye"));
        check(
            "Traceback (most recent call last):\n  File \"app.py\", line 1, in <module>\n    import payments\nModuleNotFoundError: No module named 'payments'",
            Some("ModuleNotFoundError: No module named 'payments'"),
        );
        check(
            "node:internal/modules/cjs/loader:1078\n  throw err;\n  ^\n\nError: Cannot find module 'pg'\n    at Module._resolve (node:internal/errors:1)\n  code: 'MODULE_NOT_FOUND'\n}\n\nNode.js v18.1.0",
            Some("Error: Cannot find module 'pg'"),
        );
        check(
            "Exception in thread \"main\" java.lang.RuntimeException: x\n\tat shop.Main.main(Main.java:7)\nCaused by: java.net.BindException: Address already in use\n\t... 3 more",
            Some("Caused by: java.net.BindException: Address already in use"),
        );
        check(
            "thread 'main' panicked at src/main.rs:2:5:\nno config\nnote: run with `RUST_BACKTRACE=1` to display a backtrace",
            Some("thread 'main' panicked at src/main.rs:2:5:"),
        );
    }

    #[test]
    fn lines_are_passed_on_without_colours_and_not_without_end() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m \r"), "[31mred[0m");
        assert_eq!(plain(&"ä".repeat(400)).chars().count(), MOST_CHARACTERS + 1);
    }
}
