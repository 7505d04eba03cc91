//! Fuzzing of what comes before a connection: see [`crate::fuzzing`].

use super::{HEADER_BYTES_MAX, read};

/// The bytes begin a connection. They come in pieces in reality: what is said of them must not depend on where they are cut.
pub fn proxy_header(data: &[u8]) {
    let whole = read(data);
    if let Ok(Some(header)) = whole {
        assert!(header.length > 0 && header.length <= data.len().min(HEADER_BYTES_MAX));
        let alone = read(&data[..header.length]);
        assert_eq!(alone, whole, "what follows a header isn't looked at");
    }
    let is_begun = !matches!(whole, Ok(None));
    assert!(
        is_begun || data.len() <= HEADER_BYTES_MAX,
        "waits for more of {} bytes",
        data.len()
    );
    for cut in 0..data.len().min(300) {
        let before = read(&data[..cut]);
        match (before, whole) {
            // it takes more to tell
            (Ok(None), _) => {}
            // A header that is whole stays what it is.
            (Ok(Some(_)), _) => assert_eq!(before, whole, "cut at {cut}"),
            // What can't become one doesn't, whatever follows.
            (Err(_), _) => assert!(whole.is_err(), "cut at {cut}: {before:?}, then {whole:?}"),
        }
    }
}
