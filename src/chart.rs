//! Lines in a frame, as SVG that reads on light and on dark ground.

use std::fmt::Write as _;

const WIDE: f64 = 720.0;
const HIGH: f64 = 356.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 64.0;

/// Colours that can be told apart without seeing colours well (Okabe and Ito).
const COLOURS: [&str; 4] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7"];

/// Lines over one axis. The ground is white whatever the page's is.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What goes to the right, from 0.
    pub x: &'static str,
    /// What goes up.
    pub y: &'static str,
    /// A height worth marking, and what it is.
    pub mark: Option<(f64, String)>,
    /// The lines, in the order of the legend.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// Its points: right, up. Finite.
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// The chart as an SVG document (W3C SVG 1.1).
    #[must_use]
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|it| &it.points);
        let heights = points().map(|it| it.1).chain(self.mark.as_ref().map(|it| it.0));
        let (low, high) = heights.fold((0.0f64, 0.0f64), |(low, high), it| (low.min(it), high.max(it)));
        let high = high + 0.05 * (high - low);
        // Nothing to show still has axes.
        let high = if low < high { high } else { low + 1.0 };
        let far = points().map(|it| it.0).fold(0.0, f64::max);
        let far = if 0.0 < far { far } else { 1.0 };
        let title = escaped(&self.title);
        let x = |it: f64| LEFT + it / far * (WIDE - LEFT - RIGHT);
        let y = |it: f64| HIGH - BOTTOM - (it - low) / (high - low) * (HIGH - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDE} {HIGH}\" font-family=\"sans-serif\" \
             font-size=\"13\" role=\"img\" aria-label=\"{}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" fill=\"#222\">{title}</text>\n",
            title
        );
        for it in ticks(low, high) {
            let at = y(it);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>",
                WIDE - RIGHT
            );
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{it}</text>",
                LEFT - 6.0,
                at + 4.0
            );
        }
        for it in ticks(0.0, far) {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{it}</text>",
                x(it),
                HIGH - BOTTOM + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
            WIDE - RIGHT,
            HIGH - BOTTOM + 34.0,
            self.x
        );
        let _ = writeln!(svg, "<text x=\"6\" y=\"{}\" fill=\"#555\">{}</text>", TOP - 12.0, self.y);
        if let Some((height, name)) = &self.mark {
            let at = y(*height);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#222\" stroke-dasharray=\"6 4\"/>",
                WIDE - RIGHT
            );
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222\">{}</text>",
                WIDE - RIGHT,
                at - 6.0,
                escaped(name)
            );
        }
        self.curves(&mut svg, x, y);
        svg + "</svg>\n"
    }

    /// Every line, and what it is called.
    fn curves(&self, svg: &mut String, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) {
        let mut legend = LEFT;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let path: Vec<String> =
                line.points.iter().map(|it| format!("{:.1},{:.1}", x(it.0), y(it.1))).collect();
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
                path.join(" ")
            );
            let _ = writeln!(
                svg,
                "<rect x=\"{legend:.0}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>",
                HIGH - 18.0
            );
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{}\" fill=\"#222\">{}</text>",
                legend + 20.0,
                HIGH - 12.0,
                escaped(&line.name)
            );
            legend += 36.0 + 7.0 * line.name.chars().count() as f64;
        }
    }
}

/// A text as it may stand in a document.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Four to seven round numbers, those at the edges included, from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 6.0;
    let scale = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|it| it * scale).find(|it| rough <= *it).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..)
        .map(|it| it as f64 * step)
        .take_while(|it| *it <= high)
        .map(|it| (it * 1e6).round() / 1e6)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let lines = vec![Line { name: "a < b".to_owned(), points }];
        Chart { title: "\"t\" & u".to_owned(), x: "s", y: "%", mark: Some((2.0, "<m>".to_owned())), lines }
    }

    #[test]
    fn whatever_is_shown_is_a_document_with_numbers_only() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(0.0, -1.0), (10.0, 5.0)], vec![(1.0, 1e9)]] {
            let svg = chart(points).svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(
                svg.contains("a &lt; b")
                    && svg.contains("&quot;t&quot; &amp; u")
                    && svg.contains("&lt;m&gt;")
            );
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(0.0, 60.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(ticks(-3.0, 9.0), [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0]);
        for high in [1e-6, 0.3, 7.0, 1234.0, 1e12] {
            let count = ticks(0.0, high).len();
            assert!((4..=7).contains(&count), "{high}: {count}");
        }
    }
}
