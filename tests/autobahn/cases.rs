//! The table of cases: what a client sends and what a server that echoes messages has to answer.
//! Numbers, payloads and verdicts are those of the Autobahn suite 25.10; where it leaves several verdicts
//! open, the one Resound decided for stands here. Sections 8 and 11 don't exist in it; 12 and 13 are about
//! compression, which Resound doesn't negotiate.

use super::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Reply, TEXT, close_body, frame};

/// One case of the suite.
pub struct Case {
    pub id: String,
    pub description: String,
    /// What the client sends, masked, one entry a frame.
    pub frames: Vec<Vec<u8>>,
    pub pace: Pace,
    /// What the server sends before it closes, in this order.
    pub replies: Vec<Reply>,
    pub end: End,
}

/// How the suite itself puts the bytes on the wire. A server must not depend on it: only the verdict of
/// `Stops` and the order of `AwaitReply` need it.
pub enum Pace {
    /// Everything at once.
    Stream,
    /// Each frame in a write of its own.
    Frames,
    /// In writes of so many bytes.
    Chops(usize),
    /// Up to each of these places in the stream, then a pause.
    Stops(Vec<usize>),
    /// Frame by frame, each after the answer to the one before.
    AwaitReply,
}

/// How the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client's close frame is answered by one with its code (`None`: with an empty body). Whatever the client
    /// sends behind it has no effect. (The suite also accepts 1000 for any valid code.)
    Closed(Option<u16>),
    /// The server closes with this code as soon as it has the first `by` bytes of the stream. Whatever the client
    /// sends behind them has no effect.
    Failed { code: u16, by: usize },
}

/// Receives the cases one at a time: together they'd take some hundred megabytes.
pub type Run<'a> = &'a mut dyn FnMut(Case);

impl Case {
    /// Everything at once.
    pub fn stream(&self) -> Vec<u8> {
        self.frames.concat()
    }

    fn paced(mut self, pace: Pace) -> Case {
        self.pace = pace;
        self
    }
}

/// Frames that are all right; a close with 1000 follows and is answered.
fn clean(id: &str, description: &str, mut frames: Vec<Vec<u8>>, replies: Vec<Reply>) -> Case {
    frames.push(close(1000, b""));
    closing(id, description, frames, replies, Some(1000))
}

/// Frames with a close among them.
fn closing(
    id: &str,
    description: &str,
    frames: Vec<Vec<u8>>,
    replies: Vec<Reply>,
    code: Option<u16>,
) -> Case {
    Case {
        id: id.to_owned(),
        description: description.to_owned(),
        frames,
        pace: Pace::Stream,
        replies,
        end: End::Closed(code),
    }
}

/// Frames of which the one with the index `wrong` fails the connection.
fn failing(
    id: &str,
    description: &str,
    frames: Vec<Vec<u8>>,
    replies: Vec<Reply>,
    wrong: usize,
    code: u16,
) -> Case {
    let by = frames[..=wrong].iter().map(Vec::len).sum();
    Case {
        id: id.to_owned(),
        description: description.to_owned(),
        frames,
        pace: Pace::Stream,
        replies,
        end: End::Failed { code, by },
    }
}

fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_ref())
}

fn binary(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | BINARY, payload.as_ref())
}

fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | PING, payload.as_ref())
}

fn pong(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | PONG, payload.as_ref())
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &close_body(code, reason))
}

/// The first fragment of a message.
fn begin(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(opcode, payload.as_ref())
}

/// A fragment that is neither the first nor the last.
fn more(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CONTINUATION, payload.as_ref())
}

/// The last fragment of a message.
fn last(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | CONTINUATION, payload.as_ref())
}

/// A message in fragments of `size` bytes; the last one may be shorter and isn't empty.
fn fragmented(opcode: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let fragment = |(index, piece): (usize, &[u8])| {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        let fin = if index + 1 == count { FIN } else { 0 };
        frame(fin | opcode, piece)
    };
    payload.chunks(size).enumerate().map(fragment).collect()
}

fn texts(payload: impl AsRef<[u8]>) -> Vec<Reply> {
    vec![reply(TEXT, payload)]
}

