//! The script language: a manager driven by hand, one command a line.
//!
//! A script is a sequence of blocks. A block is one or more commands, optionally followed by `----` and the
//! output that you expect of them. Running a script renders it with the actual output, so a script whose
//! expectations hold is rendered unchanged. `docs/script.md` lists the commands.
//!
//! The feature `drivers` adds scripted drivers for tests, which trace their calls and fail on request.
//!
//! ```
//! let script = "arena ram ram\nprime ram 0x0 0x1000\n\nalloc a ram 0x10\n----\na = ram 0x0..0x10\n";
//! assert!(pmem_script::run(script).failures.is_empty());
//! ```
#![forbid(unsafe_code)]

mod command;
mod describe;
#[cfg_attr(not(feature = "drivers"), path = "no_drivers.rs")]
mod drivers;
mod interpreter;
mod mapping;
mod memory;
mod names;
mod verbs;
mod words;

use interpreter::Interpreter;

/// The line that separates commands from their expected output.
const RULE: &str = "----";

/// The result of running a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The script, with the actual output of its commands.
    pub rendered: String,
    /// The failures, each with a line number counted from 1. Output that differs is reported at the line of its
    /// `----`, a failed command without expected output at its own line.
    pub failures: Vec<(usize, String)>,
}

/// Runs a script on a fresh manager.
///
/// # Examples
/// An expectation that does not hold is a failure at the line of its `----`, and the rendered script has the
/// actual output:
/// ```
/// let script = "\
/// arena ram ram
/// prime ram 0x0 0x1000
/// alloc buffer ram 0x100 owner=7
///
/// owner 7
/// ----
/// nothing
/// ";
/// let run = pmem_script::run(script);
/// assert_eq!(run.failures[0].0, 6);
/// assert!(run.rendered.ends_with("owner 7\n----\nbuffer\n"));
/// ```
#[must_use]
pub fn run(text: &str) -> Run {
    let mut interpreter = Interpreter::new();
    let mut run = Run::default();
    let mut lines = (1..).zip(text.lines()).peekable();
    let mut commands: Vec<(usize, &str)> = Vec::new();
    while let Some((number, line)) = lines.next() {
        let is_command = !line.trim().is_empty() && !line.starts_with('#') && line != RULE;
        if line != RULE {
            run.rendered.push_str(line);
            run.rendered.push('\n');
        }
        if is_command {
            commands.push((number, line));
        }
        let ends = lines.peek().is_none_or(|(_, next)| next.trim().is_empty() || next.starts_with('#'));
        if line == RULE {
            let mut expected = String::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
                expected.push_str(line);
                expected.push('\n');
            }
            let (output, _) = execute(&mut interpreter, &commands);
            if output != expected {
                run.failures.push((number, format!("expected:\n{expected}got:\n{output}")));
            }
            commands.clear();
            render(&mut run.rendered, &output);
        } else if ends && !commands.is_empty() {
            let (output, failed) = execute(&mut interpreter, &commands);
            run.failures.extend(failed);
            commands.clear();
            render(&mut run.rendered, &output);
        }
    }
    run
}

fn render(rendered: &mut String, output: &str) {
    if !output.is_empty() {
        rendered.push_str(RULE);
        rendered.push('\n');
        rendered.push_str(output);
    }
}

fn execute(interpreter: &mut Interpreter, commands: &[(usize, &str)]) -> (String, Vec<(usize, String)>) {
    let mut output = String::new();
    let mut failures = Vec::new();
    for (number, line) in commands {
        match interpreter.line(line) {
            Ok(text) => output.push_str(&text),
            Err(error) => {
                failures.push((*number, error.clone()));
                output.push_str(&format!("error: {error}\n"));
            }
        }
    }
    (output, failures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_true_script_is_rendered_as_itself() {
        let text =
            "# RAM\narena ram ram\nprime ram 0x0 0x1000\n\nalloc a ram 0x10\n----\na = ram 0x0..0x10\n";
        assert_eq!(run(text), Run { rendered: text.to_owned(), failures: vec![] });
    }

    #[test]
    fn failures_are_named_by_line() {
        let text = "arena ram ram\n\nalloc a ram 0x10\n----\nnonsense\n";
        assert_eq!(run(text).failures[0].0, 4);
        assert_eq!(run("\nfly\n").failures, [(2, "unknown command \"fly\"".to_owned())]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn arbitrary_text_never_panics(text in "([a-z]{1,8}( [a-z0-9:=>/,-]{0,12}){0,5}\n){0,8}") {
            let _ = run(&text);
        }
    }
}
