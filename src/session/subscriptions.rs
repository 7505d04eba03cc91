//! The channels of one connection. Nearly all connections have a handful: those are a list, which takes 32 bytes for each; a
//! hash table takes 200 with the first.
use std::{collections::HashMap, sync::Arc};

use crate::protocol::channel::ChannelName;

/// More than these are no longer looked through one by one.
const FEW: usize = 8;

/// On presence channels, the member's id.
type Member = Option<Arc<str>>;

/// See the module's documentation.
#[derive(Default)]
pub struct Subscriptions(Kept);

enum Kept {
    Few(Vec<(ChannelName, Member)>),
    /// until the connection ends, however few are left
    Many(HashMap<ChannelName, Member>),
}

impl Default for Kept {
    fn default() -> Kept {
        Kept::Few(Vec::new())
    }
}

impl Subscriptions {
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Few(few) => few.len(),
            Kept::Many(many) => many.len(),
        }
    }

    pub fn get(&self, channel: &ChannelName) -> Option<&Member> {
        match &self.0 {
            Kept::Few(few) => {
                let found = few.iter().find(|(name, _)| name == channel);
                found.map(|(_, member)| member)
            }
            Kept::Many(many) => many.get(channel),
        }
    }

    /// Adds a channel that isn't among them.
    pub fn insert(&mut self, channel: ChannelName, member: Member) {
        match &mut self.0 {
            Kept::Few(few) if few.len() < FEW => {
                few.reserve_exact(1);
                few.push((channel, member));
            }
            Kept::Few(few) => {
                let mut many: HashMap<_, _> = std::mem::take(few).into_iter().collect();
                many.insert(channel, member);
                self.0 = Kept::Many(many);
            }
            Kept::Many(many) => {
                many.insert(channel, member);
            }
        }
    }

    /// Takes a channel out; the name comes back as it was put in.
    pub fn remove(&mut self, channel: &ChannelName) -> Option<(ChannelName, Member)> {
        match &mut self.0 {
            Kept::Few(few) => {
                let at = few.iter().position(|(name, _)| name == channel)?;
                Some(few.swap_remove(at))
            }
            Kept::Many(many) => many.remove_entry(channel),
        }
    }

    /// Takes all of them out.
    pub fn take(&mut self) -> Vec<(ChannelName, Member)> {
        match std::mem::take(&mut self.0) {
            Kept::Few(few) => few,
            Kept::Many(many) => many.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn name(number: usize) -> ChannelName {
        ChannelName::parse(&format!("channel-{number}"), 200).expect("a name")
    }

    fn member(number: usize) -> Member {
        (number % 2 == 1).then(|| number.to_string().into())
    }

    #[test]
    fn few_and_many_are_kept_alike() {
        for count in [0, 1, FEW - 1, FEW, FEW + 1, 1000] {
            let mut kept = Subscriptions::default();
            for number in 0..count {
                assert_eq!(kept.len(), number);
                assert_eq!(kept.get(&name(number)), None);
                kept.insert(name(number), member(number));
            }
            for number in 0..count {
                assert_eq!(kept.get(&name(number)), Some(&member(number)));
            }
            assert_eq!(kept.remove(&name(count)), None);
            for number in (0..count).step_by(2) {
                let removed = kept.remove(&name(number));
                assert_eq!(removed, Some((name(number), member(number))));
                assert_eq!(kept.get(&name(number)), None);
            }
            let mut left = kept.take();
            left.sort();
            let mut expected: Vec<_> = (1..count)
                .step_by(2)
                .map(|number| (name(number), member(number)))
                .collect();
            expected.sort();
            assert_eq!(left, expected);
            assert_eq!(kept.len(), 0);
        }
    }

    proptest! {
        #[test]
        fn they_are_a_map_from_channels_to_members(
            steps in vec((0..20_usize, 0..8_usize), 0..200),
        ) {
            let mut kept = Subscriptions::default();
            let mut model: HashMap<ChannelName, Member> = HashMap::new();
            for (number, step) in steps {
                let name = name(number);
                match step {
                    0..4 if !model.contains_key(&name) => {
                        kept.insert(name.clone(), member(number));
                        model.insert(name.clone(), member(number));
                    }
                    4..7 => prop_assert_eq!(kept.remove(&name), model.remove_entry(&name)),
                    7 if number == 0 => {
                        let taken: HashMap<_, _> = kept.take().into_iter().collect();
                        prop_assert_eq!(taken, std::mem::take(&mut model));
                    }
                    _ => {}
                }
                prop_assert_eq!(kept.get(&name), model.get(&name));
                prop_assert_eq!(kept.len(), model.len());
            }
            let taken: HashMap<_, _> = kept.take().into_iter().collect();
            prop_assert_eq!(taken, model);
        }
    }
}
