//! The table against `FrameReader` and `Frame` alone: an echo in memory gets each case's bytes in many different
//! pieces, and must say the same every time, no later than it could know.

use resound::frame::{Frame, FrameReader, Message};

use super::cases::{self, Case, End, Pace, Run};
use super::wire::{CLOSE, Reply, take_reply};

/// As long as the suite's longest message.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Streams up to here are also cut into single bytes; longer ones would take too long.
const BYTEWISE_BYTES_MAX: usize = 160 << 10;

/// Streams up to here are also cut in two at each place.
const CUT_ANYWHERE_BYTES_MAX: usize = 300;

/// A server that sends each message back.
struct Echo {
    reader: FrameReader,
    sent: Vec<u8>,
    closed: bool,
}

impl Echo {
    fn new() -> Echo {
        Echo {
            reader: FrameReader::new(MESSAGE_BYTES_MAX),
            sent: Vec::new(),
            closed: false,
        }
    }

    /// What has arrived by one read.
    fn receive(&mut self, mut input: &mut [u8]) {
        while !self.closed {
            let (taken, reply) = match self.reader.feed(input) {
                Ok((taken, None)) => {
                    assert_eq!(taken, input.len(), "all is taken unless a message is whole");
                    return;
                }
                Ok((taken, Some(message))) => (taken, answer(&message)),
                Err(error) => (0, Some(Frame::close(Some(error.code), error.reason))),
            };
            if let Some(frame) = reply {
                self.closed = frame.as_bytes()[0] & 0x0f == CLOSE;
                self.sent.extend_from_slice(frame.as_bytes());
            }
            input = &mut input[taken..];
        }
    }

    /// What it has sent before its close frame, and the code of that.
    fn replies(&self) -> (Vec<Reply>, Option<u16>) {
        let mut replies = Vec::new();
        let mut rest = &self.sent[..];
        while let Some((reply, taken)) = take_reply(rest) {
            replies.push(reply);
            rest = &rest[taken..];
        }
        assert!(rest.is_empty(), "whole frames only");
        let close = replies.pop().expect("a close frame");
        assert_eq!(close.opcode, CLOSE);
        let code = close.payload.first_chunk().copied().map(u16::from_be_bytes);
        (replies, code)
    }
}

fn answer(message: &Message<'_>) -> Option<Frame> {
    match message {
        Message::Text(text) => Some(Frame::text(text)),
        Message::Binary(bytes) => Some(Frame::binary(bytes)),
        Message::Ping(payload) => Some(Frame::pong(payload)),
        Message::Pong(_) => None,
        Message::Close(body) => Some(Frame::close(body.map(|(code, _)| code), "")),
    }
}

/// Runs one case with its stream cut at `cuts`.
fn check(case: &Case, stream: &[u8], cuts: &[usize], how: &str) {
    let context = || format!("{} ({}), {how}", case.id, case.description);
    let mut echo = Echo::new();
    let mut buffer = Vec::new();
    let mut start = 0;
    // Where the piece began that ended it.
    let mut ended_in = stream.len();
    for &end in cuts.iter().chain([&stream.len()]) {
        buffer.clear();
        buffer.extend_from_slice(&stream[start..end]);
        echo.receive(&mut buffer);
        if echo.closed {
            ended_in = start;
            break;
        }
        start = end;
    }
    assert!(echo.closed, "{}: not closed", context());
    let (replies, code) = echo.replies();
    // Not `assert_eq`, which would print all of up to a thousand replies.
    assert!(
        replies == case.replies,
        "{}: {} replies, {:?}",
        context(),
        replies.len(),
        replies.first()
    );
    match case.end {
        End::Closed(expected) => assert_eq!(code, expected, "{}", context()),
        End::Failed { code: expected, by } => {
            assert_eq!(code, Some(expected), "{}", context());
            assert!(ended_in < by, "{}: failed too late", context());
            if let Pace::Stops(stops) = &case.pace {
                let early = cuts == stops && ended_in < stops[0];
                assert!(!early, "{}: failed too early", context());
            }
        }
    }
}

