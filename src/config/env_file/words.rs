//! What Laravel's `env()` makes of a variable's text.

/// A variable's text, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum EnvValue<'a> {
    Null,
    Switch(bool),
    Text(&'a str),
}

/// The words of `env()`, in any case; of other texts one pair of quotes goes.
pub(in crate::config) fn env_value(text: &str) -> EnvValue<'_> {
    let is = |word: &str| {
        let bare = text
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        bare.unwrap_or(text).eq_ignore_ascii_case(word)
    };
    if is("true") {
        return EnvValue::Switch(true);
    }
    if is("false") {
        return EnvValue::Switch(false);
    }
    if is("null") {
        return EnvValue::Null;
    }
    if is("empty") {
        return EnvValue::Text("");
    }
    let unquoted = ['"', '\''].iter().find_map(|quote| {
        let inner = text.strip_prefix(*quote)?.strip_suffix(*quote)?;
        (!inner.contains('\n')).then_some(inner)
    });
    EnvValue::Text(unquoted.unwrap_or(text))
}
