//! What Redis tells without being asked, on its way to the driver: bounded in messages and in bytes, so that a node that is
//! slow can't grow.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use redis::Value;
use tokio::sync::mpsc::{self, error::TrySendError};

/// Messages that may wait for the driver.
const MESSAGES_MAX: usize = 65_536;

/// Bytes of messages that may wait for the driver, unless the settings say otherwise.
pub const INBOUND_BYTES_MAX: usize = 64 << 20;

/// What a message takes beside its topic and its text, about.
const OVERHEAD_BYTES: usize = 128;

/// What a connection tells without being asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Push {
    Message {
        topic: String,
        text: Text,
    },
    /// the connection, or one to a node of the cluster, is gone, or a slot with topics of ours has moved: messages may have
    /// been missed. The last thing that a connection tells.
    Lost,
}

/// The text of a message, which counts as waiting until it is dropped.
pub struct Text {
    text: String,
    bytes: usize,
    budget: Arc<Budget>,
}

/// What all connections of a driver, one after the other, may have waiting.
#[derive(Clone, Debug)]
pub struct Inbound(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    bytes: AtomicUsize,
    bytes_max: usize,
    left_out: AtomicU64,
}

/// The end at which a connection puts in what it is told.
#[derive(Clone, Debug)]
pub struct Pushes {
    /// `None` once the connection is lost: the driver hears nothing more of it
    sender: Arc<Mutex<Option<mpsc::Sender<Push>>>>,
    budget: Arc<Budget>,
}

impl Inbound {
    pub fn new(bytes_max: usize) -> Inbound {
        Inbound(Arc::new(Budget {
            bytes: AtomicUsize::new(0),
            bytes_max,
            left_out: AtomicU64::new(0),
        }))
    }

    /// The two ends of what one connection tells.
    pub fn queue(&self) -> (Pushes, mpsc::Receiver<Push>) {
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        (Pushes::new(sender, self), receiver)
    }

    /// Messages that were left out since the start because too many waited. Whoever reads the topic finds a number missing,
    /// but only when the next message of the same topic comes.
    pub fn left_out(&self) -> u64 {
        self.0.left_out.load(Relaxed)
    }

    /// Bytes that wait now.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound::new(INBOUND_BYTES_MAX)
    }
}

impl From<mpsc::Sender<Push>> for Pushes {
    fn from(sender: mpsc::Sender<Push>) -> Pushes {
        Pushes::new(sender, &Inbound::default())
    }
}

impl Pushes {
    fn new(sender: mpsc::Sender<Push>, inbound: &Inbound) -> Pushes {
        Pushes {
            sender: Arc::new(Mutex::new(Some(sender))),
            budget: inbound.0.clone(),
        }
    }

    /// A message as Redis wrote it: topic and text. Takes the bytes over; called by the connection's own task, which must
    /// not wait.
    pub(super) fn message(&self, data: Vec<Value>) {
        let Ok([Value::BulkString(topic), Value::BulkString(text)]) = <[Value; 2]>::try_from(data)
        else {
            return;
        };
        // Whoever writes what isn't UTF-8 isn't one of us.
        let (Ok(topic), Ok(text)) = (String::from_utf8(topic), String::from_utf8(text)) else {
            return;
        };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = &*sender else {
            return;
        };
        let bytes = topic.len() + text.len() + OVERHEAD_BYTES;
        let waiting = self.budget.bytes.fetch_add(bytes, Relaxed);
        let text = Text {
            text,
            bytes,
            budget: self.budget.clone(),
        };
        // A single message is taken however long it is.
        let has_room = waiting == 0 || waiting.saturating_add(bytes) <= self.budget.bytes_max;
        let is_left_out = !has_room
            || match sender.try_send(Push::Message { topic, text }) {
                Ok(()) => false,
                Err(TrySendError::Full(_)) => true,
                // Given up by the driver, while a call that hasn't ended keeps the connection: what it still tells is missing to nobody.
                Err(TrySendError::Closed(_)) => false,
            };
        if is_left_out {
            self.budget.left_out.fetch_add(1, Relaxed);
        }
    }

    /// The last that is heard of this connection. Even if the queue is full: its end is told by its sender's being gone.
    pub(super) fn lose(&self) {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.take() {
            let _ = sender.try_send(Push::Lost);
        }
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(topic: &str, text: &[u8]) -> Vec<Value> {
        vec![
            Value::BulkString(topic.into()),
            Value::BulkString(text.into()),
        ]
    }

    fn next(receiver: &mut mpsc::Receiver<Push>) -> Option<String> {
        match receiver.try_recv().ok()? {
            Push::Message { topic, text } => Some(format!("{topic}: {text}")),
            Push::Lost => Some("lost".to_owned()),
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let inbound = Inbound::new(400);
        let (pushes, mut receiver) = inbound.queue();
        pushes.message(data("a", &[b'x'; 1_000]));
        assert_eq!(inbound.bytes(), 1_129, "one is taken, however long");
        pushes.message(data("a", b"left out"));
        assert_eq!(inbound.left_out(), 1);
        assert_eq!(next(&mut receiver).map(|text| text.len()), Some(1_003));
        assert_eq!(inbound.bytes(), 0);
        for text in ["1", "2", "3", "4"] {
            pushes.message(data("a", text.as_bytes()));
        }
        assert_eq!(inbound.left_out(), 2);
        let found: Vec<String> = std::iter::from_fn(|| next(&mut receiver)).collect();
        assert_eq!(found, ["a: 1", "a: 2", "a: 3"]);
        assert_eq!(inbound.bytes(), 0);
    }

    #[test]
    fn a_loss_is_told_even_when_the_queue_is_full() {
        let (sender, mut receiver) = mpsc::channel(2);
        let pushes = Pushes::from(sender);
        for text in ["1", "2", "3"] {
            pushes.message(data("a", text.as_bytes()));
        }
        pushes.lose();
        pushes.message(data("a", b"of a lost connection"));
        assert_eq!(next(&mut receiver).as_deref(), Some("a: 1"));
        assert_eq!(next(&mut receiver).as_deref(), Some("a: 2"));
        let end = receiver.try_recv();
        assert_eq!(end, Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn what_a_connection_tells_that_was_given_up_is_not_missed() {
        let inbound = Inbound::new(400);
        let (pushes, receiver) = inbound.queue();
        drop(receiver);
        for _ in 0..10 {
            pushes.message(data("a", b"to nobody"));
        }
        assert_eq!((inbound.bytes(), inbound.left_out()), (0, 0));
    }

    #[test]
    fn what_isnt_ours_is_skipped() {
        let inbound = Inbound::default();
        let (pushes, mut receiver) = inbound.queue();
        pushes.message(data("a", b"\xff"));
        pushes.message(vec![Value::BulkString(b"a".to_vec())]);
        pushes.message(vec![Value::Int(1), Value::Int(2)]);
        assert_eq!(next(&mut receiver), None);
        assert_eq!((inbound.bytes(), inbound.left_out()), (0, 0));
    }
}
