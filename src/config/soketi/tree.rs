//! soketi's options put together: the JSON file with its nested objects and dotted paths, and the variables over it.
use super::{
    super::error::{ConfigError, nearest},
    SoketiFile, Variables,
    found::Found,
    options::{APP_FIELDS, AppField, Meaning, OPTIONS, SoketiOption},
    unknown_variables,
};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

const APPS: &str = "appManager.array.apps";

/// An app as soketi's sources have it: its fields by their first spelling.
pub(super) type AppFields = BTreeMap<&'static str, (&'static AppField, Found)>;

#[derive(Default)]
pub(super) struct Options {
    /// apart from the apps
    pub(super) found: Vec<(&'static SoketiOption, Found)>,
    pub(super) apps: Vec<AppFields>,
    pub(super) has_variables: bool,
}

impl Options {
    /// Fails when a value is of a kind that no option can be; warns of names that mean nothing.
    pub(super) fn add_file(
        &mut self,
        file: &SoketiFile,
        warnings: &mut Vec<String>,
    ) -> Result<(), ConfigError> {
        let mut root = Json::Object(Map::new());
        for (key, value) in &file.content {
            let path: Vec<&str> = key.split('.').collect();
            if path.contains(&"") || !place(&mut root, &path, value.clone()) {
                warnings.push(unknown(key, &file.origin));
            }
        }
        self.walk("", &root, &file.origin, warnings)
    }

    fn walk(
        &mut self,
        path: &str,
        value: &Json,
        origin: &str,
        warnings: &mut Vec<String>,
    ) -> Result<(), ConfigError> {
        let found = in_file(path, value, origin);
        if path == APPS {
            return self.add_apps(&found, origin, warnings);
        }
        if let Some(option) = option_at(path) {
            if !found.is_absent() {
                self.found.push((option, found));
            }
            return Ok(());
        }
        if !is_group(path) {
            warnings.push(unknown(path, origin));
            return Ok(());
        }
        let Json::Object(members) = value else {
            return match found.is_absent() {
                true => Ok(()),
                false => Err(found.wrong(path, "an object")),
            };
        };
        for (key, value) in members {
            let path = match path {
                "" => key.clone(),
                _ => format!("{path}.{key}"),
            };
            self.walk(&path, value, origin, warnings)?;
        }
        Ok(())
    }

    fn add_apps(
        &mut self,
        found: &Found,
        origin: &str,
        warnings: &mut Vec<String>,
    ) -> Result<(), ConfigError> {
        if found.is_absent() {
            return Ok(());
        }
        let Json::Array(apps) = &found.value else {
            return Err(found.wrong(APPS, "a list of objects, one for each app"));
        };
        for (index, app) in apps.iter().enumerate() {
            let path = format!("{APPS}.{index}");
            let Json::Object(members) = app else {
                let found = in_file(&path, app, origin);
                return Err(found.wrong(&path, "an object with id, key and secret"));
            };
            self.apps.push(app_fields(&path, members, origin, warnings));
        }
        Ok(())
    }

    /// Those that begin with `SOKETI_`; they beat the file.
    pub(super) fn add_variables(&mut self, variables: &Variables<'_>, warnings: &mut Vec<String>) {
        let mut not_known = Vec::new();
        for (name, (text, origin)) in variables {
            let Some(short) = name.strip_prefix("SOKETI_") else {
                continue;
            };
            let Some(option) = OPTIONS.iter().find(|option| option.variable == short) else {
                not_known.push(short);
                continue;
            };
            let found = Found {
                name: (*name).to_owned(),
                origin: origin.clone(),
                value: serde_json::from_str(text).unwrap_or_else(|_| Json::from(*text)),
                text: Some((*text).to_owned()),
            };
            if !found.is_absent() {
                self.has_variables = true;
                self.replace(option, found);
            }
        }
        warnings.extend(unknown_variables(&not_known));
    }

    fn replace(&mut self, option: &'static SoketiOption, found: Found) {
        if matches!(option.meaning, Meaning::App) {
            let field = option.path.rsplit('.').next().and_then(field_named);
            if let Some(field) = field {
                if self.apps.is_empty() {
                    self.apps.push(AppFields::new());
                }
                // soketi's variables are about the first app of the list
                self.apps[0].insert(field.spellings[0], (field, found));
            }
            return;
        }
        self.found.retain(|(other, _)| other.path != option.path);
        self.found.push((option, found));
    }
}

fn in_file(path: &str, value: &Json, origin: &str) -> Found {
    Found {
        name: format!("{path} in {origin}"),
        origin: format!("{origin} ({path})"),
        value: value.clone(),
        text: None,
    }
}

fn app_fields(
    path: &str,
    members: &Map<String, Json>,
    origin: &str,
    warnings: &mut Vec<String>,
) -> AppFields {
    for name in members.keys().filter(|name| field_named(name).is_none()) {
        let spellings = APP_FIELDS.iter().flat_map(|field| field.spellings);
        let hint = nearest(name, spellings);
        warnings.push(warning_of(&format!("{path}.{name}"), origin, hint));
    }
    let mut fields = AppFields::new();
    for field in APP_FIELDS {
        for spelling in field.spellings {
            let Some(value) = members.get(spelling) else {
                continue;
            };
            let found = in_file(&format!("{path}.{spelling}"), value, origin);
            if !found.is_absent() {
                fields.insert(field.spellings[0], (field, found));
            }
        }
    }
    fields
}

fn field_named(name: &str) -> Option<&'static AppField> {
    APP_FIELDS
        .iter()
        .find(|field| field.spellings.contains(&name))
}

fn option_at(path: &str) -> Option<&'static SoketiOption> {
    OPTIONS
        .iter()
        .find(|option| option.path == path && !matches!(option.meaning, Meaning::App))
}

/// Whether options lie below this path.
fn is_group(path: &str) -> bool {
    let is_below = |option: &SoketiOption| {
        option
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    path.is_empty() || OPTIONS.iter().any(is_below)
}

/// Puts a value at a dotted path. `false` when a list on the way has no such place.
fn place(at: &mut Json, path: &[&str], value: Json) -> bool {
    let Some((first, rest)) = path.split_first() else {
        *at = value;
        return true;
    };
    if let Json::Array(list) = at {
        return match first.parse::<usize>() {
            Ok(index) if index < list.len() => place(&mut list[index], rest, value),
            Ok(index) if index == list.len() => {
                let mut new = Json::Object(Map::new());
                let is_placed = place(&mut new, rest, value);
                list.push(new);
                is_placed
            }
            _ => false,
        };
    }
    if first.parse::<usize>().is_ok() && !is_filled(at) {
        *at = Json::Array(Vec::new());
        return place(at, path, value);
    }
    if !at.is_object() {
        *at = Json::Object(Map::new());
    }
    match at {
        Json::Object(members) => {
            let below = members.entry(*first).or_insert(Json::Null);
            place(below, rest, value)
        }
        _ => false,
    }
}

fn is_filled(value: &Json) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

fn unknown(path: &str, origin: &str) -> String {
    let paths = OPTIONS.iter().map(|option| option.path);
    warning_of(path, origin, nearest(path, paths))
}

fn warning_of(path: &str, origin: &str, nearest: Option<String>) -> String {
    let hint = nearest.map_or(String::new(), |nearest| {
        format!(" (the nearest is {nearest})")
    });
    format!("{path} in {origin} is not known and without effect{hint}")
}