/// Runs one case in all the ways its stream may be cut.
fn check_cut(case: &Case) {
    let stream = case.stream();
    let length = stream.len();
    check(case, &stream, &[], "whole");
    check(
        case,
        &stream,
        &cuts_as_sent(case, length),
        "as the suite sends it",
    );
    check(
        case,
        &stream,
        &cuts_in_headers(case, length),
        "cut in headers",
    );
    for seed in 0..3 {
        let cuts = random_cuts(seed, length);
        check(case, &stream, &cuts, &format!("random cuts, seed {seed}"));
    }
    if length <= BYTEWISE_BYTES_MAX {
        let cuts: Vec<usize> = (1..length).collect();
        check(case, &stream, &cuts, "byte by byte");
    }
    if length <= CUT_ANYWHERE_BYTES_MAX {
        for cut in 1..length {
            check(case, &stream, &[cut], &format!("cut at {cut}"));
        }
    }
}

fn cuts_as_sent(case: &Case, length: usize) -> Vec<usize> {
    match &case.pace {
        Pace::Stream => Vec::new(),
        Pace::Chops(size) => (0..length).step_by(*size).skip(1).collect(),
        Pace::Stops(stops) => stops.clone(),
        Pace::Frames | Pace::AwaitReply => frame_starts(case).skip(1).collect(),
    }
}

/// Two cuts in each frame's header, at places that change from frame to frame.
fn cuts_in_headers(case: &Case, length: usize) -> Vec<usize> {
    let places = [(1, 2), (2, 4), (3, 5), (1, 6), (4, 9), (2, 13)];
    let starts = frame_starts(case).zip(places.into_iter().cycle());
    let mut cuts: Vec<usize> = starts
        .flat_map(|(start, (first, second))| [start + first, start + second])
        .filter(|&cut| cut < length)
        .collect();
    // A short frame's second cut may lie behind the next one's first.
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

fn frame_starts(case: &Case) -> impl Iterator<Item = usize> {
    case.frames.iter().scan(0, |end, frame| {
        let start = *end;
        *end += frame.len();
        Some(start)
    })
}

/// Pieces of up to 8 bytes, 90 bytes or 64 KiB, by the seed, but not more than some thousands of them.
fn random_cuts(seed: usize, length: usize) -> Vec<usize> {
    let longest = [8, 90, 65_536][seed].max(length / 2000);
    let mut state = seed as u64 + 1;
    let mut cuts = Vec::new();
    let mut end = 0;
    loop {
        // Knuth's MMIX generator; its upper bits are good enough here.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        end += 1 + (state >> 33) as usize % longest;
        if end >= length {
            return cuts;
        }
        cuts.push(end);
    }
}

/// Runs a section, which must have as many cases as the suite's.
fn check_section(section: fn(Run<'_>), cases: usize) {
    let mut count = 0;
    section(&mut |case| {
        check_cut(&case);
        count += 1;
    });
    assert_eq!(count, cases);
}

#[test]
fn section_1_framing() {
    check_section(cases::section_1_framing, 16);
}

#[test]
fn section_2_pings() {
    check_section(cases::section_2_pings, 11);
}

#[test]
fn section_3_reserved_bits() {
    check_section(cases::section_3_reserved_bits, 7);
}

#[test]
fn section_4_opcodes() {
    check_section(cases::section_4_opcodes, 10);
}

#[test]
fn section_5_fragmentation() {
    check_section(cases::section_5_fragmentation, 20);
}

#[test]
fn section_6_utf8() {
    check_section(cases::section_6_utf8, 13);
}

#[test]
fn section_6_sequences() {
    check_section(cases::section_6_sequences, 132);
}

#[test]
fn section_7_close() {
    check_section(cases::section_7_close, 37);
}

#[test]
fn section_9_long() {
    check_section(cases::section_9_long, 12);
}

#[test]
fn section_9_fragments() {
    check_section(cases::section_9_fragments, 18);
}

#[test]
fn section_9_chops() {
    check_section(cases::section_9_chops, 12);
}

#[test]
fn section_9_round_trips() {
    check_section(cases::section_9_round_trips, 12);
}

#[test]
fn section_10_fragments() {
    check_section(cases::section_10_fragments, 1);
}
