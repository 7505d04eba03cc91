//! Finds the end of an HTTP answer and what it says. Knows as much of HTTP/1.1 as servers of the API use.

/// An answer that is there as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    pub status: u16,
    /// as it came, chunks and all
    pub body: &'a [u8],
    /// of all of it
    pub bytes: usize,
    /// no further request goes over this connection
    pub closes: bool,
}

/// It isn't HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer isn't HTTP")]
pub struct NotHttp;

impl Answer<'_> {
    /// The answer with which `bytes` begin; `None` while it isn't complete. `is_ended`: no more will come.
    pub fn read(bytes: &[u8], is_ended: bool) -> Result<Option<Answer<'_>>, NotHttp> {
        let start = b"HTTP/1.";
        let given = bytes.len().min(start.len());
        if bytes[..given] != start[..given] {
            return Err(NotHttp);
        }
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(None);
        };
        let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
        let head = std::str::from_utf8(head).map_err(|_| NotHttp)?;
        let status = head.get(9..12).and_then(|code| code.parse().ok());
        let status: u16 = status.ok_or(NotHttp)?;
        let header = |name: &str| {
            let lines = head.split("\r\n").skip(1);
            let mut values = lines.filter_map(|line| line.split_once(':'));
            values.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
        };
        let is_chunked = header("transfer-encoding").is_some();
        let body_bytes = match header("content-length") {
            _ if is_chunked => memchr::memmem::find(rest, b"0\r\n\r\n").map(|at| at + 5),
            Some(length) => Some(length.parse().map_err(|_| NotHttp)?),
            None if status == 204 || status == 304 => Some(0),
            None => is_ended.then_some(rest.len()),
        };
        let has_length = is_chunked || header("content-length").is_some() || status == 204;
        let asks_close =
            header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let body = body_bytes.and_then(|length: usize| rest.get(..length));
        Ok(body.map(|body| Answer {
            status,
            body,
            bytes: end + 4 + body.len(),
            closes: asks_close || is_ended || !has_length || head.starts_with("HTTP/1.0"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_ended: bool) -> Option<(u16, &str, usize, bool)> {
        let answer = Answer::read(text.as_bytes(), is_ended).expect("HTTP")?;
        let body = std::str::from_utf8(answer.body).expect("text");
        Some((
            answer.status,
            body,
            text.len() - answer.bytes,
            answer.closes,
        ))
    }

    #[test]
    fn answers_end_where_they_say() {
        let check = |text: &str, expected| assert_eq!(read(text, false), expected, "{text}");
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        check(ok, Some((200, "{}", 0, false)));
        check(&format!("{ok}HTTP"), Some((200, "{}", 4, false)));
        for end in 0..ok.len() {
            check(&ok[..end], None);
        }
        check(
            "HTTP/1.1 401 Unauthorized\r\ncontent-length:3\r\nconnection: Close\r\n\r\nno!",
            Some((401, "no!", 0, true)),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            Some((200, "2\r\n{}\r\n0\r\n\r\n", 0, false)),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
            None,
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, "", 0, false)));
        check("HTTP/1.1 200 OK\r\n\r\n{}", None);
        assert_eq!(
            read("HTTP/1.1 200 OK\r\n\r\n{}", true),
            Some((200, "{}", 0, true))
        );
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for text in [
            "SSH-2.0",
            "HTTP/2 200",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        ] {
            assert_eq!(Answer::read(text.as_bytes(), false), Err(NotHttp), "{text}");
        }
        assert_eq!(
            Answer::read(b"HTTP/1.1 200 \xff\r\n\r\n", false),
            Err(NotHttp)
        );
        assert_eq!(Answer::read(b"", true), Ok(None));
    }
}
