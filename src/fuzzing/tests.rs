//! A short run of every target, the same each time: the seeds, and what comes of them by small changes.

use std::{collections::BTreeSet, fs, path::Path};

use toml_edit::{DocumentMut, Item};

use super::{TARGETS, Target};

/// Changed inputs for each target. `RESOUND_FUZZ_RUNS` sets another number, for longer runs without libFuzzer.
const RUNS: u64 = 10_000;

/// An input isn't made longer than this.
const BYTES_MAX: usize = 4096;

/// What parsers look for; put in whole, since single bytes seldom add up to one.
const WORDS: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{}",
    b"[]",
    b"null",
    b"\\u00",
    b"\\ud83d",
    b"\xf0\x9f\x9a\x80",
    b"\xff",
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b"=",
    b"${A}",
    b"#",
    b"'",
    b"=>",
    b"array(",
    b"env('SET', ",
    b"/*",
    b"<<<X\n",
    b"%5B%5D",
    b"%",
    b"&",
    b"[]=",
    b":",
    b".",
    b"-",
    b"pusher:subscribe",
    b"client-",
    b"presence-",
    b"#server-to-user-",
    b"\x81\xfe",
    b"\x01\x80",
    b"\x80\x80",
    b"\x88\x82",
    b"1!",
    b"PROXY TCP4 ",
    b"1.2.3.4",
    b"\x20\0\x05",
    b"\"batch\":[",
    b"\"channels\":",
    b"18446744073709551615",
    b"-9223372036854775808",
    b"1e999",
];

/// Numbers that look random and are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

#[test]
fn every_target_has_seeds_and_a_file_in_fuzz() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, _) in TARGETS {
        assert!(seeds(name).len() >= 5, "{name}: too few seeds");
        let target = root.join(format!("fuzz_targets/{name}.rs"));
        assert!(target.is_file(), "{}", target.display());
    }
    let files = fs::read_dir(root.join("fuzz_targets")).expect("targets");
    assert_eq!(
        files.count(),
        TARGETS.len(),
        "a file without an entry in TARGETS"
    );
}

/// With another one `cargo fuzz` would fetch what nobody has looked at.
#[test]
fn the_lock_file_of_the_targets_knows_every_dependency() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| -> DocumentMut {
        let text = fs::read_to_string(root.join(file)).expect(file);
        text.parse().expect(file)
    };
    let (manifest, lock) = (read("Cargo.toml"), read("fuzz/Cargo.lock"));
    let packages = lock["package"].as_array_of_tables().expect("packages");
    let is_ours = |package: &&toml_edit::Table| package["name"].as_str() == Some("resound");
    let ours = packages.iter().find(is_ours).expect("resound");
    let known = ours["dependencies"].as_array().expect("a list");
    // `name`, or `name version` where there are several
    let known = known
        .iter()
        .filter_map(|known| known.as_str()?.split(' ').next());
    let known: BTreeSet<&str> = known.collect();
    let tables = |item: &Item| item.as_table().cloned().unwrap_or_default();
    let of_systems = tables(&manifest["target"]);
    let of_systems = of_systems.iter().map(|(_, of)| tables(&of["dependencies"]));
    let needed = of_systems.chain([tables(&manifest["dependencies"])]);
    let names: Vec<String> = needed
        .flat_map(|table| table.into_iter().map(|(name, _)| name.to_string()))
        .collect();
    assert!(names.len() > 10);
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !known.contains(name.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "`cd fuzz && cargo update -w`: {missing:?}"
    );
}

#[test]
fn seeds_pass() {
    each_target(|target, seeds| {
        let failed = |(_, seed): &&(String, Vec<u8>)| fails(target, seed);
        let (file, seed) = seeds.iter().find(failed)?;
        Some((file.clone(), seed.clone()))
    });
}

#[test]
fn what_comes_of_seeds_by_small_changes_passes() {
    let runs = std::env::var("RESOUND_FUZZ_RUNS").ok();
    let runs = runs.map_or(RUNS, |runs| {
        runs.parse().expect("RESOUND_FUZZ_RUNS is a number")
    });
    each_target(|target, seeds| {
        (0..runs).find_map(|number| {
            let mut random = Random(number);
            let (file, seed) = &seeds[random.below(seeds.len())];
            let mut input = seed.clone();
            for _ in 0..=random.below(6) {
                let (_, other) = &seeds[random.below(seeds.len())];
                change(&mut input, other, &mut random);
            }
            fails(target, &input).then(|| (format!("{file}, change {number}"), input))
        })
    });
}

/// Runs every target, also when one fails; names each input in a form that can become a seed.
fn each_target(first_failure: impl Fn(Target, &[(String, Vec<u8>)]) -> Option<(String, Vec<u8>)>) {
    let failures: Vec<String> = TARGETS
        .into_iter()
        .filter_map(|(name, target)| {
            let (origin, input) = first_failure(target, &seeds(name))?;
            let (text, hex) = (String::from_utf8_lossy(&input), hex::encode(&input));
            Some(format!("{name} fails on {origin}: {text:?} (hex {hex})"))
        })
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

fn fails(target: Target, input: &[u8]) -> bool {
    std::panic::catch_unwind(|| target(input)).is_err()
}

/// The seeds of a target with their names, in the order of these.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<(String, Vec<u8>)> = files
        .map(|file| {
            let path = file.expect("a seed").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (name, fs::read(&path).expect("a seed"))
        })
        .collect();
    seeds.sort();
    seeds
}

/// One small change.
fn change(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = at + random.below((input.len() - at).min(24) + 1);
    match random.below(8) {
        0 => drop(input.drain(at..end)),
        1 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        2 => {
            let word = WORDS[random.below(WORDS.len())];
            input.splice(at..at, word.iter().copied());
        }
        3 => {
            let word = WORDS[random.below(WORDS.len())];
            input.splice(at..end, word.iter().copied());
        }
        4 => input.truncate(at),
        5 => {
            let from = random.below(other.len() + 1);
            let until = from + random.below((other.len() - from).min(64) + 1);
            input.splice(at..end, other[from..until].iter().copied());
        }
        6 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.below(256) as u8;
            }
        }
    }
    input.truncate(BYTES_MAX);
}
