//! News of who left that wait for a return, until they are due.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::terms::Held;
use crate::hub::inbox::ChannelKey;

/// Somebody left, or everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub channel: ChannelKey,
    pub app_id: Arc<str>,
    /// `None`: the channel was vacated
    pub user_id: Option<Arc<str>>,
    pub held: Held,
    /// the connection to Redis at the time: what Redis knew of the news may be lost with it
    pub generation: u64,
}

impl News {
    /// What it is called in Redis, in the hash of the channel's held news.
    pub fn field(&self) -> String {
        match &self.user_id {
            None => ".".to_owned(),
            Some(user_id) => format!("-{user_id}"),
        }
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
    pub fn add(&mut self, news: News, now: Instant, max: usize) {
        self.added += 1;
        self.news.insert((now + news.held.wait, self.added), news);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::channel::ChannelName;

    fn news(number: u64, wait_s: u64) -> News {
        News {
            channel: ChannelKey {
                app: 0,
                name: ChannelName::parse("a", 200).expect("a name"),
            },
            app_id: "1".into(),
            user_id: None,
            held: Held {
                number,
                wait: Duration::from_secs(wait_s),
            },
            generation: 0,
        }
    }

    fn taken(waiting: &mut Waiting, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| waiting.take(now))
            .map(|news| news.held.number)
            .collect()
    }

    #[test]
    fn news_are_due_in_the_order_of_their_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut waiting = Waiting::default();
        waiting.add(news(1, 3), start, 10);
        waiting.add(news(2, 1), start, 10);
        waiting.add(news(3, 3), start, 10);
        assert_eq!(taken(&mut waiting, start), [0_u64; 0]);
        assert_eq!(taken(&mut waiting, at(1)), [2]);
        assert_eq!(taken(&mut waiting, at(3)), [1, 3]);
        waiting.add(news(4, 3), start, 10);
        waiting.hurry();
        assert_eq!(taken(&mut waiting, start), [4]);
    }

    #[test]
    fn over_the_limit_the_oldest_are_due() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        for number in 0..4 {
            waiting.add(news(number, 3), now, 2);
        }
        assert_eq!(taken(&mut waiting, now), [0, 1]);
        assert_eq!(waiting.len(), 2);
    }
}
