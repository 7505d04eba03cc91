//! What went wrong, counted by its text.
use crate::{client::one_line, protocol::codes::shown};
use std::collections::BTreeMap;

/// Different texts that are kept; the rest counts together.
const TEXTS_MAX: usize = 32;

/// Of what a server says no more than this is kept.
const TEXT_CHARS_MAX: usize = 200;

const OTHERS: &str = "others";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(BTreeMap<String, u64>);

impl Errors {
    pub fn add(&mut self, text: &str) {
        self.add_times(&one_line(&shown(text, TEXT_CHARS_MAX)), 1);
    }

    fn add_times(&mut self, text: &str, times: u64) {
        let has_room = self.0.len() < TEXTS_MAX || self.0.contains_key(text);
        let text = if has_room { text } else { OTHERS };
        *self.0.entry(text.to_owned()).or_default() += times;
    }

    pub fn merge(&mut self, other: &Errors) {
        for (text, times) in &other.0 {
            self.add_times(text, *times);
        }
    }

    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Texts and how often, the most frequent first.
    pub fn most_frequent(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> =
            self.0.iter().map(|(text, n)| (text.as_str(), *n)).collect();
        all.sort_by_key(|&(_, times)| std::cmp::Reverse(times));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_and_bounded() {
        let mut errors = Errors::default();
        for n in 0..100 {
            errors.add(&format!("error {}\n", n % 40));
            errors.add("frequent");
        }
        assert_eq!(errors.count(), 200);
        let texts = errors.most_frequent();
        assert_eq!(texts.len(), TEXTS_MAX + 1);
        assert_eq!(texts[0], ("frequent", 100));
        assert!(texts.iter().all(|(text, _)| !text.contains('\n')));
        let mut sum = Errors::default();
        sum.merge(&errors);
        sum.merge(&errors);
        assert_eq!(sum.count(), 400);
        errors.add(&"x".repeat(10_000));
        assert!(
            errors
                .most_frequent()
                .iter()
                .all(|(text, _)| text.len() < 300)
        );
    }
}
