//! What happened and isn't told: news of who left that wait for a return, until they are due.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::terms::Happening;
use crate::hub::inbox::ChannelKey;

/// Something happened that nobody has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub channel: ChannelKey,
    pub app_id: Arc<str>,
    pub happening: Happening,
    /// the node that wrote it down, dead or alive, and the number of the call by which it did; 0 = it isn't written down
    pub node: Arc<str>,
    pub number: u64,
    /// what Redis remembered at the time: the news may be lost with it
    pub memory: Arc<str>,
}

impl News {
    /// No other news are called so.
    pub fn name(&self) -> String {
        format!("{}.{}", self.node, self.number)
    }

    /// What they are called in the hash of the channel's news when nothing cancels them any more.
    pub fn field(&self) -> String {
        format!("+{}/{}", self.name(), self.happening.word())
    }
}

/// By the time they are due.
#[derive(Debug, Default)]
pub struct Waiting {
    news: BTreeMap<(Instant, u64), News>,
    /// due whatever the time is
    due: VecDeque<News>,
    added: u64,
}

impl Waiting {
    /// Over `max` the oldest are due at once: waiting is a courtesy.
    pub fn add(&mut self, news: News, wait: Duration, now: Instant, max: usize) {
        self.added += 1;
        self.news.insert((now + wait, self.added), news);
        while self.news.len() > max
            && let Some((_, oldest)) = self.news.pop_first()
        {
            self.due.push_back(oldest);
        }
    }

    /// They have waited already.
    pub fn again(&mut self, news: News) {
        self.due.push_back(news);
    }

    pub fn len(&self) -> usize {
        self.news.len() + self.due.len()
    }

    /// Takes out what is due longest.
    pub fn take(&mut self, now: Instant) -> Option<News> {
        if let Some(news) = self.due.pop_front() {
            return Some(news);
        }
        let first = self.news.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// From now on nothing waits.
    pub fn hurry(&mut self) {
        self.due
            .extend(std::mem::take(&mut self.news).into_values());
    }
}

/// News that are written down in Redis and that this process has heard of, by the node that wrote them down and by channel.
#[derive(Debug, Default)]
pub struct Open(HashMap<Arc<str>, HashMap<ChannelKey, HashSet<String>>>);

impl Open {
    /// `false`: they are known already.
    pub fn add(&mut self, news: &News) -> bool {
        let of_node = self.0.entry(news.node.clone()).or_default();
        let of_channel = of_node.entry(news.channel.clone()).or_default();
        of_channel.insert(news.field())
    }

    /// Whether they were the last ones of the channel.
    pub fn remove(&mut self, news: &News) -> bool {
        let Some(of_node) = self.0.get_mut(&news.node) else {
            return false;
        };
        let Some(of_channel) = of_node.get_mut(&news.channel) else {
            return false;
        };
        of_channel.remove(&news.field());
        if !of_channel.is_empty() {
            return false;
        }
        of_node.remove(&news.channel);
        if of_node.is_empty() {
            self.0.remove(&news.node);
        }
        true
    }

    pub fn has(&self, node: &str, channel: &ChannelKey) -> bool {
        let of_node = self.0.get(node);
        of_node.is_some_and(|of_node| of_node.contains_key(channel))
    }

    pub fn has_any_of(&self, node: &str) -> bool {
        self.0.contains_key(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::channel::ChannelName;

    fn news(number: u64) -> News {
        News {
            channel: ChannelKey {
                app: 0,
                name: ChannelName::parse("a", 200).expect("a name"),
            },
            app_id: "1".into(),
            happening: Happening::Vacated,
            node: "a".into(),
            number,
            memory: "".into(),
        }
    }

    fn taken(waiting: &mut Waiting, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| waiting.take(now))
            .map(|news| news.number)
            .collect()
    }

    #[test]
    fn news_are_due_in_the_order_of_their_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut waiting = Waiting::default();
        waiting.add(news(1), Duration::from_secs(3), start, 10);
        waiting.add(news(2), Duration::from_secs(1), start, 10);
        waiting.add(news(3), Duration::from_secs(3), start, 10);
        assert_eq!(taken(&mut waiting, start), [0_u64; 0]);
        assert_eq!(taken(&mut waiting, at(1)), [2]);
        assert_eq!(taken(&mut waiting, at(3)), [1, 3]);
        waiting.add(news(4), Duration::from_secs(3), start, 10);
        waiting.hurry();
        assert_eq!(taken(&mut waiting, start), [4]);
    }

    #[test]
    fn over_the_limit_the_oldest_are_due() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        for number in 0..4 {
            waiting.add(news(number), Duration::from_secs(3), now, 2);
        }
        assert_eq!(taken(&mut waiting, now), [0, 1]);
        assert_eq!(waiting.len(), 2);
    }
}