fn binaries(payload: impl AsRef<[u8]>) -> Vec<Reply> {
    vec![reply(BINARY, payload)]
}

fn pongs(payload: impl AsRef<[u8]>) -> Vec<Reply> {
    vec![reply(PONG, payload)]
}

fn reply(opcode: u8, payload: impl AsRef<[u8]>) -> Reply {
    Reply {
        opcode,
        payload: payload.as_ref().to_vec(),
    }
}

/// `pattern` over and over, `length` bytes of it.
fn repeated(pattern: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = pattern.repeat(length.div_ceil(pattern.len()));
    bytes.truncate(length);
    bytes
}

const HELLO: &str = "Hello, world!";

/// Bytes that are no UTF-8.
const NOT_TEXT: [u8; 8] = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];

/// 1: messages around the limits of the three forms of length.
pub fn section_1_framing(run: Run<'_>) {
    let lengths = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];
    for (index, length) in lengths.into_iter().enumerate() {
        let number = index + 1;
        let pace = || match number {
            8 => Pace::Chops(997),
            _ => Pace::Stream,
        };
        let payload = vec![b'*'; length];
        let (id, description) = (format!("1.1.{number}"), format!("text, {length} bytes"));
        run(clean(&id, &description, vec![text(&payload)], texts(&payload)).paced(pace()));

        let payload = vec![0xfe; length];
        let (id, description) = (format!("1.2.{number}"), format!("binary, {length} bytes"));
        run(clean(
            &id,
            &description,
            vec![binary(&payload)],
            binaries(&payload),
        )
        .paced(pace()));
    }
}

/// 2: each ping is answered with its own payload, a pong with nothing.
pub fn section_2_pings(run: Run<'_>) {
    let pinged = |id, description, payload: &[u8]| {
        clean(id, description, vec![ping(payload)], pongs(payload))
    };
    run(pinged("2.1", "empty ping", b""));
    run(pinged("2.2", "ping with text", HELLO.as_bytes()));
    run(pinged("2.3", "ping with bytes", &NOT_TEXT));
    run(pinged("2.4", "longest ping", &[0xfe; 125]));
    let frames = vec![ping([0xfe; 126])];
    run(failing(
        "2.5",
        "ping with 126 bytes",
        frames,
        vec![],
        0,
        1002,
    ));
    run(pinged("2.6", "longest ping, byte by byte", &[0xfe; 125]).paced(Pace::Chops(1)));
    let unasked = "unsolicited pong payload";
    run(clean("2.7", "empty pong", vec![pong("")], vec![]));
    run(clean("2.8", "pong", vec![pong(unasked)], vec![]));
    let frames = vec![pong(unasked), ping("ping payload")];
    run(clean(
        "2.9",
        "pong, then ping",
        frames,
        pongs("ping payload"),
    ));
    for (id, pace) in [("2.10", Pace::Stream), ("2.11", Pace::Chops(1))] {
        let payloads = (0..10).map(|number| format!("payload-{number}"));
        let (frames, replies) = payloads
            .map(|payload| (ping(&payload), reply(PONG, &payload)))
            .unzip();
        run(clean(id, "ten pings", frames, replies).paced(pace));
    }
}

/// 3: no extension is negotiated, so no reserved bit may be set.
pub fn section_3_reserved_bits(run: Run<'_>) {
    let reserved = |bits: u8, opcode: u8, payload: &[u8]| frame(FIN | bits << 4 | opcode, payload);
    let second = |id, bits, pace| {
        let wrong = reserved(bits, TEXT, HELLO.as_bytes());
        let frames = vec![text(HELLO), wrong, ping("")];
        let description = format!("text, text with reserved bits {bits}, ping");
        failing(id, &description, frames, texts(HELLO), 1, 1002).paced(pace)
    };
    let only = |id, bits, opcode, payload: &[u8]| {
        let description = format!("opcode {opcode} with reserved bits {bits}");
        let frames = vec![reserved(bits, opcode, payload)];
        failing(id, &description, frames, vec![], 0, 1002)
    };
    run(only("3.1", 1, TEXT, HELLO.as_bytes()));
    run(second("3.2", 2, Pace::Stream));
    run(second("3.3", 3, Pace::Frames));
    run(second("3.4", 4, Pace::Chops(1)));
    run(only("3.5", 5, BINARY, &NOT_TEXT));
    run(only("3.6", 6, PING, HELLO.as_bytes()));
    run(only("3.7", 7, CLOSE, b""));
}

