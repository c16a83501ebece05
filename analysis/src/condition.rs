//! Conditions in CEL, the only file that knows the library.
//!
//! A condition is short and cheap by construction: its length, its depth and its number of nodes are bounded,
//! macros that loop are refused, and unknown names are found when it is read, not when it is evaluated.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, Program, Value,
    common::ast::{EntryExpr, Expr, IdedExpr},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Longest condition in bytes.
const LONGEST: usize = 512;

/// Most nodes of a condition.
const MOST_NODES: usize = 96;

/// Deepest nesting of a condition.
const DEEPEST: u16 = 16;

/// What a condition may name.
const NAMES: [&str; 4] = ["result", "baseline", "total", "bad"];

/// Functions a condition may call besides operators.
const FUNCTIONS: [&str; 3] = ["double", "int", "uint"];

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A condition as people write it, compiled: `result >= 0.99`.
#[derive(Clone)]
pub struct Condition {
    text: String,
    program: Arc<Program>,
}

/// What a condition can speak of. `NaN` stands for "there is none", with which no comparison holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vars {
    /// The canary's value; for counts its share of bad requests, `0.0 ..= 1.0`.
    pub result: f64,
    /// The same of the baseline.
    pub baseline: f64,
    /// Requests of the canary in the interval; `NaN` unless counts were measured.
    pub total: f64,
    /// Bad requests of the canary in the interval.
    pub bad: f64,
}

impl Condition {
    /// Reads `text`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one line that says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if LONGEST < text.len() {
            return Err(format!("a condition has at most {LONGEST} bytes, this one has {}", text.len()));
        }
        let parser = ENV.parser().max_recursion_depth(DEEPEST);
        if let Err(errors) = parser.parse(text) {
            let first = errors.errors.first().map_or_else(String::new, |it| it.msg.clone());
            return Err(format!("`{text}` is not a CEL condition: {first}"));
        }
        let program = ENV.compile(text).map_err(|_| format!("`{text}` is not a CEL condition"))?;
        let mut nodes = 0;
        check(program.expression(), &mut nodes).map_err(|why| format!("`{text}`: {why}"))?;
        let condition = Self { text: text.to_owned(), program: Arc::new(program) };
        // Comparisons of unlike types and conditions that are no conditions show on any value.
        for result in [0.0, 0.5, 1000.0] {
            condition.holds(Vars { result, baseline: 1.0, total: 100.0, bad: 1.0 })?;
        }
        Ok(condition)
    }

    /// Whether the condition is true of `vars`.
    ///
    /// # Errors
    ///
    /// Why it is neither true nor false, as after a division by zero.
    pub fn holds(&self, vars: Vars) -> Result<bool, String> {
        let mut context = Context::with_env(ENV.clone());
        for (name, value) in
            [("result", vars.result), ("baseline", vars.baseline), ("total", vars.total), ("bad", vars.bad)]
        {
            context.add_variable_from_value(name, value);
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("`{}` must be true or false, it is {:?}", self.text, other.type_of())),
            Err(error) => Err(format!(
                "`{}` cannot be evaluated: {error}; numbers here are doubles: write 100.0, not 100, in arithmetic",
                self.text
            )),
        }
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Refuses what a condition has no need for, counting nodes.
fn check(node: &IdedExpr, nodes: &mut usize) -> Result<(), String> {
    *nodes += 1;
    if MOST_NODES < *nodes {
        return Err(format!("a condition has at most {MOST_NODES} parts"));
    }
    match &node.expr {
        Expr::Ident(name) if NAMES.contains(&name.as_str()) => Ok(()),
        Expr::Ident(name) => Err(format!("unknown name `{name}`, known are {}", NAMES.join(", "))),
        Expr::Literal(_) => Ok(()),
        Expr::Call(call) => {
            let operator = call.func_name.starts_with(['_', '!', '-', '@']);
            if !operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                return Err(format!(
                    "unknown function `{}`, known are {}",
                    call.func_name,
                    FUNCTIONS.join(", ")
                ));
            }
            call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(|it| check(it, nodes))
        }
        Expr::List(list) => list.elements.iter().try_for_each(|it| check(it, nodes)),
        Expr::Comprehension(_) => Err("loops (all, exists, map, filter) are not allowed".to_owned()),
        Expr::Map(map) => map.entries.iter().try_for_each(|it| match &it.expr {
            EntryExpr::MapEntry(_) | EntryExpr::StructField(_) => Err("maps are not allowed".to_owned()),
        }),
        Expr::Select(select) => Err(format!("`.{}`: results have no fields", select.field)),
        Expr::Struct(_) => Err("structures are not allowed".to_owned()),
        Expr::Unspecified => Err("it is empty".to_owned()),
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.text)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": LONGEST,
            "description": "A CEL condition on `result`, `baseline`, `total` and `bad` (doubles).",
            "examples": ["result >= 0.99", "result > 2.0 * baseline"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Vars = Vars { result: 0.5, baseline: 0.25, total: 10.0, bad: 5.0 };

    #[track_caller]
    fn holds(text: &str, expected: bool) {
        assert_eq!(Condition::parse(text).unwrap().holds(HALF), Ok(expected), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let got = Condition::parse(text).unwrap_err();
        assert!(got.contains(why), "{text}: {got}");
    }

    #[test]
    fn comparisons_hold_or_do_not() {
        holds("result >= 0.5", true);
        holds("result > 1", false);
        holds("result < 2.0 * baseline || bad == 5.0", true);
        holds("!(total < 10)", true);
        holds("result in [0.5, 1.0]", true);
        holds("bad / total == 0.5 && result > 0.0 ? true : false", true);
    }

    #[test]
    fn nan_satisfies_no_comparison() {
        let nan = Vars { result: f64::NAN, ..HALF };
        for text in ["result >= 0.99", "result < 0.99", "result == result"] {
            assert!(!Condition::parse(text).unwrap().holds(nan).unwrap_or(false), "{text}");
        }
    }

    #[test]
    fn mistakes_are_found_when_it_is_read() {
        refused("result >=", "not a CEL condition");
        refused("resutl >= 0.99", "unknown name `resutl`, known are result, baseline");
        refused("result", "must be true or false");
        refused("result * 100 > 5.0", "write 100.0");
        refused("result > '1'", "cannot be evaluated");
        refused("size('a') == 1", "unknown function `size`");
        refused("result.value > 1.0", "no fields");
        refused("", "not a CEL condition");
    }

    #[test]
    fn absurd_conditions_are_refused() {
        refused(&"result > 0.0 && ".repeat(40), "at most 512 bytes");
        refused("[1.0].all(x, [1.0].all(y, x < y))", "loops");
        refused(&format!("{}result > 0.0{}", "(".repeat(100), ")".repeat(100)), "not a CEL condition");
        refused(&format!("1.0{} > result", "+1.0".repeat(60)), "at most 96 parts");
    }
}
