//! The query string of a REST request (H-13): what it says, and how it was signed.

use percent_encoding::percent_decode_str;
use std::{borrow::Cow, ops::Range};

/// The query string of a REST request, decoded by the rules of H-13.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// all keys and values: a request takes one buffer, not one for each
    text: String,
    /// in the order of the string to sign: by key, a plain parameter before an array of the same name; each once
    parameters: Vec<Parameter>,
}

/// Where its parts are in the query's text.
#[derive(Clone, Debug)]
struct Parameter {
    /// lower-case; bare, without the brackets of an array
    key: Range<usize>,
    /// of an array: the items joined with commas (H-13, form B)
    value: Range<usize>,
    /// `Some` if the parameter came as `key[]` or `key[0]`; they lie within the value
    items: Option<Vec<Range<usize>>>,
}

impl Query {
    /// `raw` is the query as in the request line, without `?`. Reads anything: what isn't UTF-8 becomes U+FFFD.
    pub fn parse(raw: &str) -> Query {
        let mut pairs: Vec<(Cow<'_, str>, bool, Cow<'_, str>)> = Vec::with_capacity(8);
        for (mut key, value) in decoded_pairs(raw) {
            if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
                key.to_mut().make_ascii_lowercase();
            }
            let name_len = array_name(&key).map(str::len);
            if let Some(len) = name_len {
                key = match key {
                    Cow::Borrowed(key) => Cow::Borrowed(&key[..len]),
                    Cow::Owned(key) => Cow::Owned(key[..len].to_owned()),
                };
            }
            pairs.push((key, name_len.is_some(), value));
        }
        // stable, so that items of an array stay in order and the last of plain duplicates stays last
        pairs.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));

        let mut query = Query {
            text: String::with_capacity(raw.len()),
            parameters: Vec::with_capacity(pairs.len()),
        };
        let mut last: Option<(&str, bool)> = None;
        for (key, is_array, value) in &pairs {
            let this = (&**key, *is_array);
            if last.replace(this) == Some(this) {
                query.repeat(value);
            } else {
                query.add(key, *is_array, value);
            }
        }
        query
    }

    fn add(&mut self, key: &str, is_array: bool, value: &str) {
        let key = self.put(key);
        let value = self.put(value);
        self.parameters.push(Parameter {
            key,
            items: is_array.then(|| vec![value.clone()]),
            value,
        });
    }

    /// The last parameter's name once more: one item more, or (plain) the value that counts.
    fn repeat(&mut self, value: &str) {
        let is_array = self
            .parameters
            .last()
            .is_some_and(|last| last.items.is_some());
        if is_array {
            self.text.push(',');
        }
        let value = self.put(value);
        let Some(last) = self.parameters.last_mut() else {
            return;
        };
        match &mut last.items {
            None => last.value = value,
            Some(items) => {
                last.value.end = value.end;
                items.push(value);
            }
        }
    }

    fn put(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// value of a plain parameter (the last wins); for array forms the values joined with commas. Keys are lower-case.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key)
            .map(|parameter| &self.text[parameter.value.clone()])
    }

    /// the values of `key[]=a&key[]=b` / `key[0]=a`; a plain value split at nothing is one entry
    pub fn get_all(&self, key: &str) -> Vec<&str> {
        match self.find(key) {
            None => Vec::new(),
            Some(Parameter {
                items: Some(items), ..
            }) => items.iter().map(|item| &self.text[item.clone()]).collect(),
            Some(plain) => vec![&self.text[plain.value.clone()]],
        }
    }

    fn find(&self, key: &str) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|parameter| &self.text[parameter.key.clone()] == key)
    }

    /// How long it is, decoded.
    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Appends the third part of the string to sign (H-12), with arrays in the given form.
    pub(super) fn to_sign(&self, form: ArrayForm, out: &mut String) {
        let start = out.len();
        let mut add = |key: &str, brackets: &str, value: &str| {
            let separator = if out.len() == start { "" } else { "&" };
            for part in [separator, key, brackets, "=", value] {
                out.push_str(part);
            }
        };
        for parameter in &self.parameters {
            let key = &self.text[parameter.key.clone()];
            match (&parameter.items, form) {
                _ if key == "auth_signature" => {}
                (Some(items), ArrayForm::Repeated) => items
                    .iter()
                    .for_each(|item| add(key, "[]", &self.text[item.clone()])),
                _ => add(key, "", &self.text[parameter.value.clone()]),
            }
        }
    }

    pub(super) fn has_arrays(&self) -> bool {
        self.parameters
            .iter()
            .any(|parameter| parameter.items.is_some())
    }
}

/// The pairs of a query string as `application/x-www-form-urlencoded` has them. Copies only what is escaped.
pub(crate) fn decoded_pairs(raw: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = raw.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    let bytes = percent_decode_str(&spaced);
    Cow::Owned(bytes.decode_utf8_lossy().into_owned())
}

/// `info` of `info[]` and `info[0]`.
fn array_name(key: &str) -> Option<&str> {
    let (name, index) = key.strip_suffix(']')?.split_once('[')?;
    (!name.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// How an SDK writes an array into the string to sign (H-13).
#[derive(Clone, Copy)]
pub(super) enum ArrayForm {
    /// form A, ruby: `k[]=a&k[]=b`
    Repeated,
    /// form B, php and Reverb: `k=a,b`
    Joined,
}
