//! Runs the binary as a user would.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn run(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovsdb-tool"));
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The program may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

const SCHEMA: &str = r#"{"name": "Net", "version": "8.10.0", "cksum": "1 2",
    "tables": {"T": {"columns": {"c": {"type": "string"}}}}}"#;

#[test]
fn schemas_are_read() {
    for (args, expected) in [
        (&["schema-name", "-"][..], "Net\n"),
        (&["schema-version", "-"], "8.10.0\n"),
        (&["schema-cksum", "-"], "1 2\n"),
        (&["--format", "json", "schema-version", "-"], "{\"version\":\"8.10.0\"}\n"),
    ] {
        let output = run(args, SCHEMA);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{args:?}");
        assert!(output.status.success());
    }
}

#[test]
fn versions_compare_by_number() {
    let status = |op| run(&["compare-versions", "8.3.0", op, "8.10.0"], "").status.code();
    assert_eq!(["<", "<=", "!=", "==", ">", ">="].map(status), [0, 0, 0, 2, 2, 2].map(Some));
}

#[test]
fn errors_are_one_line() {
    for (args, input, says) in [
        (&["schema-name", "/no/such/file"][..], "", "/no/such/file: No such file"),
        (&["schema-name", "-"], "{", "-: "),
        (&["schema-name", "-"], "{}", "-: "),
        (&["compare-versions", "1", "<", "2.0.0"], "", "1: "),
        (&["compare-versions", "1.0.0", "=", "2.0.0"], "", "=: not one of"),
        (&["create", "db"], "", "create is no command, or not built yet"),
        (&["schema-name"], "", "the following required arguments"),
    ] {
        let output = run(args, input);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{args:?}: {text}");
        assert!(text.starts_with("ovsdb-tool: ") && text.contains(says), "{args:?}: {text}");
    }
}
