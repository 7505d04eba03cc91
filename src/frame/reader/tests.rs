use super::{super::CONTROL_BYTES_MAX, head::MASKED, *};

const LIMIT: usize = 1000;
const MASKED_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a test keeps of a `Message`.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Message<'_>> for Said {
    fn from(message: Message<'_>) -> Said {
        match message {
            Message::Text(text) => Said::Text(text.to_owned()),
            Message::Binary(bytes) => Said::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Said::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Said::Pong(bytes.to_vec()),
            Message::Close(body) => {
                Said::Close(body.map(|(code, reason)| (code, reason.to_owned())))
            }
        }
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// A client's frame; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len());
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    unmask(&mut bytes[start..], MASKED_KEY, 0);
    bytes
}

fn header(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(MASKED | length as u8),
        126..=0xffff => {
            bytes.push(MASKED | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(MASKED | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASKED_KEY);
    bytes
}

/// Feeds one piece as a caller does, until nothing more comes of it.
fn feed_all(
    reader: &mut FrameReader,
    piece: &[u8],
    said: &mut Vec<Said>,
) -> Result<(), FrameError> {
    let mut input = piece.to_vec();
    let mut start = 0;
    loop {
        let (taken, message) = reader.feed(&mut input[start..])?;
        start += taken;
        match message {
            Some(message) => said.push(message.into()),
            None => {
                assert_eq!(start, piece.len());
                return Ok(());
            }
        }
    }
}

fn owns_nothing(reader: &FrameReader) -> bool {
    reader.unfinished.is_none() && reader.delivered.capacity() == 0
}

/// The stream must give these messages and then this error, whole and byte by byte.
fn check(stream: &[u8], expected: &[Said], error: Option<FrameError>) {
    for piece_bytes in [stream.len().max(1), 1, 3] {
        let mut reader = FrameReader::new(LIMIT);
        let mut said = Vec::new();
        let result = stream
            .chunks(piece_bytes)
            .try_for_each(|piece| feed_all(&mut reader, piece, &mut said));
        assert_eq!(said, expected, "pieces of {piece_bytes}");
        assert_eq!(result.err(), error, "pieces of {piece_bytes}");
        assert!(reader.unfinished.is_none(), "pieces of {piece_bytes}");
        // A wrong close frame may stay where it was put together.
        let left = if error.is_some() {
            CONTROL_BYTES_MAX
        } else {
            0
        };
        assert!(reader.delivered.len() <= left, "pieces of {piece_bytes}");
    }
}

fn check_1002(stream: &[u8], reason: &'static str) {
    check(stream, &[], Some(FrameError { code: 1002, reason }));
}

#[test]
fn whole_messages() {
    check(&[], &[], None);
    check(&frame(0x81, b""), &[Said::Text(String::new())], None);
    check(
        &frame(0x81, "Hällo".as_bytes()),
        &[Said::Text("Hällo".into())],
        None,
    );
    for length in [1, 7, 8, 9, 125, 126, 127, 1000] {
        check(
            &frame(0x82, &vec![9; length]),
            &[Said::Binary(vec![9; length])],
            None,
        );
    }
    check(
        &frame(0x89, b"are you"),
        &[Said::Ping(b"are you".into())],
        None,
    );
    check(&frame(0x8a, b""), &[Said::Pong(vec![])], None);
}

#[test]
fn c6_fragments_are_joined_and_control_frames_come_between() {
    let stream = [
        frame(0x01, "Z\u{17e}".as_bytes()),
        frame(0x89, b"1"),
        frame(0x00, b""),
        frame(0x8a, b""),
        frame(0x80, b"ofie"),
        frame(0x02, b""),
        frame(0x80, b""),
        frame(0x81, b"next"),
    ]
    .concat();
    let expected = [
        Said::Ping(b"1".into()),
        Said::Pong(vec![]),
        Said::Text("Z\u{17e}ofie".into()),
        Said::Binary(vec![]),
        Said::Text("next".into()),
    ];
    check(&stream, &expected, None);
}

#[test]
fn longer_length_forms_than_needed_are_taken() {
    let key = MASKED_KEY;
    let short = [&[0x81, 0xfe, 0, 2], &key[..], &[0x37 ^ b'h', 0xfa ^ b'i']].concat();
    check(&short, &[Said::Text("hi".into())], None);
    let long = [&[0x89, 0xff][..], &[0; 8], &key].concat();
    check_1002(&long, "Control frame too long");
    let long = [&[0x82, 0xff][..], &[0; 8], &key].concat();
    check(&long, &[Said::Binary(vec![])], None);
}

#[test]
fn c24_violations_are_1002_from_the_first_byte_that_shows_them() {
    check_1002(&[0xc1], "Reserved bits set");
    check_1002(&[0xa1], "Reserved bits set");
    check_1002(&[0x99], "Reserved bits set");
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        check_1002(&[0x80 | opcode], "Reserved opcode");
        check_1002(&[opcode], "Reserved opcode");
    }
    check_1002(&[0x80], "Nothing to continue");
    check_1002(&[0x00], "Nothing to continue");
    check_1002(&[0x09], "Fragmented control frame");
    check_1002(&[0x08], "Fragmented control frame");
    check_1002(&[0x81, 0x05], "Unmasked frame");
    check_1002(&[0x81, 0x00], "Unmasked frame");
    check_1002(&[0x89, 0xfe], "Control frame too long");
    check_1002(&[0x88, 0xff], "Control frame too long");
    let top_bit = [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
    check_1002(&top_bit, "Invalid frame length");
    for first in [0x81, 0x02] {
        let stream = [frame(0x01, b"begun"), vec![first]].concat();
        check_1002(&stream, "Message begun inside another");
    }
}

#[test]
fn close_bodies_are_checked() {
    let close = |code: u16, reason: &[u8]| frame(0x88, &[&code.to_be_bytes(), reason].concat());
    check(&frame(0x88, b""), &[Said::Close(None)], None);
    check_1002(&frame(0x88, &[3]), "Close frame without a whole code");
    for code in 0..=u16::MAX {
        let valid = [1000..=1003, 1007..=1014, 3000..=4999];
        let mut input = close(code, "tschüß".as_bytes());
        let mut reader = FrameReader::new(LIMIT);
        let result = reader.feed(&mut input).map(|(_, message)| message);
        if valid.iter().any(|codes| codes.contains(&code)) {
            assert_eq!(result, Ok(Some(Message::Close(Some((code, "tschüß"))))));
        } else {
            assert_eq!(result, Err(FrameError::protocol("Invalid close code")));
        }
    }
    check(&close(1000, b"\xc3"), &[], Some(FrameError::NOT_UTF8));
    check(
        &close(4000, &[b'x'; 123]),
        &[Said::Close(Some((4000, "x".repeat(123))))],
        None,
    );
}

#[test]
fn c24_wrong_utf8_is_1007() {
    let wrong: [&[u8]; 8] = [
        b"\xff",
        b"ok\x80",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"cut\xe2\x82",
        b"cut\xf0\x9f\x9a",
        b"\xc3(",
    ];
    for text in wrong {
        check(&frame(0x81, text), &[], Some(FrameError::NOT_UTF8));
        let fragments = text.iter().map(|&byte| frame(0x00, &[byte]));
        let stream = [
            frame(0x01, b""),
            fragments.collect::<Vec<_>>().concat(),
            frame(0x80, b""),
        ]
        .concat();
        check(&stream, &[], Some(FrameError::NOT_UTF8));
        check(&frame(0x82, text), &[Said::Binary(text.into())], None);
    }
}

#[test]
fn c24_wrong_utf8_fails_before_its_frame_is_whole() {
    let stream = frame(0x81, b"good \xf4\x90 and a long tail");
    let seen_at = 6 + 5 + 2;
    let mut reader = FrameReader::new(LIMIT);
    let mut said = Vec::new();
    assert_eq!(
        feed_all(&mut reader, &stream[..seen_at - 1], &mut said),
        Ok(())
    );
    assert_eq!(
        feed_all(&mut reader, &stream[seen_at - 1..seen_at], &mut said),
        Err(FrameError::NOT_UTF8)
    );
}

#[test]
fn c24_too_big_is_1009_from_the_header_alone() {
    let too_big = Some(FrameError::MESSAGE_TOO_BIG);
    check(
        &frame(0x82, &[1; LIMIT]),
        &[Said::Binary(vec![1; LIMIT])],
        None,
    );
    // Without the key, let alone payload.
    check(&header(0x81, LIMIT + 1)[..4], &[], too_big);
    check(&header(0x01, 70_000)[..10], &[], too_big);
    check(&header(0x82, (1 << 63) - 1)[..10], &[], too_big);
    // All fragments together.
    let stream = [
        frame(0x02, &[1; 600]),
        frame(0x00, &[1; 400]),
        frame(0x89, &[1; 125]),
    ]
    .concat();
    let ping = Said::Ping(vec![1; 125]);
    let over = [&stream[..], &header(0x80, 1)[..2]].concat();
    check(&over, std::slice::from_ref(&ping), too_big);
    let full = [&stream[..], &frame(0x80, b"")].concat();
    check(&full, &[ping, Said::Binary(vec![1; 1000])], None);
}

#[test]
fn control_frames_are_never_too_big() {
    let mut reader = FrameReader::new(0);
    let mut said = Vec::new();
    let stream = [frame(0x89, &[5; 125]), frame(0x81, b"")].concat();
    assert_eq!(feed_all(&mut reader, &stream, &mut said), Ok(()));
    assert_eq!(said, [Said::Ping(vec![5; 125]), Said::Text(String::new())]);
    assert_eq!(
        feed_all(&mut reader, &frame(0x81, b"x"), &mut said),
        Err(FrameError::MESSAGE_TOO_BIG)
    );
}

#[test]
fn whole_frames_are_not_copied() {
    let mut input = [frame(0x81, b"one"), frame(0x82, b"two")].concat();
    let place = input.as_ptr_range();
    let mut reader = FrameReader::new(LIMIT);
    let (taken, one) = reader.feed(&mut input).unwrap();
    assert!(matches!(one, Some(Message::Text(text)) if place.contains(&text.as_ptr())));
    let (_, two) = reader.feed(&mut input[taken..]).unwrap();
    assert!(matches!(two, Some(Message::Binary(bytes)) if place.contains(&bytes.as_ptr())));
    assert!(owns_nothing(&reader));
    // Nor are those whose header came before.
    let stream = frame(0x81, b"three");
    let (mut head, mut payload) = (stream[..6].to_vec(), stream[6..].to_vec());
    assert_eq!(reader.feed(&mut head), Ok((6, None)));
    let place = payload.as_ptr_range();
    let (_, three) = reader.feed(&mut payload).unwrap();
    assert!(matches!(three, Some(Message::Text(text)) if place.contains(&text.as_ptr())));
    assert!(owns_nothing(&reader));
}

#[test]
fn idle_readers_are_small() {
    assert!(size_of::<FrameReader>() <= 48);
}

#[test]
fn memory_grows_with_what_arrives_and_not_with_what_is_declared() {
    let limit = 16 << 20;
    for first in [0x82, 0x02] {
        let mut reader = FrameReader::new(limit);
        reader.feed(&mut header(first, limit)).unwrap();
        assert_eq!(reader.gathered_bytes(), 0);
        let mut arrived = 0;
        for piece_bytes in [1, 2, 100, 5000, 1, 200_000, 1] {
            reader.feed(&mut vec![0; piece_bytes]).unwrap();
            arrived += piece_bytes;
            assert!(reader.gathered_bytes() <= 2 * arrived);
        }
    }
}

#[test]
fn many_fragments_cost_no_more_than_their_bytes() {
    let limit = 1 << 20;
    let mut reader = FrameReader::new(limit);
    let mut said = Vec::new();
    feed_all(&mut reader, &frame(0x01, b"x"), &mut said).unwrap();
    let empty = frame(0x00, b"").repeat(100_000);
    feed_all(&mut reader, &empty, &mut said).unwrap();
    assert!(reader.gathered_bytes() <= 2);
    let mut grown = 0;
    let mut before = reader.gathered_bytes();
    let one = frame(0x00, b"y");
    for _ in 0..100_000 {
        feed_all(&mut reader, &one, &mut said).unwrap();
        grown += usize::from(reader.gathered_bytes() != before);
        before = reader.gathered_bytes();
    }
    assert!(grown <= 17, "moved {grown} times");
    feed_all(&mut reader, &frame(0x80, b""), &mut said).unwrap();
    assert_eq!(said, [Said::Text(format!("x{}", "y".repeat(100_000)))]);
    assert!(owns_nothing(&reader));
}

#[test]
fn unmasking_goes_on_where_it_stopped() {
    let plain = Random(1).bytes(40);
    for cut in 0..plain.len() {
        let mut masked: Vec<u8> = plain
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ MASKED_KEY[i % 4])
            .collect();
        unmask(&mut masked[..cut], MASKED_KEY, 0);
        unmask(&mut masked[cut..], MASKED_KEY, cut);
        assert_eq!(masked, plain, "cut at {cut}");
    }
}

#[test]
fn random_messages_survive_random_fragments_and_pieces() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut reader = FrameReader::new(LIMIT);
        let (mut stream, mut expected, mut said) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..8 {
            random_message(&mut random, &mut stream, &mut expected);
        }
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let end = (1 + random.below(200)).min(rest.len());
            feed_all(&mut reader, &rest[..end], &mut said).unwrap();
            rest = &rest[end..];
        }
        assert_eq!(said, expected, "seed {seed}");
        assert!(owns_nothing(&reader), "seed {seed}");
    }
}

