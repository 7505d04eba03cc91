//! Typed reading of one section: each value is checked where it is read, and refused with its origin.
use super::{
    error::ConfigError,
    layers::{Table, invalid, shown},
};
use config::{Value, ValueKind};
use std::{ops::RangeInclusive, time::Duration};

/// 1 GiB: no message or body is ever larger.
pub(super) const BYTES_MAX: u64 = 1 << 30;

/// The values of a section, strongest table first.
pub(super) struct Section<'a> {
    /// how messages name it: `server`, `app 1001` or `webhook 1 of app 1001`
    name: String,
    tables: Vec<&'a Table>,
}

impl<'a> Section<'a> {
    /// `[name]` of the merged settings.
    pub(super) fn new(settings: &'a Table, name: &str) -> Section<'a> {
        let tables = match settings.get(name).map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => vec![table],
            _ => Vec::new(),
        };
        Section {
            name: name.to_owned(),
            tables,
        }
    }

    /// The same settings with stronger ones of one app in front.
    pub(super) fn for_app(&self, id: &str, overrides: &[&'a Table]) -> Section<'a> {
        Section {
            name: format!("app {id}"),
            tables: [overrides, &self.tables].concat(),
        }
    }

    /// The defaults of an app that Laravel's configuration describes: that is stronger than what holds for all apps, but for
    /// `own`, which was said here.
    pub(super) fn for_laravel(&self, own: &Section<'a>, app: Option<&'a Table>) -> Section<'a> {
        let tables = match app {
            Some(app) => [&own.tables[..], &[app], &self.tables].concat(),
            None => self.tables.clone(),
        };
        Section {
            name: self.name.clone(),
            tables,
        }
    }

    /// Settings that have no defaults, such as those of a webhook. `name` is how messages name their owner.
    pub(super) fn alone(name: String, table: &'a Table) -> Section<'a> {
        Section {
            name,
            tables: vec![table],
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.tables.iter().any(|table| table.contains_key(key))
    }

    pub(super) fn value(&self, key: &str) -> Result<&'a Value, ConfigError> {
        let found = self.tables.iter().find_map(|table| table.get(key));
        found.ok_or_else(|| ConfigError::Missing {
            setting: self.setting(key),
            origin: "every source".to_owned(),
            needed: "default.toml should have it".to_owned(),
        })
    }

    /// A whole number within `allowed`.
    pub(super) fn integer(
        &self,
        key: &str,
        allowed: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let value = self.value(key)?;
        match whole_number(value).filter(|number| allowed.contains(number)) {
            Some(number) => Ok(number),
            None => {
                let (from, to) = allowed.into_inner();
                Err(self.invalid(key, &format!("a whole number from {from} to {to}"))?)
            }
        }
    }

    pub(super) fn u32(&self, key: &str, allowed: RangeInclusive<u32>) -> Result<u32, ConfigError> {
        let (from, to) = allowed.into_inner();
        let number = self.integer(key, from.into()..=to.into())?;
        Ok(u32::try_from(number).unwrap_or(to))
    }

    pub(super) fn usize(
        &self,
        key: &str,
        allowed: RangeInclusive<u64>,
    ) -> Result<usize, ConfigError> {
        let number = self.integer(key, allowed)?;
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A limit where 0 means that there is none.
    pub(super) fn limit(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        let limit = self.u32(key, 0..=u32::MAX)?;
        Ok((limit > 0).then_some(limit))
    }

    pub(super) fn seconds(
        &self,
        key: &str,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        self.integer(key, allowed).map(Duration::from_secs)
    }

    pub(super) fn milliseconds(
        &self,
        key: &str,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        self.integer(key, allowed).map(Duration::from_millis)
    }

    pub(super) fn switch(&self, key: &str) -> Result<bool, ConfigError> {
        let value = self.value(key)?;
        let switch = match &value.kind {
            ValueKind::Boolean(switch) => Some(*switch),
            ValueKind::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        };
        match switch {
            Some(switch) => Ok(switch),
            None => Err(self.invalid(key, "true or false")?),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str, ConfigError> {
        match &self.value(key)?.kind {
            ValueKind::String(text) => Ok(text),
            _ => Err(self.invalid(key, "a text in quotes")?),
        }
    }

    /// A list of texts, or one text.
    pub(super) fn list(&self, key: &str) -> Result<Vec<&'a str>, ConfigError> {
        let texts = match &self.value(key)?.kind {
            ValueKind::Array(values) => values.iter().map(as_text).collect(),
            ValueKind::String(text) => Some(vec![text.as_str()]),
            _ => None,
        };
        match texts {
            Some(texts) => Ok(texts),
            None => Err(self.invalid(key, "a list of texts in quotes")?),
        }
    }

    /// One of a few words, given with their meanings.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        let text = self.text(key)?;
        let chosen = choices
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text));
        match chosen {
            Some((_, meaning)) => Ok(*meaning),
            None => {
                let words: Vec<String> = choices
                    .iter()
                    .map(|(word, _)| format!("{word:?}"))
                    .collect();
                Err(self.invalid(key, &words.join(" or "))?)
            }
        }
    }

    /// The error for this key's value. (`Err` when the key isn't there at all.)
    pub(super) fn invalid(&self, key: &str, allowed: &str) -> Result<ConfigError, ConfigError> {
        Ok(invalid(&self.setting(key), self.value(key)?, allowed))
    }

    /// How messages name a key of this section.
    pub(super) fn setting(&self, key: &str) -> String {
        // `app 1001`; sections of the file are single words
        if self.name.contains(' ') {
            format!("{key} of {}", self.name)
        } else {
            format!("{}.{key}", self.name)
        }
    }

    /// `server.port is 8080 in file resound.toml`: how warnings name a value.
    pub(super) fn described(&self, key: &str) -> Result<String, ConfigError> {
        let value = self.value(key)?;
        let origin = value.origin().unwrap_or(super::layers::DEFAULT_ORIGIN);
        Ok(format!(
            "{} is {} in {origin}",
            self.setting(key),
            shown(value)
        ))
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    match &value.kind {
        ValueKind::I64(number) => u64::try_from(*number).ok(),
        ValueKind::I128(number) => u64::try_from(*number).ok(),
        ValueKind::U64(number) => Some(*number),
        ValueKind::U128(number) => u64::try_from(*number).ok(),
        // variables and options are text; a leading + is no digit
        ValueKind::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        _ => None,
    }
}

fn as_text(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::String(text) => Some(text),
        _ => None,
    }
}
