//! Bars and sparklines of block characters.

const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The filled and the empty part of a bar of `width` columns. `filled` is clamped to `0.0 ..= 1.0`; what is not a
/// number is empty.
pub(super) fn bar(filled: f64, width: usize) -> (String, String) {
    let filled = if filled.is_nan() { 0.0 } else { filled.clamp(0.0, 1.0) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ..= 8 * width")]
    let eighths = (filled * 8.0 * width as f64).round() as usize;
    // A sliver shows that there is something, and that something is missing.
    let least = usize::from(filled > 0.0);
    let most = 8 * width - usize::from(filled < 1.0).min(8 * width);
    let eighths = eighths.clamp(least.min(most), most);
    let text = format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8]);
    let rest = width - eighths.div_ceil(8);
    (text, "·".repeat(rest))
}

/// One column per value, as high as its share of the largest one.
pub(super) fn spark(values: &[u64], largest: u64) -> String {
    let height = |value: &u64| match (*value, largest) {
        (0, _) | (_, 0) => HEIGHTS[0],
        (value, largest) => {
            let height = usize::try_from((value * 8).div_ceil(largest)).unwrap_or(8);
            HEIGHTS[height.min(8)]
        }
    };
    values.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_the_width_asked_for() {
        for width in [0, 1, 5, 33] {
            for filled in [f64::NAN, -1.0, 0.0, 1e-9, 0.1, 0.5, 0.999_999, 1.0, 7.0] {
                let (full, empty) = bar(filled, width);
                assert_eq!(full.chars().count() + empty.chars().count(), width, "{filled} of {width}");
            }
        }
    }

    #[test]
    fn a_little_shows_and_almost_all_is_not_all() {
        assert_eq!(bar(0.0, 4), (String::new(), "····".into()));
        assert_eq!(bar(1e-9, 4), ("▏".into(), "···".into()));
        assert_eq!(bar(0.999_999, 4).0, "███▉");
        assert_eq!(bar(1.0, 4).0, "████");
    }

    #[test]
    fn the_largest_is_full_and_the_smallest_is_seen() {
        assert_eq!(spark(&[0, 1, 50, 100], 100), " ▁▄█");
        assert_eq!(spark(&[0, 0], 0), "  ");
    }
}
