//! The members of one presence channel, unique by user id over any number of connections (P-3).

use std::{collections::HashMap, sync::Arc};

use crate::protocol::presence::Member;

/// Members by user id.
#[derive(Debug, Default)]
pub struct Presence {
    members: HashMap<Arc<str>, Present>,
}

#[derive(Debug)]
struct Present {
    member: Arc<Member>,
    connections: u32,
}

/// The channel has as many members as it may (P-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembersLimit;

impl Presence {
    /// Adds a connection of a member; `true` if the member is new. The latest `user_info` is the one that is shown
    /// (P-9). A further connection of a member is never refused (P-12).
    pub fn join(
        &mut self,
        member: &Arc<Member>,
        members_max: Option<u32>,
    ) -> Result<bool, MembersLimit> {
        if let Some(present) = self.members.get_mut(&member.user_id) {
            present.connections += 1;
            present.member = member.clone();
            return Ok(false);
        }
        if members_max.is_some_and(|max| self.members.len() >= max as usize) {
            return Err(MembersLimit);
        }
        let present = Present {
            member: member.clone(),
            connections: 1,
        };
        self.members.insert(member.user_id.clone(), present);
        Ok(true)
    }

    /// Takes a connection of a member away; `true` if it was the last one.
    pub fn leave(&mut self, user_id: &str) -> bool {
        let Some(present) = self.members.get_mut(user_id) else {
            return false;
        };
        present.connections -= 1;
        if present.connections > 0 {
            return false;
        }
        self.members.remove(user_id);
        true
    }

    pub fn list(&self) -> Vec<Arc<Member>> {
        self.members
            .values()
            .map(|present| present.member.clone())
            .collect()
    }

    pub fn ids(&self) -> Vec<Arc<str>> {
        self.members.keys().cloned().collect()
    }

    pub fn user_count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*};
    use std::collections::HashSet;

    fn member(id: &str, info: &str) -> Arc<Member> {
        Arc::new(Member {
            user_id: id.into(),
            user_info: info.into(),
        })
    }

    #[test]
    fn p6_p8_first_connection_joins_and_last_one_leaves() {
        let mut presence = Presence::default();
        assert_eq!(presence.join(&member("1", "{}"), None), Ok(true));
        assert_eq!(presence.join(&member("1", "{}"), None), Ok(false));
        assert_eq!(presence.user_count(), 1);
        assert!(!presence.leave("1"));
        assert!(presence.leave("1"));
        assert!(!presence.leave("1"));
        assert_eq!(presence.user_count(), 0);
    }

    #[test]
    fn p9_latest_user_info_is_shown() {
        let mut presence = Presence::default();
        assert_eq!(presence.join(&member("1", r#"{"a":1}"#), None), Ok(true));
        assert_eq!(presence.join(&member("1", r#"{"a":2}"#), None), Ok(false));
        assert_eq!(&*presence.list()[0].user_info, r#"{"a":2}"#);
    }

    #[test]
    fn p12_a_further_connection_of_a_member_is_never_refused() {
        let mut presence = Presence::default();
        assert_eq!(presence.join(&member("1", "{}"), Some(1)), Ok(true));
        assert_eq!(
            presence.join(&member("2", "{}"), Some(1)),
            Err(MembersLimit)
        );
        assert_eq!(presence.join(&member("1", "{}"), Some(1)), Ok(false));
        assert_eq!(presence.user_count(), 1);
    }

    proptest! {
        #[test]
        fn members_are_those_of_a_list_of_connections(
            steps in vec((0..6_usize, 0..3_usize, any::<bool>()), 0..80),
            members_max in option::of(0..5_u32),
        ) {
            let mut presence = Presence::default();
            // who the open connections belong to, and what the last one of each user brought along
            let mut connections: Vec<String> = Vec::new();
            let mut shown: HashMap<String, String> = HashMap::new();
            for (user, info, is_join) in steps {
                let (id, info) = (format!("user-{user}"), format!("{{\"info\":{info}}}"));
                let is_here = connections.contains(&id);
                if is_join {
                    let users: HashSet<&String> = connections.iter().collect();
                    let is_full = members_max.is_some_and(|max| users.len() >= max as usize);
                    let expected = if is_here || !is_full { Ok(!is_here) } else { Err(MembersLimit) };
                    prop_assert_eq!(presence.join(&member(&id, &info), members_max), expected);
                    if expected.is_ok() {
                        connections.push(id.clone());
                        shown.insert(id, info);
                    }
                } else {
                    if let Some(at) = connections.iter().position(|other| *other == id) {
                        connections.remove(at);
                    }
                    let is_last = is_here && !connections.contains(&id);
                    if is_last {
                        shown.remove(&id);
                    }
                    prop_assert_eq!(presence.leave(&id), is_last);
                }
                prop_assert_eq!(presence.user_count() as usize, shown.len());
                let ids = presence.ids();
                prop_assert_eq!(ids.len(), shown.len());
                prop_assert!(ids.iter().all(|id| shown.contains_key(&**id)));
                let list = presence.list();
                prop_assert_eq!(list.len(), shown.len());
                for member in list {
                    prop_assert_eq!(shown.get(&*member.user_id).map(String::as_str), Some(&*member.user_info));
                }
            }
        }
    }
}
