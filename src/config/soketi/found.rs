//! One value of soketi's and what it becomes as a setting.
use super::{super::error::ConfigError, options::Kind};
use config::ValueKind;
use serde_json::Value as Json;

/// A value, where it stood, and how messages name that.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// `SOKETI_PORT`, `eventLimits.maxBatchSize in file soketi.json`
    pub(super) name: String,
    /// `environment variable SOKETI_PORT`, `file soketi.json (eventLimits.maxBatchSize)`
    pub(super) origin: String,
    pub(super) value: Json,
    /// a variable's text before it was taken for JSON: an id of digits stays what it is
    pub(super) text: Option<String>,
}

impl Found {
    /// Nothing was said: soketi takes its default.
    pub(super) fn is_absent(&self) -> bool {
        match &self.value {
            Json::Null => true,
            Json::String(text) => text.trim().is_empty(),
            _ => false,
        }
    }

    pub(super) fn is(&self, value: &Json) -> bool {
        match (&self.value, value) {
            (Json::String(found), Json::String(word)) => found.eq_ignore_ascii_case(word),
            // `85` and `"85"`
            (Json::String(found), Json::Number(number)) => *found == number.to_string(),
            (found, value) => found == value,
        }
    }

    /// The value of the setting `key`; `None` when it leaves the setting alone. Fails when it is of the wrong kind.
    pub(super) fn convert(&self, key: &str, kind: Kind) -> Result<Option<ValueKind>, ConfigError> {
        let value = match kind {
            Kind::Text => ValueKind::String(self.as_text(key)?),
            Kind::Whole => ValueKind::I64(self.whole(key)?),
            Kind::Limit => ValueKind::I64(self.limit(key)?),
            Kind::Kilobytes => ValueKind::I64(self.scaled(key, 1_024.0, "KB")?),
            Kind::Megabytes => ValueKind::I64(self.scaled(key, 1_048_576.0, "MB")?),
            Kind::Seconds => ValueKind::I64(self.seconds(key)?),
            Kind::Switch => ValueKind::Boolean(self.switch(key)?),
            Kind::Debug if self.switch(key)? => ValueKind::String("debug".to_owned()),
            Kind::Debug => return Ok(None),
            Kind::ClientMessages => {
                let who = if self.switch(key)? { "members" } else { "none" };
                ValueKind::String(who.to_owned())
            }
        };
        Ok(Some(value))
    }

    /// Numbers are texts here: soketi's variables and files have ids with and without quotes.
    pub(super) fn as_text(&self, key: &str) -> Result<String, ConfigError> {
        match (&self.value, &self.text) {
            (Json::String(text), _) => Ok(text.clone()),
            (Json::Number(_) | Json::Bool(_), Some(text)) => Ok(text.clone()),
            (Json::Number(number), None) => Ok(number.to_string()),
            _ => Err(self.wrong(key, "a text")),
        }
    }

    pub(super) fn switch(&self, key: &str) -> Result<bool, ConfigError> {
        let switch = match &self.value {
            Json::Bool(on) => Some(*on),
            Json::Number(number) if number.as_f64() == Some(1.0) => Some(true),
            Json::Number(number) if number.as_f64() == Some(0.0) => Some(false),
            Json::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        };
        switch.ok_or_else(|| self.invalid(key, "true or false"))
    }

    fn whole(&self, key: &str) -> Result<i64, ConfigError> {
        match self.integer() {
            Some(number) if number >= 0 => Ok(number),
            _ => Err(self.invalid(key, "a whole number")),
        }
    }

    /// 0 would mean "nobody" to soketi and "no limit" to us, so it is refused rather than turned round.
    fn limit(&self, key: &str) -> Result<i64, ConfigError> {
        match self.integer() {
            Some(number) if number < 0 => Ok(0),
            Some(number) if number > 0 => Ok(number),
            _ => Err(self.invalid(key, "a whole number from 1, or -1 for no limit")),
        }
    }

    pub(super) fn seconds(&self, key: &str) -> Result<i64, ConfigError> {
        match self.integer() {
            // rounded up: 500 ms must not become 0, which often means something else
            Some(ms) if ms >= 0 => Ok(ms / 1_000 + i64::from(ms % 1_000 > 0)),
            _ => Err(self.invalid(key, "a whole number of milliseconds")),
        }
    }

    fn scaled(&self, key: &str, unit: f64, name: &str) -> Result<i64, ConfigError> {
        let number = match &self.value {
            Json::Number(number) => number.as_f64(),
            Json::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let bytes = number.map(|number| (number * unit).ceil());
        match bytes {
            // exact below 2^53, and no setting takes more
            #[expect(clippy::cast_possible_truncation)]
            Some(bytes) if (0.0..=9e15).contains(&bytes) => Ok(bytes as i64),
            _ => Err(self.invalid(key, &format!("a number of {name}"))),
        }
    }

    fn integer(&self) -> Option<i64> {
        match &self.value {
            Json::Number(number) => number.as_i64(),
            Json::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The error for this value as the setting `key`.
    pub(super) fn invalid(&self, key: &str, allowed: &str) -> ConfigError {
        let value = match &self.value {
            Json::Array(_) => "a list".to_owned(),
            Json::Object(_) => "an object".to_owned(),
            value => value.to_string(),
        };
        self.refused(key, value, allowed)
    }

    /// The same for a value that may have a secret in it: it is not shown.
    pub(super) fn wrong(&self, key: &str, allowed: &str) -> ConfigError {
        self.refused(key, "something else".to_owned(), allowed)
    }

    fn refused(&self, key: &str, value: String, allowed: &str) -> ConfigError {
        ConfigError::Invalid {
            setting: key.to_owned(),
            value,
            origin: self.origin.clone(),
            allowed: allowed.to_owned(),
        }
    }
}
