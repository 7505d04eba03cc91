//! `docs/protocol-coverage.md` says which test holds which rule of the protocol: it must be true and complete.
use std::{collections::BTreeSet, fs, path::Path};

/// The numbers of each part's rules, in the order of the table.
const RULES: [(char, &[std::ops::RangeInclusive<u32>]); 7] = [
    ('C', &[1..=38]),
    ('S', &[1..=31]),
    ('P', &[1..=15]),
    ('E', &[1..=12]),
    ('U', &[1..=8, 10..=17, 20..=24, 30..=31]),
    ('H', &[1..=36]),
    ('W', &[1..=14]),
];

fn file(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// The two cells of each row of both tables.
fn rows() -> Vec<(String, String)> {
    let text = file("docs/protocol-coverage.md").expect("the document");
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("| ")?
                .strip_suffix(" |")?
                .split_once(" | ")
        })
        .filter(|(rule, _)| *rule != "rule")
        .map(|(rule, cell)| (rule.to_owned(), cell.to_owned()))
        .collect()
}

/// The rows that name a test.
fn tests() -> Vec<(String, String)> {
    rows()
        .into_iter()
        .filter_map(|(rule, cell)| {
            let test = cell.strip_prefix('`')?.strip_suffix('`')?;
            Some((rule, test.to_owned()))
        })
        .collect()
}

fn source(module: &str) -> Option<String> {
    let path = module.replace("::", "/");
    let inline = path.strip_suffix("/tests").unwrap_or(&path);
    [
        format!("tests/{path}.test.mjs"),
        format!("tests/{path}.rs"),
        format!("src/{path}.rs"),
        format!("src/{inline}.rs"),
    ]
    .iter()
    .find_map(|path| file(path))
}

#[test]
fn every_test_that_is_named_exists() {
    let missing: Vec<String> = tests()
        .into_iter()
        .map(|(_, test)| test)
        .filter(|test| {
            let (module, name) = test.rsplit_once("::").expect("a path");
            let definition = match module.starts_with("clients::") {
                true => format!("test('{name}'"),
                false => format!("fn {name}()"),
            };
            !source(module).is_some_and(|text| text.contains(&definition))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_rule_has_a_row() {
    let there: BTreeSet<String> = rows().into_iter().map(|(rule, _)| rule).collect();
    let rules: BTreeSet<String> = RULES
        .iter()
        .flat_map(|(part, ranges)| {
            let numbers = ranges.iter().cloned().flatten();
            numbers.map(move |number| format!("{part}-{number}"))
        })
        .collect();
    assert_eq!(there, rules);
}

#[test]
fn rows_are_sorted() {
    let place = |(rule, test): &(String, String)| {
        let (part, number) = rule.split_once('-')?;
        let part = RULES.iter().position(|(p, _)| part == p.to_string())?;
        Some((part, number.parse::<u32>().ok()?, test.clone()))
    };
    let rows = tests();
    for two in rows.windows(2) {
        let (first, second) = (place(&two[0]), place(&two[1]));
        assert!(
            first.is_some() && first < second,
            "{} {} comes before {} {}",
            two[1].0,
            two[1].1,
            two[0].0,
            two[0].1
        );
    }
}
