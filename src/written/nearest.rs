//! Names that may have been meant.

/// The nearest of `names` to what was written, if one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |text: &str| {
        text.chars().filter(|it| *it != '-' && *it != '_').flat_map(char::to_lowercase).collect()
    };
    let wanted: String = folded(written);
    let near = |name: &&str| {
        let name: String = folded(name);
        let distance = strsim::damerau_levenshtein(&wanted, &name);
        (distance <= 1 + wanted.chars().count() / 4).then_some(distance)
    };
    // A very long text is near to nothing, and comparing it would take long.
    if 64 < wanted.len() {
        return None;
    }
    names.into_iter().filter_map(|it| near(&it).map(|distance| (distance, it))).min().map(|(_, it)| it)
}

/// `a`, `b` and `c`.
#[must_use]
pub fn list_of<'a>(names: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let ticked: Vec<String> = names.into_iter().map(|it| format!("`{it}`")).collect();
    match ticked.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => ticked.concat(),
    }
}
