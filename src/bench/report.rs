//! What a run tells: figures in the order they were measured, as a table for people and as JSON for programs, from the same rows.
use super::{account::Counts, errors::Errors, times::Percentiles};
use serde_json::{Map, Value, json};
use std::fmt::Write;

#[derive(Debug, Default)]
pub struct Report {
    /// what the rows to come belong to; "" is the run as a whole
    section: &'static str,
    rows: Vec<Row>,
    errors: Vec<(&'static str, Errors)>,
    /// what the reader should know of the figures
    notes: Vec<String>,
    /// what must not be
    problems: Vec<String>,
    pub is_interrupted: bool,
}

#[derive(Debug)]
struct Row {
    section: &'static str,
    key: &'static str,
    label: &'static str,
    value: Value,
    text: String,
}

impl Report {
    /// The following rows belong to a part of the run.
    pub fn section(&mut self, name: &'static str) {
        self.section = name;
    }

    /// A line of the table, and its value in JSON.
    pub fn row(&mut self, key: &'static str, label: &'static str, value: Value, text: String) {
        self.rows.push(Row {
            section: self.section,
            key,
            label,
            value,
            text,
        });
    }

    /// For JSON only: the table says it in another line.
    pub fn value(&mut self, key: &'static str, value: Value) {
        self.row(key, "", value, String::new());
    }

