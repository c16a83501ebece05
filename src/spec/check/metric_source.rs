use strategies::recipe::Key;

use super::{Check, Code, Diagnostic};
use crate::spec::{metric_source::MetricSourceSpec, rules};

/// Headers whose value is a secret wherever they are used.
const OF_SECRETS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "api-key",
    "x-api-key",
    "x-auth-token",
    "x-sf-token",
    "dd-api-key",
    "dd-application-key",
    "private-token",
];

pub(super) fn check(spec: &MetricSourceSpec, check: &mut Check<'_>) {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    for name in spec.headers.keys() {
        let mut says = |message: String, help: &str| says("headers", name, message, help, check);
        if !is_name(name) {
            says(format!("`{name}` is no name of a header"), "letters, digits and `-`, without blanks");
        }
        if OF_SECRETS.iter().any(|it| same(it, name)) {
            let message = format!("`{name}` is a secret, which must not stand in a document");
            says(message, rules::SECRET_IN_A_HEADER.cure);
        }
    }
    for name in spec.secret_headers.keys() {
        let mut says = |message: String, help: &str| says("secretHeaders", name, message, help, check);
        if !is_name(name) {
            says(format!("`{name}` is no name of a header"), "letters, digits and `-`, without blanks");
        }
        if spec.headers.keys().any(|it| same(it, name)) {
            says(format!("`headers` has a `{name}` as well"), "remove one of them");
        }
        if spec.credentials.is_some() && same(name, "authorization") {
            says(rules::AUTHORIZED_TWICE.words.to_owned(), rules::AUTHORIZED_TWICE.cure);
        }
    }
}

fn says(list: &'static str, name: &str, message: String, help: &str, check: &mut Check<'_>) {
    let span = check.at_named(&[Key::Field("spec"), Key::Field(list)], name);
    check.found.push(Diagnostic::error(Code::BadValue, span, message).help(help));
}

/// Whether a text can be the name of a header (RFC 9110, section 5.1).
fn is_name(text: &str) -> bool {
    let letter = |it: char| it.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(it);
    !text.is_empty() && text.chars().all(letter)
}
