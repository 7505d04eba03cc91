//! What comes of a call for those who want to know what happens: it is written down until it is told.

use std::collections::BTreeMap;

use crate::{
    cluster::{
        rules::Rules,
        terms::{Answer, Happening, Joined, Open},
    },
    protocol::presence::Member,
};

/// News of one channel, as a call of one node writes them down.
pub(super) struct News<'a> {
    pub(super) written: &'a mut BTreeMap<String, String>,
    pub(super) node: String,
    pub(super) name: String,
    pub(super) rules: Rules,
}

impl News<'_> {
    /// `false`: it is the return of who left, which is cancelled.
    pub(super) fn write(&mut self, happening: &Happening) -> bool {
        if !self.rules.is_told {
            return true;
        }
        let word = happening.word();
        let contrary = match happening {
            Happening::Occupied => Some(".".to_owned()),
            Happening::MemberAdded(user) => Some(format!("-{user}")),
            _ => None,
        };
        let is_held = self.rules.hold.is_some();
        match contrary {
            Some(contrary) if is_held && self.written.remove(&contrary).is_some() => return false,
            None if is_held => self.written.insert(word, self.name.clone()),
            _ => {
                let field = format!("+{}/{word}", self.name);
                self.written.insert(field, self.node.clone())
            }
        };
        true
    }

    pub(super) fn joined(&mut self, member: Option<&Member>, answer: &mut Answer) {
        let Answer::Joined(Joined::Yes {
            subscriptions,
            is_new_member,
            is_return,
            is_members_return,
            ..
        }) = answer
        else {
            return;
        };
        if *subscriptions == 1 {
            *is_return = !self.write(&Happening::Occupied);
        }
        if let (true, Some(member)) = (*is_new_member, member) {
            *is_members_return = !self.write(&Happening::MemberAdded(member.user_id.clone()));
        }
    }

    pub(super) fn left(&mut self, user: Option<&str>, answer: &Answer) {
        let Answer::Left(left) = answer else { return };
        if let (true, Some(user)) = (left.has_member_left, user) {
            self.write(&Happening::MemberRemoved(user.into()));
        }
        if left.sequence.is_some() && left.subscriptions == 0 {
            self.write(&Happening::Vacated);
        }
    }

    /// Those of the node, which this one tells from now on.
    pub(super) fn open(self, teller: &str) -> Vec<Open> {
        if !self.rules.is_told {
            return Vec::new();
        }
        let mine = format!("{}.", self.node);
        let mut open = Vec::new();
        for (field, value) in self.written.iter_mut() {
            let (named, word, is_held) = match field.strip_prefix('+') {
                Some(told) => match told.split_once('/') {
                    Some((named, word)) => (named.to_owned(), word, false),
                    None => continue,
                },
                None => (value.clone(), field.as_str(), true),
            };
            let Some(number) = named.strip_prefix(&mine) else {
                continue;
            };
            if !is_held {
                *value = teller.to_owned();
            }
            open.push(Open {
                number: number.parse().expect("a number"),
                happening: Happening::parse(word).expect("a word"),
                is_held,
            });
        }
        open.sort_by(|a, b| (a.number, &a.happening).cmp(&(b.number, &b.happening)));
        open
    }
}
