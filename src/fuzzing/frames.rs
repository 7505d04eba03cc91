//! The frame reader: what it says of a stream doesn't depend on the pieces in which the stream comes.

use crate::frame::{Frame, FrameError, FrameReader, Message};

/// Messages may have as many bytes as the first byte of the input says, times this.
const LIMIT_UNIT: usize = 16;

/// What a reader made of a stream: its messages, each as the frame that the server would send, and how it ended.
#[derive(Debug, PartialEq)]
struct Heard {
    messages: Vec<Frame>,
    error: Option<FrameError>,
}

/// The first byte sets the limit of messages, the second where the stream is cut, the rest is the stream.
pub fn frames(data: &[u8]) {
    let [limit, cuts, stream @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit) * LIMIT_UNIT;
    let whole = heard(stream, limit, |rest| rest);
    assert_eq!(heard(stream, limit, |_| 1), whole, "byte by byte");
    let mut size = usize::from(*cuts);
    let pieces = heard(stream, limit, |_| {
        size = (size * 5 + 3) % 61;
        size + 1
    });
    assert_eq!(pieces, whole, "in pieces");
}

/// Reads `stream`; `piece` says how many bytes come next, of so many that are left.
fn heard(stream: &[u8], limit: usize, mut piece: impl FnMut(usize) -> usize) -> Heard {
    let mut stream = stream.to_vec();
    let mut reader = FrameReader::new(limit);
    let mut messages = Vec::new();
    let mut rest = &mut stream[..];
    let error = loop {
        let size = piece(rest.len()).min(rest.len());
        let (mut now, later) = rest.split_at_mut(size);
        let ended = loop {
            let before = now.len();
            match reader.feed(now) {
                Err(error) => break Some(Some(error)),
                Ok((taken, None)) => {
                    assert_eq!(taken, before, "all is taken when there is no message");
                    break None;
                }
                Ok((taken, Some(message))) => {
                    let is_close = matches!(message, Message::Close(_));
                    messages.push(said_back(&message, limit));
                    if is_close {
                        break Some(None);
                    }
                    now = &mut now[taken..];
                }
            }
        };
        match ended {
            Some(error) => break error,
            None if later.is_empty() => break None,
            None => rest = later,
        }
    };
    if let Some(error) = error {
        assert!(matches!(error.code, 1002 | 1007 | 1009), "{error:?}");
    }
    Heard { messages, error }
}

/// The message as the server would send it, after a look at its limits.
fn said_back(message: &Message<'_>, limit: usize) -> Frame {
    let (frame, payload_bytes, bytes_max) = match message {
        Message::Text(text) => (Frame::text(text), text.len(), limit),
        Message::Binary(bytes) => (Frame::binary(bytes), bytes.len(), limit),
        Message::Ping(bytes) => (Frame::ping(bytes), bytes.len(), 125),
        Message::Pong(bytes) => (Frame::pong(bytes), bytes.len(), 125),
        Message::Close(None) => (Frame::close(None, ""), 0, 125),
        Message::Close(Some((code, reason))) => {
            (Frame::close(Some(*code), reason), 2 + reason.len(), 125)
        }
    };
    assert!(
        payload_bytes <= bytes_max,
        "{payload_bytes} bytes are over the limit"
    );
    assert_eq!(frame.payload().len(), payload_bytes, "nothing is cut");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::write_masked;
    use proptest::{collection::vec, prelude::*};

    /// A message as its frames: opcode, fragments, masking key; and a ping between the fragments.
    #[derive(Clone, Debug)]
    struct Sent {
        text: Option<String>,
        bytes: Vec<u8>,
        cuts: Vec<usize>,
        key: [u8; 4],
        ping: Option<Vec<u8>>,
    }

    fn sent() -> impl Strategy<Value = Sent> {
        let text = proptest::option::of(vec(any::<char>(), 0..60));
        let bytes =
            prop_oneof![4 => vec(any::<u8>(), 0..300), 1 => vec(any::<u8>(), 65_530..65_540)];
        let ping = proptest::option::of(vec(any::<u8>(), 0..126));
        let parts = (
            text,
            bytes,
            vec(any::<usize>(), 0..4),
            any::<[u8; 4]>(),
            ping,
        );
        parts.prop_map(|(text, bytes, cuts, key, ping)| {
            let text = text.map(String::from_iter);
            let bytes = text.clone().map_or(bytes, String::into_bytes);
            Sent {
                text,
                bytes,
                cuts,
                key,
                ping,
            }
        })
    }

    impl Sent {
        /// Writes the frames, and what the reader must make of them.
        fn write(&self, stream: &mut Vec<u8>, expected: &mut Vec<Frame>) {
            let mut cuts: Vec<usize> = self
                .cuts
                .iter()
                .map(|cut| cut % (self.bytes.len() + 1))
                .collect();
            cuts.sort_unstable();
            let mut opcode = if self.text.is_some() { 1 } else { 2 };
            let mut from = 0;
            for cut in cuts {
                write_masked(stream, opcode, &self.bytes[from..cut], self.key);
                (opcode, from) = (0, cut);
                if let Some(ping) = &self.ping {
                    write_masked(stream, 0x89, ping, self.key);
                    expected.push(Frame::ping(ping));
                }
            }
            write_masked(stream, 0x80 | opcode, &self.bytes[from..], self.key);
            expected.push(match &self.text {
                Some(text) => Frame::text(text),
                None => Frame::binary(&self.bytes),
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn messages_arrive_as_sent_in_any_fragments_and_pieces(
            messages in vec(sent(), 0..5),
            pieces in vec(1..5000_usize, 1..20),
        ) {
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for message in &messages {
                message.write(&mut stream, &mut expected);
            }
            let mut next = pieces.iter().cycle();
            let heard = heard(&stream, 70_000, |_| *next.next().unwrap_or(&1));
            prop_assert_eq!(heard, Heard { messages: expected, error: None });
        }
    }
}
