//! Who may do what: users and their rules.

use crate::cluster::connection::{Access, Password};

pub fn user(name: &str, password: &str) -> Access {
    Access {
        username: (!name.is_empty()).then(|| name.to_owned()),
        password: Some(Password::new(password)),
        ..Access::default()
    }
}

/// The rules of the ACL that the documentation of the connection gives, for another prefix.
pub fn documented_rules(prefix: &str, is_cluster: bool) -> String {
    let source = include_str!("../../connection.rs");
    let after = |opening: &str| {
        let line = source.lines().find_map(|line| line.split_once(opening));
        line.expect("the documented rules").1
    };
    let mut rules = after("//! ACL SETUSER resound on >PASSWORD ").to_owned();
    if is_cluster {
        let more = after("on a Redis Cluster also `");
        rules = format!("{rules} {}", more.split('`').next().unwrap_or_default());
    }
    rules.replace("resound:", &format!("{prefix}:"))
}
