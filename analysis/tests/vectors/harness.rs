//! A test harness for data: every case is a test, and every failing case is reported.

use std::process::ExitCode;

use serde_json::Value;

/// Differences found in one case; empty if there are none.
pub(crate) type Outcome = Vec<String>;

/// How one function's cases are checked.
pub(crate) type Check = fn(&Case) -> Outcome;

/// One test.
pub(crate) struct Test {
    /// Its name.
    pub(crate) name: String,
    /// Finds the differences.
    pub(crate) check: Box<dyn Fn() -> Outcome>,
}

/// One case of a vector file.
pub(crate) struct Case(Value);

impl Case {
    /// Reads one entry of `cases`.
    pub(crate) fn new(case: &Value) -> Self {
        Self(case.clone())
    }

    /// Its name.
    pub(crate) fn id(&self) -> &str {
        self.0["id"].as_str().expect("id")
    }

    /// The function it is for.
    pub(crate) fn function(&self) -> &str {
        self.0["fn"].as_str().expect("fn")
    }

    /// The input `name`.
    pub(crate) fn input(&self, name: &str) -> &Value {
        &self.0["inputs"][name]
    }

    /// The input `name` as a number.
    pub(crate) fn number(&self, name: &str) -> f64 {
        number(self.input(name)).unwrap_or_else(|| panic!("{}: input {name}", self.id()))
    }

    /// The input `name` as a count.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.input(name).as_u64().unwrap_or_else(|| panic!("{}: input {name}", self.id()))
    }

    /// The input `name` as a list of numbers.
    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        numbers(self.input(name))
    }

    /// The input `name` as a list of counts.
    pub(crate) fn counts(&self, name: &str) -> Vec<u64> {
        self.input(name).as_array().expect("list").iter().map(|it| it.as_u64().expect("count")).collect()
    }

    /// Compares everything that is expected with what `got` gives for its name.
    pub(crate) fn compare(&self, got: impl Fn(&str) -> Vec<f64>) -> Outcome {
        let rtol = self.0["rtol"].as_f64().expect("rtol");
        let expected = self.0["expected"].as_object().expect("expected");
        let mut differences = Vec::new();
        for (name, expected) in expected {
            let (expected, got) = (numbers(expected), got(name));
            if expected.len() != got.len() {
                differences.push(format!(
                    "{name}: {} values expected, {} computed",
                    expected.len(),
                    got.len()
                ));
            }
            for (i, (want, got)) in expected.iter().zip(&got).enumerate() {
                let same = want.to_bits() == got.to_bits() || (want.is_nan() && got.is_nan());
                let near = want.is_finite() && (got - want).abs() <= rtol * want.abs().max(1.0);
                if !same && !near {
                    differences.push(format!("{name}[{i}]: {want} expected, {got} computed"));
                }
            }
        }
        differences
    }
}

/// A number, also one that JSON has no word for.
pub(crate) fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).or_else(|| value.as_bool().map(f64::from))
}

/// A list of them.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    let one = |it: &Value| number(it).unwrap_or_else(|| panic!("{it} is not a number"));
    value.as_array().map_or_else(|| vec![one(value)], |all| all.iter().map(one).collect())
}

/// Runs the cases whose name contains an argument of the command line (all without one), and says which failed.
pub(crate) fn run(tests: Vec<Test>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().any(|it| it == name);
    let filters: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let chosen = |name: &str| {
        let matches =
            |it: &&&String| if flag("--exact") { it.as_str() == name } else { name.contains(it.as_str()) };
        filters.is_empty() || filters.iter().any(|it| matches(&it))
    };
    let tests: Vec<_> = tests.into_iter().filter(|it| chosen(&it.name)).collect();
    if flag("--list") {
        tests.iter().filter(|_| !flag("--ignored")).for_each(|it| println!("{}: test", it.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", tests.len());
    let mut failed = 0;
    for Test { name, check } in &tests {
        let differences = check();
        if differences.is_empty() {
            println!("test {name} ... ok");
        } else {
            failed += 1;
            println!("test {name} ... FAILED\n    {}", differences.join("\n    "));
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n",
        tests.len() - failed
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
