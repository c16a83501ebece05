//! Scripts that look for their application beside themselves, and would not find it where a copy of them alone is.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most of a script that is looked at, bytes: start scripts say at their beginning where they are.
const LOOKED_AT: u64 = 64 << 10;

/// The line by which a script finds what is beside it, and its number from 1; `None`: it does not, or is no script.
pub(super) fn finds_beside_itself(path: &Path) -> Option<(usize, String)> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LOOKED_AT).read_to_end(&mut bytes).ok()?;
    telling_line(&String::from_utf8_lossy(&bytes))
}

fn telling_line(text: &str) -> Option<(usize, String)> {
    let first = text.lines().next().filter(|it| it.starts_with("#!"))?;
    let tells: fn(&str) -> bool = match interpreter(first) {
        it if it.ends_with("sh") => shell,
        it if it.starts_with("python") => |line| line.contains("__file__"),
        it if ["node", "nodejs", "deno", "bun"].contains(&it) => |line| {
            ["__dirname", "import.meta", "require('./", "require(\"./", "require('../", "require(\"../"]
                .iter()
                .any(|it| line.contains(it))
        },
        it if it.starts_with("ruby") => |line| line.contains("__dir__") || line.contains("require_relative"),
        it if it.starts_with("perl") => |line| line.contains("FindBin") || line.contains("dirname($0)"),
        it if it.starts_with("php") => |line| line.contains("__DIR__") || line.contains("__FILE__"),
        _ => return None,
    };
    let lines = text.lines().enumerate().skip(1).map(|(index, line)| (index + 1, line.trim()));
    let mut code = lines.filter(|(_, line)| !line.starts_with('#') && !line.starts_with("//"));
    code.find(|(_, line)| tells(line)).map(|(number, line)| (number, line.to_owned()))
}

/// The program that a first line names: `#!/usr/bin/env -S python3 -u` is `python3`.
fn interpreter(first: &str) -> &str {
    let mut words = first.trim_start_matches("#!").split_whitespace();
    let base = |it: &'_ str| it.rsplit('/').next().unwrap_or_default().len();
    let program = words.next().unwrap_or_default();
    let program = &program[program.len() - base(program)..];
    if program != "env" {
        return program;
    }
    let given = words.find(|it| !it.starts_with('-') && !it.contains('=')).unwrap_or_default();
    &given[given.len() - base(given)..]
}

/// The directory of `$0` or of its source is taken, or the path itself is kept to be resolved.
fn shell(line: &str) -> bool {
    let own = ["$0", "${0", "BASH_SOURCE", "$_self"].iter().any(|it| line.contains(it));
    let taken = ["dirname", "%/*", "readlink", "realpath"].iter().any(|it| line.contains(it));
    let kept = ["=$0", "=\"$0\"", "=${0}", "=\"${0}\"", "=${BASH_SOURCE", "=\"${BASH_SOURCE"]
        .iter()
        .any(|it| line.contains(it));
    own && (taken || kept) && !line.contains("basename")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<usize>) {
        assert_eq!(telling_line(text).map(|it| it.0), expected, "{text}");
    }

    #[test]
    fn start_scripts_of_all_kinds_are_known_by_the_line_that_asks_where_they_are() {
        check("#!/bin/sh\n# dirname $0\nAPP_HOME=$(cd \"$(dirname \"$0\")/..\" && pwd -P)\n", Some(3));
        check("#!/bin/sh\n\napp_path=$0\nwhile [ -h \"$app_path\" ]; do :; done", Some(3));
        check("#!/usr/bin/env bash\ncd \"${BASH_SOURCE[0]%/*}\"\n", Some(2));
        check("#!/usr/bin/env -S python3 -u\nimport sys\nroot = Path(__file__).parent\n", Some(3));
        check("#!/usr/bin/env node\nconst app = require('./app')\n", Some(2));
        check("#!/usr/bin/ruby\nrequire_relative 'app'\n", Some(2));
    }

    #[test]
    fn whoever_stands_alone_is_left_alone() {
        check("#!/bin/sh\necho \"usage: $(basename $0) start\"\nexec python3 app.py\n", None);
        check("#!/bin/sh\necho \"usage: $0 start\"\n", None);
        check("#!/bin/sh\nexec \"$@\"\n", None);
        check("#!/usr/bin/env python3\nprint('dirname $0')\n", None);
        check("\u{7f}ELF dirname $0", None);
        check("", None);
    }
}
