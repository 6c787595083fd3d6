//! The README's commands are run as they stand. Its programs are documentation tests of this package's library.

use std::process::Command;

const README: &str = include_str!("../../../README.md");

/// The lines of all blocks in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}");
    let mut lines = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        match line {
            "```" => inside = false,
            line if line == opening => inside = true,
            line if inside => lines.push(line),
            _ => {}
        }
    }
    lines
}

#[test]
fn commands_run() {
    let mut ran = 0;
    for line in blocks("sh") {
        if let Some(arguments) = line.strip_prefix("cargo run --release -p ovs-switch -- ") {
            let output = Command::new(env!("CARGO_BIN_EXE_ovs-vswitchd")).args(arguments.split(' ')).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
            assert!(!text.is_empty(), "{line}");
            ran += 1;
        } else {
            // This very command runs this very test.
            assert_eq!(line, "cargo test --workspace");
        }
    }
    assert_eq!(ran, 4);
}

#[test]
fn every_block_is_of_a_kind_that_is_checked() {
    let kinds: Vec<_> = README.lines().filter_map(|l| l.strip_prefix("```")).filter(|k| !k.is_empty()).collect();
    assert!(kinds.iter().all(|k| matches!(*k, "rust" | "sh" | "text")), "{kinds:?}");
}

#[test]
fn links_lead_somewhere() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    let targets = README.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let local: Vec<_> = targets.filter(|t| !t.contains("://")).collect();
    assert!(local.len() > 10);
    for target in local {
        assert!(std::path::Path::new(root).join(target).exists(), "{target}");
    }
}