/// 4: opcodes without a meaning.
pub fn section_4_opcodes(run: Run<'_>) {
    for (section, opcodes) in [(1, 0x3..=0x7), (2, 0xb..=0xf)] {
        for (index, opcode) in opcodes.enumerate() {
            let id = format!("4.{section}.{}", index + 1);
            let description = format!("opcode {opcode}");
            let payload = match index {
                0 | 2 => "",
                1 => "reserved opcode payload",
                _ => HELLO,
            };
            let wrong = frame(FIN | opcode, payload.as_bytes());
            if index < 2 {
                run(failing(&id, &description, vec![wrong], vec![], 0, 1002));
                continue;
            }
            let frames = vec![text(HELLO), wrong, ping("")];
            let pace = match index {
                4 => Pace::Chops(1),
                _ => Pace::Stream,
            };
            run(failing(&id, &description, frames, texts(HELLO), 1, 1002).paced(pace));
        }
    }
}

/// 5: what may be cut into fragments, how, and what may come between.
pub fn section_5_fragmentation(run: Run<'_>) {
    let [one, two] = ["fragment1", "fragment2"];
    let both = "fragment1fragment2";
    for (id, opcode) in [("5.1", PING), ("5.2", PONG)] {
        let frames = vec![begin(opcode, one), last(two)];
        run(failing(
            id,
            "control frame in fragments",
            frames,
            vec![],
            0,
            1002,
        ));
    }
    let paces = || [Pace::Stream, Pace::Frames, Pace::Chops(1)];
    for (id, pace) in ["5.3", "5.4", "5.5"].into_iter().zip(paces()) {
        let frames = vec![begin(TEXT, one), last(two)];
        run(clean(id, "two fragments", frames, texts(both)).paced(pace));
    }
    for (id, pace) in ["5.6", "5.7", "5.8"].into_iter().zip(paces()) {
        let frames = vec![begin(TEXT, one), ping("ping payload"), last(two)];
        let replies = vec![reply(PONG, "ping payload"), reply(TEXT, both)];
        run(clean(id, "ping between fragments", frames, replies).paced(pace));
    }
    let lost = "non-continuation payload";
    for (id, pace) in ["5.9", "5.10", "5.11"].into_iter().zip(paces()) {
        let frames = vec![last(lost), text(HELLO)];
        run(failing(id, "last fragment of nothing", frames, vec![], 0, 1002).paced(pace));
    }
    for (id, pace) in ["5.12", "5.13", "5.14"].into_iter().zip(paces()) {
        let frames = vec![more(lost), text(HELLO)];
        run(failing(id, "fragment of nothing", frames, vec![], 0, 1002).paced(pace));
    }
    section_5_order(run);
}

/// 5.15 to 5.20.
fn section_5_order(run: Run<'_>) {
    let [one, two, three, four] = ["fragment1", "fragment2", "fragment3", "fragment4"];
    let frames = vec![begin(TEXT, one), last(two), more(three), text(four)];
    let replies = texts("fragment1fragment2");
    run(failing(
        "5.15",
        "fragment behind the last one",
        frames,
        replies,
        2,
        1002,
    ));
    let frames = [more(one), begin(TEXT, two), last(three)];
    let frames = [frames.clone(), frames].concat();
    run(failing(
        "5.16",
        "fragment before the first one",
        frames,
        vec![],
        0,
        1002,
    ));
    let frames = [last(one), begin(TEXT, two), last(three)];
    let frames = [frames.clone(), frames].concat();
    run(failing(
        "5.17",
        "last fragment before the first one",
        frames,
        vec![],
        0,
        1002,
    ));
    let frames = vec![begin(TEXT, one), text(two)];
    run(failing(
        "5.18",
        "message inside a message",
        frames,
        vec![],
        1,
        1002,
    ));
    for id in ["5.19", "5.20"] {
        let frames = vec![
            begin(TEXT, one),
            more(two),
            ping("pongme 1!"),
            more(three),
            more(four),
            ping("pongme 2!"),
            last("fragment5"),
        ];
        let pause = frames[..3].iter().map(Vec::len).sum();
        let replies = vec![
            reply(PONG, "pongme 1!"),
            reply(PONG, "pongme 2!"),
            reply(TEXT, "fragment1fragment2fragment3fragment4fragment5"),
        ];
        let pace = match id {
            "5.19" => Pace::Stops(vec![pause]),
            _ => Pace::Frames,
        };
        run(clean(id, "five fragments, two pings", frames, replies).paced(pace));
    }
}

