//! Frames as clients write them, for those who are one: the load generator, benches and tests.

/// Appends a client's frame to `out`. `first_byte`: opcode and flags; the length takes its shortest form. A key of zeros is one, and
/// changes nothing.
pub fn write_masked(out: &mut Vec<u8>, first_byte: u8, payload: &[u8], key: [u8; 4]) {
    out.push(first_byte);
    match payload.len() {
        short @ ..126 => out.push(0x80 | short as u8),
        medium @ ..65_536 => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(key);
    // not with the reader's code, which is tested with this
    out.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}
