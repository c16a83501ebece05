//! Lines in a frame, as SVG that reads on light and on dark ground.

use std::fmt::Write as _;

const WIDE: f64 = 720.0;
const HIGH: f64 = 340.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 64.0;

/// Colours that can be told apart without seeing colours well (Okabe and Ito).
const COLOURS: [&str; 4] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7"];

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// A height worth marking, and what it is.
    pub(crate) mark: Option<(f64, &'static str)>,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Chart {
    pub(crate) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|it| &it.points);
        let heights = points().map(|it| it.1).chain(self.mark.map(|it| it.0));
        let (low, high) = heights.fold((0.0f64, 0.0f64), |(low, high), it| (low.min(it), high.max(it)));
        let high = high + 0.05 * (high - low);
        let far = points().map(|it| it.0).fold(0.0, f64::max);
        let x = |it: f64| LEFT + it / far * (WIDE - LEFT - RIGHT);
        let y = |it: f64| HIGH - BOTTOM - (it - low) / (high - low) * (HIGH - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDE} {HIGH}\" font-family=\"sans-serif\" \
             font-size=\"13\" role=\"img\" aria-label=\"{}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\" fill=\"#222\">{}</text>\n",
            self.title, self.title
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
        let _ = writeln!(svg, "<text x=\"6\" y=\"{}\" fill=\"#555\">{}</text>", TOP - 2.0, self.y);
        if let Some((height, name)) = self.mark {
            let at = y(height);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#222\" stroke-dasharray=\"6 4\"/>",
                WIDE - RIGHT
            );
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222\">{name}</text>",
                WIDE - RIGHT,
                at - 6.0
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
                line.name
            );
            legend += 36.0 + 7.0 * line.name.chars().count() as f64;
        }
    }
}

/// Four to eight round numbers from `low` to `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 6.0;
    let scale = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|it| it * scale).find(|it| rough <= *it).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..)
        .map(|it| it as f64 * step)
        .take_while(|it| *it <= high)
        .map(|it| (it * 1e6).round() / 1e6)
        .collect()
}
