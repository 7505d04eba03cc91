//! The live stream: what happens on this node, told to operators who listen at that moment. While nobody does, telling costs
//! one look at a number. A listener that reads too slowly loses events and is told how many; it holds nobody up.

mod event;
mod filter;

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

pub use event::{Event, Kind, shown_data};
pub use filter::{Filter, InvalidFilter};

/// See the module's documentation.
#[derive(Debug)]
pub struct Live {
    listening: AtomicUsize,
    wanting_data: AtomicUsize,
    listeners: ArcSwap<Vec<Arc<Listener>>>,
    listeners_max: usize,
    queue_events_max: usize,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Listener {
    filter: Filter,
    queue: mpsc::Sender<Arc<Event>>,
    /// events that found the queue full and that the listener hasn't been told of yet
    dropped: AtomicU64,
}

/// There are as many listeners as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The live stream has {max} listeners, as many as admin.live_listeners_max allows")]
pub struct TooManyListeners {
    max: usize,
}

/// A listener's end of the stream; dropped, it listens no longer.
#[derive(Debug)]
pub struct Listening {
    live: Arc<Live>,
    listener: Arc<Listener>,
    events: mpsc::Receiver<Arc<Event>>,
}

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum Heard {
    Event(Arc<Event>),
    /// so many events were lost here
    Dropped(u64),
}

impl Live {
    /// `queue_events_max`: events that may wait for each listener.
    pub fn new(listeners_max: usize, queue_events_max: usize) -> Live {
        Live {
            listening: AtomicUsize::new(0),
            wanting_data: AtomicUsize::new(0),
            listeners: ArcSwap::default(),
            listeners_max,
            queue_events_max,
            dropped: AtomicU64::new(0),
        }
    }

    /// Tells an event to those who listen and want it. `event` is made only if somebody listens.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.listening.load(Ordering::Acquire) > 0 {
            self.hand_out(Arc::new(event()));
        }
    }

    /// Whether any listener wants to see data.
    pub fn wants_data(&self) -> bool {
        self.wanting_data.load(Ordering::Relaxed) > 0
    }

    pub fn listeners(&self) -> usize {
        self.listening.load(Ordering::Acquire)
    }

    pub fn listeners_max(&self) -> usize {
        self.listeners_max
    }

    /// Events that were lost because a listener read too slowly, counted for each.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn hand_out(&self, event: Arc<Event>) {
        for listener in &**self.listeners.load() {
            let filter = &listener.filter;
            if !filter.takes(&event)
                || (filter.sample < 1.0 && rand::random::<f64>() >= filter.sample)
            {
                continue;
            }
            if listener.queue.try_send(event.clone()).is_err() {
                listener.dropped.fetch_add(1, Ordering::Relaxed);
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Begins to listen. Who finds the listener counted finds it listed, too, so that it hears whatever happens from then on.
    pub fn listen(self: &Arc<Live>, filter: Filter) -> Result<Listening, TooManyListeners> {
        let (queue, events) = mpsc::channel(self.queue_events_max.max(1));
        let listener = Arc::new(Listener {
            filter,
            queue,
            dropped: AtomicU64::new(0),
        });
        self.list(&listener)?;
        if listener.filter.with_data {
            self.wanting_data.fetch_add(1, Ordering::Relaxed);
        }
        self.listening.fetch_add(1, Ordering::Release);
        Ok(Listening {
            live: self.clone(),
            listener,
            events,
        })
    }

    fn list(&self, listener: &Arc<Listener>) -> Result<(), TooManyListeners> {
        let max = self.listeners_max;
        let before = self.listeners.rcu(|all| {
            let newcomer = (all.len() < max).then_some(listener);
            all.iter().chain(newcomer).cloned().collect::<Vec<_>>()
        });
        match before.len() < max {
            true => Ok(()),
            false => Err(TooManyListeners { max }),
        }
    }
}

impl Listening {
    /// Waits for the next event. What was lost is told before what comes after it.
    pub async fn next(&mut self) -> Heard {
        let dropped = self.listener.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            return Heard::Dropped(dropped);
        }
        match self.events.recv().await {
            Some(event) => Heard::Event(event),
            // This end holds a sender, too: it can't be.
            None => std::future::pending().await,
        }
    }

    pub fn with_data(&self) -> bool {
        self.listener.filter.with_data
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let is_other = |other: &&Arc<Listener>| !Arc::ptr_eq(other, &self.listener);
        self.live
            .listeners
            .rcu(|all| all.iter().filter(is_other).cloned().collect::<Vec<_>>());
        if self.with_data() {
            self.live.wanting_data.fetch_sub(1, Ordering::Relaxed);
        }
        self.live.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{event::tests::event, filter::tests::filter, *};

    #[tokio::test]
    async fn a_slow_listener_is_told_what_it_lost() {
        let live = Arc::new(Live::new(2, 2));
        let mut slow = live.listen(Filter::default()).expect("room");
        for app in ["1", "2", "3", "4"] {
            live.tell(|| event(Kind::Connected, app, ""));
        }
        assert!(matches!(slow.next().await, Heard::Dropped(2)));
        for expected in ["1", "2"] {
            let Heard::Event(event) = slow.next().await else {
                panic!("nothing more was lost");
            };
            assert_eq!(event.app.as_deref(), Some(expected));
        }
        assert_eq!(live.dropped(), 2);
    }

    #[test]
    fn the_number_of_listeners_is_limited() {
        let live = Arc::new(Live::new(1, 2));
        let first = live
            .listen(filter("data=1").expect("filter"))
            .expect("room");
        assert!(live.wants_data());
        assert!(live.listen(Filter::default()).is_err());
        drop(first);
        assert!(!live.wants_data());
        assert_eq!(live.listeners(), 0);
        live.tell(|| panic!("nobody listens"));
        live.listen(Filter::default()).expect("room again");
    }

    #[test]
    fn a_listener_that_is_counted_hears_what_happens_then() {
        let live = Arc::new(Live::new(1, 1));
        for round in 0..1_000 {
            let newcomer = std::thread::spawn({
                let live = live.clone();
                move || live.listen(Filter::default()).expect("room")
            });
            while live.listeners() == 0 {
                std::hint::spin_loop();
            }
            live.tell(|| event(Kind::Connected, "1", ""));
            let mut listening = newcomer.join().expect("no panic");
            assert!(listening.events.try_recv().is_ok(), "round {round}");
        }
    }
}
