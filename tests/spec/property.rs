//! Whatever the bytes: no panic, and either documents or something to say, with a place that exists.

use proptest::prelude::*;
use serinus::spec::{self, Document, Report, Severity, compile::compile};

use super::GOOD;

/// What must hold of every file.
fn holds(bytes: &[u8]) {
    let read = spec::read("any.yaml", bytes);
    let text = read.source.text();
    assert!(!read.documents.is_empty() || !read.diagnostics.is_empty(), "nothing is said about {bytes:?}");
    for it in &read.diagnostics {
        for span in std::iter::once(&it.span).chain(it.related.iter().map(|(span, _)| span)) {
            assert!(span.start <= span.end && span.end <= text.len(), "{it:?}");
            assert!(text.is_char_boundary(span.start) && text.is_char_boundary(span.end), "{it:?}");
        }
        assert!(!it.message.is_empty());
    }
    let report = Report { source: &read.source, diagnostics: &read.diagnostics };
    assert_eq!(report.render(false).is_empty(), read.diagnostics.is_empty());
    assert_eq!(report.records().len(), read.diagnostics.len());
    if read.diagnostics.iter().all(|it| it.severity != Severity::Error) {
        for it in &read.documents {
            if let Document::Rollout(it) = &it.document {
                let name = it.metadata.name.as_str();
                assert!(compile(&read.documents, Some(name)).is_ok(), "{name} does not compile");
            }
        }
    }
}

fn corpus() -> Vec<String> {
    let mut files: Vec<String> = super::examples::manifests().into_iter().map(|(_, text)| text).collect();
    files.push(GOOD.to_owned());
    files
}

fn pieces() -> Vec<&'static str> {
    vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "\t",
        "\"",
        "'",
        "&a ",
        "*a",
        "!!str ",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "|\n",
        ">-\n",
        "? ",
        "<<: ",
        "~",
        "null",
        "true",
        "off",
        "1e400",
        ".nan",
        "-1%",
        "101%",
        "5",
        "10M",
        "$(",
        "$(port)",
        "$(args.x)",
        "\u{feff}",
        "\0",
        "\u{1f426}",
        "ä",
        "\r\n",
        "\r",
        ",",
        "100%",
        "0s",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        holds(&bytes);
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        holds(text.as_bytes());
    }

    #[test]
    fn pieces_of_yaml_are_answered(picked in proptest::collection::vec(proptest::sample::select(pieces()), 0..60)) {
        holds(picked.concat().as_bytes());
    }

    #[test]
    fn documents_with_something_put_in_or_taken_out_are_answered(
        file in proptest::sample::select(corpus()),
        edits in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..12, proptest::sample::select(pieces())), 1..4),
    ) {
        let mut bytes = file.into_bytes();
        for (at, taken, put) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + taken).min(bytes.len());
            bytes.splice(start..end, put.bytes());
        }
        holds(&bytes);
    }

    #[test]
    fn documents_with_lines_moved_are_answered(
        file in proptest::sample::select(corpus()),
        moves in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let mut lines: Vec<&str> = file.lines().collect();
        for (from, to) in moves {
            let line = lines.remove(from.index(lines.len()));
            let at = to.index(lines.len() + 1);
            lines.insert(at, line);
        }
        holds(lines.join("\n").as_bytes());
    }
}