/// Greek letters of two and three bytes; 11 bytes.
const GREEK: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

/// 6.1 to 6.4: UTF-8 and fragments.
pub fn section_6_utf8(run: Run<'_>) {
    run(clean("6.1.1", "empty text", vec![text("")], texts("")));
    let frames = vec![begin(TEXT, ""), more(""), last("")];
    run(clean("6.1.2", "three empty fragments", frames, texts("")));
    let middle = "middle frame payload";
    let frames = vec![begin(TEXT, ""), more(middle), last("")];
    run(clean(
        "6.1.3",
        "empty fragments around another",
        frames,
        texts(middle),
    ));

    let umlauts = "Hello-µ@ßöäüàá-UTF-8!!";
    run(clean(
        "6.2.1",
        "umlauts",
        vec![text(umlauts)],
        texts(umlauts),
    ));
    let frames = vec![begin(TEXT, "Hello-µ@ßöä"), last("üàá-UTF-8!!")];
    run(clean(
        "6.2.2",
        "cut between characters",
        frames,
        texts(umlauts),
    ));
    let frames = fragmented(TEXT, umlauts.as_bytes(), 1);
    run(clean("6.2.3", "cut at each byte", frames, texts(umlauts)));
    let frames = fragmented(TEXT, GREEK, 1);
    run(clean(
        "6.2.4",
        "Greek, cut at each byte",
        frames,
        texts(GREEK),
    ));

    let surrogate = [GREEK, b"\xed\xa0\x80edited"].concat();
    let frames = vec![text(&surrogate)];
    run(failing(
        "6.3.1",
        "a surrogate inside",
        frames,
        vec![],
        0,
        1007,
    ));
    let frames = fragmented(TEXT, &surrogate, 1);
    let description = "a surrogate inside, cut at each byte";
    run(failing("6.3.2", description, frames, vec![], 12, 1007));
    section_6_fail_fast(run);
}

/// 6.4: wrong text fails at its first wrong byte, whatever may still come.
fn section_6_fail_fast(run: Run<'_>) {
    /// The first byte that can't be right, after `GREEK` and 0xf4.
    const WRONG: usize = 12;
    let parts: [&[u8]; 3] = [GREEK, b"\xf4\x90\x80\x80", b"edited"];
    let whole = parts.concat();
    let cut = [&whole[..WRONG], &whole[WRONG..=WRONG], &whole[WRONG + 1..]];
    for (id, [start, wrong, rest]) in [("6.4.1", parts), ("6.4.2", cut)] {
        let frames = vec![begin(TEXT, start), more(wrong), last(rest)];
        let stops = vec![frames[0].len(), frames[0].len() + frames[1].len()];
        let case = failing(id, "wrong in the second fragment", frames, vec![], 1, 1007);
        run(case.paced(Pace::Stops(stops)));
    }
    for (id, [start, wrong, _]) in [("6.4.3", parts), ("6.4.4", cut)] {
        let frames = vec![text(&whole)];
        let header = frames[0].len() - whole.len();
        let accepted = header + start.len();
        let refused = accepted + wrong.len();
        let mut case = failing(
            id,
            "wrong in the middle of a frame",
            frames,
            vec![],
            0,
            1007,
        );
        case.end = End::Failed {
            code: 1007,
            by: refused,
        };
        run(case.paced(Pace::Stops(vec![accepted, refused])));
    }
}

/// Sequences of bytes and whether they are UTF-8.
type Sequences = Vec<(bool, Vec<u8>)>;