/// Adds a message in up to eight fragments, with pings between them.
fn random_message(random: &mut Random, stream: &mut Vec<u8>, expected: &mut Vec<Said>) {
    let text: String = (0..random.below(150))
        .map(|_| ['a', 'ß', '€', '🚀'][random.below(4)])
        .collect();
    let is_text = random.below(2) == 0;
    let mut rest = text.as_bytes();
    let mut opcode = if is_text { 0x01 } else { 0x02 };
    for _ in 0..random.below(8) {
        let end = random.below(rest.len() + 1);
        stream.extend(frame(opcode, &rest[..end]));
        rest = &rest[end..];
        opcode = 0x00;
        if random.below(3) == 0 {
            let length = random.below(126);
            let payload = random.bytes(length);
            stream.extend(frame(0x89, &payload));
            expected.push(Said::Ping(payload));
        }
    }
    stream.extend(frame(0x80 | opcode, rest));
    expected.push(if is_text {
        Said::Text(text)
    } else {
        Said::Binary(text.into_bytes())
    });
}

#[test]
fn random_bytes_never_panic() {
    for seed in 0..3000 {
        let mut random = Random(seed);
        let mut reader = FrameReader::new(LIMIT);
        for _ in 0..20 {
            let length = random.below(300);
            let mut bytes = random.bytes(length);
            // Half of the inputs begin with a header that passes, so that more than headers is reached.
            if let ([first, second, ..], 0) = (&mut bytes[..], random.below(2)) {
                *first = [0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x88][random.below(7)];
                *second |= MASKED;
            }
            // Going on after errors too: wrong, but it mustn't panic.
            let _ = feed_all(&mut reader, &bytes, &mut Vec::new());
            assert!(reader.gathered_bytes() <= 2 * LIMIT);
        }
    }
}
