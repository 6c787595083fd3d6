//! Every body over its corpus, over the inputs that broke one before, and over mutations of both: the same ones in
//! every run. `OVS_FUZZ_MUTATIONS` says how many of each target, `OVS_FUZZ_SEED` which.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ovs_fuzz::{Body, TARGETS};

/// How many mutations of each target are tried, unless the environment says otherwise.
const MUTATIONS: u64 = 5_000;

/// Mutations are not longer than this.
const LONGEST: usize = 4096;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("readable")).collect()
}

/// What a fuzzer does to an input: changes, inserts, removes, repeats, or crosses it with another.
fn mutate(random: &mut fastrand::Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..random.usize(1..=6) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(0..=16)).min(input.len());
        match random.u8(0..8) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            1 if at < input.len() => input[at] = random.u8(..),
            2 if at < input.len() => input[at] = random.choice([0, 1, 0x7f, 0x80, 0xff]).unwrap_or(0),
            3 => {
                input.splice(at..at, (0..random.usize(1..=8)).map(|_| random.u8(..)).collect::<Vec<_>>()).for_each(drop)
            }
            4 => input.splice(at..end, []).for_each(drop),
            5 => input.extend_from_within(at..end),
            6 => input.truncate(at),
            _ => {
                let other = random.choice(corpus).cloned().unwrap_or_default();
                input.truncate(at);
                input.extend_from_slice(&other[random.usize(0..=other.len())..]);
            }
        }
    }
    input.truncate(LONGEST);
    input
}

fn hex(input: &[u8]) -> String {
    input.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(body: Body, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| body(input))).is_ok()
}

#[test]
fn laws_hold_over_the_corpora() {
    let (mutations, seed) = (number("OVS_FUZZ_MUTATIONS", MUTATIONS), number("OVS_FUZZ_SEED", 1));
    let only = std::env::var("OVS_FUZZ_TARGET").ok();
    let mut broken = Vec::new();
    let mut total = 0;
    for (name, body) in TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        let mut random = fastrand::Rng::with_seed(seed);
        let mutated = (0..mutations).map(|_| mutate(&mut random, &corpus));
        let began = std::time::Instant::now();
        let mut inputs = 0;
        for input in corpus.iter().cloned().chain(mutated) {
            inputs += 1;
            if !run(*body, &input) {
                broken.push(format!("{name}: {}", hex(&input)));
                break;
            }
        }
        println!("{name}: {} files, {inputs} inputs, {:.1?}", corpus.len(), began.elapsed());
        total += inputs;
    }
    println!("{} targets, {total} inputs", TARGETS.len());
    assert!(broken.is_empty(), "laws broken by:\n{}", broken.join("\n"));
}

#[test]
fn every_target_has_its_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("readable").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_string()).collect();
    files.sort();
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn files_of_a_corpus_are_small() {
    for (name, _) in TARGETS {
        assert!(corpus(name).iter().all(|file| file.len() <= LONGEST), "{name}");
    }
}