/// 6.5 to 6.23: UTF-8, right and wrong, in one frame.
pub fn section_6_sequences(run: Run<'_>) {
    for (index, sequences) in utf8_sequences().into_iter().enumerate() {
        for (number, (valid, payload)) in sequences.into_iter().enumerate() {
            let id = format!("6.{}.{}", index + 5, number + 1);
            let description = payload.escape_ascii().to_string();
            let frames = vec![text(&payload)];
            run(if valid {
                clean(&id, &description, frames, texts(&payload))
            } else {
                failing(&id, &description, frames, vec![], 0, 1007)
            });
        }
    }
}

/// Markus Kuhn's stress test for UTF-8 decoders, in the suite's selection and order, from 6.5 on.
fn utf8_sequences() -> Vec<Sequences> {
    let all = |valid: bool, sequences: &[&[u8]]| -> Sequences {
        sequences
            .iter()
            .map(|bytes| (valid, bytes.to_vec()))
            .collect()
    };
    let right = |sequences: &[&[u8]]| all(true, sequences);
    let wrong = |sequences: &[&[u8]]| all(false, sequences);
    // The last byte is missing; these and all of them in one.
    let cut: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    vec![
        // 6.5: some characters of each length
        right(&[
            b"hello\x24world",
            b"hello\xc2\xa2world",
            b"hello\xe2\x82\xacworld",
            b"hello\xf0\xa4\xad\xa2world",
            GREEK,
        ]),
        // 6.6: all beginnings of a text; right where a character ends
        (1..=GREEK.len())
            .map(|end| ([2, 5, 7, 9, 11].contains(&end), GREEK[..end].to_vec()))
            .collect(),
        // 6.7 and 6.8: the first of each length; five and six bytes were UTF-8 once
        right(&[b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
        wrong(&[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        // 6.9 and 6.10: the last of each length
        right(&[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]),
        wrong(&[
            b"\xf7\xbf\xbf\xbf",
            b"\xfb\xbf\xbf\xbf\xbf",
            b"\xfd\xbf\xbf\xbf\xbf\xbf",
        ]),
        // 6.11: around the surrogates, and beyond the last code point
        [
            right(&[
                b"\xed\x9f\xbf",
                b"\xee\x80\x80",
                b"\xef\xbf\xbd",
                b"\xf4\x8f\xbf\xbf",
            ]),
            wrong(&[b"\xf4\x90\x80\x80"]),
        ]
        .concat(),
        // 6.12: continuation bytes of nothing
        [
            wrong(&[
                b"\x80",
                b"\xbf",
                b"\x80\xbf",
                b"\x80\xbf\x80",
                b"\x80\xbf\x80\xbf",
                b"\x80\xbf\x80\xbf\x80",
                b"\x80\xbf\x80\xbf\x80\xbf",
            ]),
            vec![(false, (0x80..0xbf).collect())],
        ]
        .concat(),
        // 6.13: first bytes of characters, each followed by a space
        [0xc0..0xdf, 0xe0..0xef, 0xf0..0xf7, 0xf8..0xfb, 0xfc..0xfd]
            .into_iter()
            .map(|starts| (false, starts.flat_map(|start| [start, b' ']).collect()))
            .collect(),
        // 6.14 and 6.15
        wrong(&cut),
        wrong(&[&cut.concat()]),
        // 6.16: bytes that are never right
        wrong(&[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
        // 6.17 to 6.19: longer forms than needed
        wrong(&[
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xf8\x80\x80\x80\xaf",
            b"\xfc\x80\x80\x80\x80\xaf",
        ]),
        wrong(&[
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ]),
        wrong(&[
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf0\x80\x80\x80",
            b"\xf8\x80\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80\x80",
        ]),
        // 6.20 and 6.21: surrogates, alone and in pairs
        wrong(&[
            b"\xed\xa0\x80",
            b"\xed\xad\xbf",
            b"\xed\xae\x80",
            b"\xed\xaf\xbf",
            b"\xed\xb0\x80",
            b"\xed\xbe\x80",
            b"\xed\xbf\xbf",
        ]),
        wrong(&[
            b"\xed\xa0\x80\xed\xb0\x80",
            b"\xed\xa0\x80\xed\xbf\xbf",
            b"\xed\xad\xbf\xed\xb0\x80",
            b"\xed\xad\xbf\xed\xbf\xbf",
            b"\xed\xae\x80\xed\xb0\x80",
            b"\xed\xae\x80\xed\xbf\xbf",
            b"\xed\xaf\xbf\xed\xb0\x80",
            b"\xed\xaf\xbf\xed\xbf\xbf",
        ]),
        // 6.22: code points that are no characters, but right
        non_characters(),
        // 6.23: specials
        ('\u{fff9}'..='\u{ffff}')
            .map(|special| (true, special.to_string().into_bytes()))
            .collect(),
    ]
}

/// U+FFFE and U+FFFF, and the last two of each fourth part of each four-byte range.
fn non_characters() -> Sequences {
    let planes = (1..=16).flat_map(|plane: u32| [plane << 16 | 0xfffe, plane << 16 | 0xffff]);
    [0xfffe, 0xffff]
        .into_iter()
        .chain(planes)
        .filter_map(char::from_u32)
        .map(|character| (true, character.to_string().into_bytes()))
        .collect()
}

/// 7: close frames, right and wrong, and what comes behind them.
pub fn section_7_close(run: Run<'_>) {
    let hello = "Hello World!";
    run(clean(
        "7.1.1",
        "text, close",
        vec![text(hello)],
        texts(hello),
    ));
    let behind = |id, description, frame| {
        closing(
            id,
            description,
            vec![close(1000, b""), frame],
            vec![],
            Some(1000),
        )
    };
    run(behind("7.1.2", "close, close", frame(FIN | CLOSE, b"")));
    run(behind("7.1.3", "close, ping", ping("")));
    run(behind("7.1.4", "close, text", text(hello)));
    let frames = vec![
        begin(TEXT, "fragment1"),
        close(1000, b""),
        last("fragment2"),
    ];
    run(closing(
        "7.1.5",
        "close between fragments",
        frames,
        vec![],
        Some(1000),
    ));
    // The suite leaves open what comes of the messages; Resound answers in order.
    let long = repeated(b"BAsd7&jh23", 256 << 10);
    let frames = vec![text(&long), text(hello), close(1000, b""), ping("")];
    let replies = vec![reply(TEXT, &long), reply(TEXT, hello)];
    run(closing(
        "7.1.6",
        "256 KiB, text, close, ping",
        frames,
        replies,
        Some(1000),
    ));

    let closed = |id: &str, description: &str, body: &[u8], code| {
        closing(
            id,
            description,
            vec![frame(FIN | CLOSE, body)],
            vec![],
            code,
        )
    };
    let refused = |id: &str, description: &str, body: &[u8], code| {
        failing(
            id,
            description,
            vec![frame(FIN | CLOSE, body)],
            vec![],
            0,
            code,
        )
    };
    let body = |reason: &[u8]| close_body(1000, reason);
    run(closed("7.3.1", "empty", b"", None));
    run(refused("7.3.2", "one byte", b"a", 1002));
    run(closed("7.3.3", "code", &body(b""), Some(1000)));
    run(closed(
        "7.3.4",
        "code and reason",
        &body(hello.as_bytes()),
        Some(1000),
    ));
    run(closed(
        "7.3.5",
        "longest reason",
        &body(&[b'*'; 123]),
        Some(1000),
    ));
    run(refused(
        "7.3.6",
        "reason too long",
        &body(&[b'*'; 124]),
        1002,
    ));
    // The suite takes 1002 or 1007.
    let surrogate = [GREEK, b"\xed\xa0\x80edited"].concat();
    run(refused(
        "7.5.1",
        "a surrogate in the reason",
        &body(&surrogate),
        1007,
    ));

    let valid = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ];
    for (index, code) in valid.into_iter().enumerate() {
        let (id, description) = (format!("7.7.{}", index + 1), format!("code {code}"));
        run(closed(
            &id,
            &description,
            &close_body(code, b""),
            Some(code),
        ));
    }
    let invalid = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
    for (index, code) in invalid.into_iter().enumerate() {
        let (id, description) = (format!("7.9.{}", index + 1), format!("code {code}"));
        run(refused(&id, &description, &close_body(code, b""), 1002));
    }
    // The suite accepts anything; Resound refuses what RFC 6455 gives no meaning.
    run(refused("7.13.1", "code 5000", &close_body(5000, b""), 1002));
    run(refused(
        "7.13.2",
        "code 65535",
        &close_body(65_535, b""),
        1002,
    ));
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const TEXT_PATTERN: &[u8] = b"BAsd7&jh23";
const BINARY_PATTERN: &[u8] = &[0x00, 0xfe, 0x23, 0xfa, 0xf0];

/// 9.1 and 9.2: long messages in one frame.
pub fn section_9_long(run: Run<'_>) {
    let lengths = [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB];
    for (index, length) in lengths.into_iter().enumerate() {
        let number = index + 1;
        let payload = repeated(TEXT_PATTERN, length);
        let (id, description) = (format!("9.1.{number}"), format!("text, {length} bytes"));
        run(clean(
            &id,
            &description,
            vec![text(&payload)],
            texts(&payload),
        ));
        let payload = repeated(BINARY_PATTERN, length);
        let (id, description) = (format!("9.2.{number}"), format!("binary, {length} bytes"));
        run(clean(
            &id,
            &description,
            vec![binary(&payload)],
            binaries(&payload),
        ));
    }
}

/// 9.3 and 9.4: 4 MiB in fragments of 64 bytes to 4 MiB.
pub fn section_9_fragments(run: Run<'_>) {
    for number in 1..=9 {
        let size = 16 << (2 * number);
        let description = format!("4 MiB in fragments of {size}");
        let payload = vec![b'*'; 4 * MIB];
        let frames = fragmented(TEXT, &payload, size);
        run(clean(
            &format!("9.3.{number}"),
            &description,
            frames,
            texts(&payload),
        ));
        let payload = vec![0xfe; 4 * MIB];
        let frames = fragmented(BINARY, &payload, size);
        run(clean(
            &format!("9.4.{number}"),
            &description,
            frames,
            binaries(&payload),
        ));
    }
}

/// 9.5 and 9.6: 1 MiB written in chops of 64 to 2048 bytes.
pub fn section_9_chops(run: Run<'_>) {
    for index in 0..6 {
        let (number, size) = (index + 1, 64 << index);
        let description = format!("1 MiB in chops of {size}");
        let payload = repeated(TEXT_PATTERN, MIB);
        let case = clean(
            &format!("9.5.{number}"),
            &description,
            vec![text(&payload)],
            texts(&payload),
        );
        run(case.paced(Pace::Chops(size)));
        let payload = repeated(BINARY_PATTERN, MIB);
        let frames = vec![binary(&payload)];
        let case = clean(
            &format!("9.6.{number}"),
            &description,
            frames,
            binaries(&payload),
        );
        run(case.paced(Pace::Chops(size)));
    }
}

/// 9.7 and 9.8: a thousand messages, each after the answer to the one before.
pub fn section_9_round_trips(run: Run<'_>) {
    for (index, length) in [0, 16, 64, 256, 1024, 4096].into_iter().enumerate() {
        let number = index + 1;
        let description = format!("1000 messages of {length} bytes");
        let payload = vec![b'*'; length];
        let (frames, replies) = (
            vec![text(&payload); 1000],
            vec![reply(TEXT, &payload); 1000],
        );
        let case = clean(&format!("9.7.{number}"), &description, frames, replies);
        run(case.paced(Pace::AwaitReply));
        let payload = vec![0xfe; length];
        let (frames, replies) = (
            vec![binary(&payload); 1000],
            vec![reply(BINARY, &payload); 1000],
        );
        let case = clean(&format!("9.8.{number}"), &description, frames, replies);
        run(case.paced(Pace::AwaitReply));
    }
}

/// 10: 64 KiB in fragments of 1300 bytes.
pub fn section_10_fragments(run: Run<'_>) {
    let payload = vec![b'*'; 65_536];
    let frames = fragmented(TEXT, &payload, 1300);
    run(clean(
        "10.1.1",
        "64 KiB in fragments of 1300",
        frames,
        texts(&payload),
    ));
}
