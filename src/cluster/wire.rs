//! A message of a topic: one line of head, then the body as it is. `1!SEQUENCE NODE ...`: the version, the kind, the place in the
//! channel's order, the node that it comes from. The scripts write all but the event's own part of the head.
//!
//! Whoever doesn't know a version or a kind skips the message, so that nodes of two versions can work side by side.

use crate::protocol::socket_id::SocketId;

/// The version this node speaks.
const VERSION: u8 = b'1';

/// A message of a channel's topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// the place in the channel's order, the same for everybody
    pub sequence: u64,
    /// the node it comes from; of an event, the process
    pub node: &'a str,
    pub kind: Kind<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    Event {
        /// counts the channel's events
        events: u64,
        /// counts the node's own events, over all channels: one that comes twice is known by it
        number: u64,
        /// the connection that must not get it
        except: Option<SocketId>,
        /// milliseconds for which a cache channel keeps it; 0 = not
        cached_ms: u64,
        /// the text of the frame
        frame: &'a str,
    },
    /// those who are subscribed are to be closed; numbered like an event
    Close { events: u64, number: u64 },
    /// what a member said of itself (`Member`'s JSON)
    MemberAdded(&'a str),
    /// what a member who is there said of itself last; subscribers aren't told
    MemberChanged(&'a str),
    /// a user id
    MemberRemoved(&'a str),
    /// subscriptions in the whole cluster
    Count(u32),
    /// to those who watch a user: whether he is there
    Online(bool),
    /// A node has registered what it has. For so many milliseconds it is in doubt who is there; 0 = it isn't.
    Registered { doubt_ms: u64 },
}

/// Why a message isn't understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is of another version")]
    Version,
    #[error("it is of a kind that this version doesn't know")]
    Kind,
    #[error("it is malformed")]
    Malformed,
}

impl<'a> Message<'a> {
    pub fn parse(text: &'a str) -> Result<Message<'a>, Unreadable> {
        let (version, kind) = match text.as_bytes() {
            [version, kind, ..] if kind.is_ascii() => (*version, *kind),
            _ => return Err(Unreadable::Malformed),
        };
        if version != VERSION {
            return Err(Unreadable::Version);
        }
        let (head, body) = text[2..].split_once('\n').ok_or(Unreadable::Malformed)?;
        let mut head = head.split(' ');
        let sequence = number(head.next())?;
        let events = match kind {
            b'!' | b'x' => number(head.next())?,
            _ => 0,
        };
        let node = head.next().ok_or(Unreadable::Malformed)?;
        let kind = match kind {
            b'!' => Kind::Event {
                events,
                number: number(head.next())?,
                except: except(head.next())?,
                cached_ms: number(head.next())?,
                frame: body,
            },
            b'x' => Kind::Close {
                events,
                number: number(head.next())?,
            },
            b'^' => Kind::Online(body == "1"),
            b'+' => Kind::MemberAdded(body),
            b'=' => Kind::MemberChanged(body),
            b'-' => Kind::MemberRemoved(body),
            b'#' => Kind::Count(body.parse().map_err(|_| Unreadable::Malformed)?),
            b'.' => Kind::Registered {
                doubt_ms: match body {
                    "" => 0,
                    body => number(Some(body))?,
                },
            },
            _ => return Err(Unreadable::Kind),
        };
        Ok(Message {
            sequence,
            node,
            kind,
        })
    }
}

/// What follows sequence and count in the head of an event.
pub fn event_head(node: &str, number: u64, except: Option<SocketId>, cached_ms: u64) -> String {
    match except {
        Some(except) => format!("{node} {number} {except} {cached_ms}"),
        None => format!("{node} {number} - {cached_ms}"),
    }
}

fn number(text: Option<&str>) -> Result<u64, Unreadable> {
    let text = text.ok_or(Unreadable::Malformed)?;
    text.parse().map_err(|_| Unreadable::Malformed)
}

fn except(text: Option<&str>) -> Result<Option<SocketId>, Unreadable> {
    match text {
        Some("-") => Ok(None),
        Some(text) => SocketId::parse(text)
            .map(Some)
            .map_err(|_| Unreadable::Malformed),
        None => Err(Unreadable::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_kind() {
        let check = |text: &str, expected: Result<Message<'_>, Unreadable>| {
            assert_eq!(Message::parse(text), expected, "{text:?}");
        };
        let message = |kind| {
            Ok(Message {
                sequence: 12,
                node: "n1",
                kind,
            })
        };
        let head = event_head("n1", 7, Some(SocketId::new(3, 4)), 60);
        check(
            &format!("1!12 5 {head}\n{{\"a\":\"\\n\"}}\nand more"),
            message(Kind::Event {
                events: 5,
                number: 7,
                except: Some(SocketId::new(3, 4)),
                cached_ms: 60,
                frame: "{\"a\":\"\\n\"}\nand more",
            }),
        );
        check(
            &format!("1!12 0 {}\n", event_head("n1", 0, None, 0)),
            message(Kind::Event {
                events: 0,
                number: 0,
                except: None,
                cached_ms: 0,
                frame: "",
            }),
        );
        check("1+12 n1\n{}", message(Kind::MemberAdded("{}")));
        check("1=12 n1\n{}", message(Kind::MemberChanged("{}")));
        check("1-12 n1\nann", message(Kind::MemberRemoved("ann")));
        check("1#12 n1\n3", message(Kind::Count(3)));
        check(
            "1x12 6 n1 8\n",
            message(Kind::Close {
                events: 6,
                number: 8,
            }),
        );
        check("1^12 n1\n1", message(Kind::Online(true)));
        check("1^12 n1\n0", message(Kind::Online(false)));
        check("1.12 n1\n", message(Kind::Registered { doubt_ms: 0 }));
        check("1.12 n1\n9", message(Kind::Registered { doubt_ms: 9 }));
        check("2+12 n1\n{}", Err(Unreadable::Version));
        check("1?12 n1\n{}", Err(Unreadable::Kind));
        for text in [
            "",
            "1",
            "1!",
            "1!12",
            "1!12 n1",
            "1!x 0 n1 1 -\n",
            "1!12 0 n1\n",
            "1!12 0 n1 1 x 0\n",
            "1!12 0 n1 1 -\n",
            "1x12 0 n1\n",
            "1#12 n1\nmany",
            "1.12 n1\nlong",
            "1é12 n1\n",
            "1+-1 n1\n",
        ] {
            check(text, Err(Unreadable::Malformed));
        }
    }
}