    /// A number of things, and how many a second.
    pub fn rate(&mut self, keys: [&'static str; 2], label: &'static str, number: u64, per_s: f64) {
        let text = format!("{}, {}/s", with_commas(number), rounded(per_s));
        self.row(keys[0], label, number.into(), text);
        self.value(keys[1], json!(per_s));
    }

    pub fn number(&mut self, key: &'static str, label: &'static str, number: u64) {
        self.row(key, label, number.into(), with_commas(number));
    }

    /// A figure with its unit.
    pub fn figure(&mut self, key: &'static str, label: &'static str, value: f64, unit: &str) {
        self.row(
            key,
            label,
            json!(value),
            format!("{}{unit}", rounded(value)),
        );
    }

    pub fn times(&mut self, key: &'static str, label: &'static str, times: Percentiles) {
        self.row(key, label, json!(times), times.text());
    }

    pub fn counts(&mut self, counts: Counts) {
        let Counts {
            expected,
            received,
            lost,
            duplicated,
            reordered,
            misdirected,
        } = counts;
        self.number("expected", "messages expected", expected);
        self.number("received", "messages received", received);
        self.number("lost", "lost", lost);
        self.number("duplicated", "duplicated", duplicated);
        self.number("reordered", "reordered", reordered);
        self.number("misdirected", "misdirected or never sent", misdirected);
    }

    /// Counts that must be clean.
    pub fn must_be_clean(&mut self, counts: Counts) {
        if !counts.is_clean() {
            self.problem(format!(
                "of {} messages {} were lost, {} came more than once, {} out of order, {} to whom they weren't for",
                with_commas(counts.expected),
                with_commas(counts.lost),
                with_commas(counts.duplicated),
                with_commas(counts.reordered),
                with_commas(counts.misdirected),
            ));
        }
    }

    /// What went wrong, if anything did.
    pub fn errors(&mut self, what: &'static str, errors: &Errors) {
        if errors.count() == 0 {
            return;
        }
        match self.errors.iter_mut().find(|(known, _)| *known == what) {
            Some((_, known)) => known.merge(errors),
            None => self.errors.push((what, errors.clone())),
        }
    }

    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    pub fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Lines for people.
    pub fn table(&self, title: &str) -> String {
        let mut text = format!("{title}\n");
        let width = |row: &Row| row.label.chars().count();
        let width = self.rows.iter().map(width).max().unwrap_or(0);
        let mut section = "";
        // writing to a String cannot fail
        for row in self.rows.iter().filter(|row| !row.label.is_empty()) {
            if row.section != section {
                section = row.section;
                if !section.is_empty() {
                    let _ = writeln!(text, "  {section}");
                }
            }
            let indent = if section.is_empty() { "  " } else { "    " };
            let _ = writeln!(text, "{indent}{:width$}  {}", row.label, row.text);
        }
        for (what, errors) in &self.errors {
            for (said, times) in errors.most_frequent() {
                let _ = writeln!(text, "  {what}: {said} ({} ×)", with_commas(times));
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        for problem in &self.problems {
            let _ = writeln!(text, "  WRONG: {problem}");
        }
        if self.is_interrupted {
            let _ = writeln!(text, "  interrupted: this is what there was so far");
        }
        text
    }

    /// An object for programs; `settings` as they were in force.
    pub fn json(&self, scenario: &str, settings: Value) -> Value {
        let mut figures = Map::new();
        for row in &self.rows {
            let into = match row.section {
                "" => &mut figures,
                section => {
                    let part = figures
                        .entry(section.replace(' ', "_"))
                        .or_insert_with(|| json!({}));
                    match part.as_object_mut() {
                        Some(part) => part,
                        None => continue,
                    }
                }
            };
            into.insert(row.key.to_owned(), row.value.clone());
        }
        let errors: Map<String, Value> = self
            .errors
            .iter()
            .map(|(what, errors)| {
                (
                    (*what).to_owned(),
                    json!(Map::from_iter(
                        errors
                            .most_frequent()
                            .into_iter()
                            .map(|(text, times)| (text.to_owned(), times.into()))
                    )),
                )
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "scenario": scenario,
            "settings": settings,
            "figures": figures,
            "errors": errors,
            "notes": self.notes,
            "problems": self.problems,
            "interrupted": self.is_interrupted,
            "ok": self.problems.is_empty(),
        })
    }
}

/// `1,234,567`
pub fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits that count; whole numbers from 100 on.
fn rounded(value: f64) -> String {
    match value.abs() {
        // no measured figure comes near the end of u64
        large if large >= 100.0 && value > 0.0 => with_commas(value.round() as u64),
        large if large >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let check = |number: u64, expected: &str| assert_eq!(with_commas(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
        let check = |value: f64, expected: &str| assert_eq!(rounded(value), expected);
        check(0.0, "0.00");
        check(3.146, "3.15");
        check(31.46, "31.5");
        check(80_000.4, "80,000");
        check(-5.0, "-5.00");
    }

    #[test]
    fn the_same_figures_for_people_and_programs() {
        let mut report = Report::default();
        report.number("sockets", "sockets", 1_000);
        report.rate(["events", "events_per_s"], "events", 20, 4.0);
        report.section("before it");
        report.figure("rate", "deliveries/s", 12.5, "");
        report.note("slow".to_owned());
        report.note("slow".to_owned());
        let mut errors = Errors::default();
        errors.add("no");
        report.errors("refused", &errors);
        report.errors("refused", &errors);
        let clean = Counts {
            expected: 2,
            received: 2,
            ..Counts::default()
        };
        report.must_be_clean(clean);
        assert!(!report.has_problems());
        report.must_be_clean(Counts { lost: 1, ..clean });
        assert!(report.has_problems());
        assert_eq!(
            report.table("a run"),
            "a run\n  sockets       1,000\n  events        20, 4.00/s\n  before it\n    deliveries/s  12.5\n  refused: no (2 ×)\n  note: slow\n  \
             WRONG: of 2 messages 1 were lost, 0 came more than once, 0 out of order, 0 to whom they weren't for\n"
        );
        let json = report.json("fanout", json!({ "size": 200 }));
        assert_eq!(json["figures"]["sockets"], 1_000);
        assert_eq!(json["figures"]["events_per_s"], 4.0);
        assert_eq!(json["figures"]["before_it"]["rate"], 12.5);
        assert_eq!(json["errors"]["refused"]["no"], 2);
        assert_eq!(json["ok"], false);
    }

    #[test]
    fn every_fault_is_a_problem() {
        for counts in [
            Counts {
                lost: 1,
                ..Counts::default()
            },
            Counts {
                duplicated: 1,
                ..Counts::default()
            },
            Counts {
                reordered: 1,
                ..Counts::default()
            },
            Counts {
                misdirected: 1,
                ..Counts::default()
            },
        ] {
            let mut report = Report::default();
            report.must_be_clean(counts);
            assert!(report.has_problems(), "{counts:?}");
        }
    }
}
