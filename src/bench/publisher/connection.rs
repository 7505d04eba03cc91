//! One connection of a backend: a request goes out, its answer comes in. No clock of its own.
use super::super::{answer::Answer, is_not_yet};
use mio::net::TcpStream;
use std::{
    io::{Read, Write},
    time::Instant,
};

/// Bytes of the longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A request on its way.
pub(super) struct Request {
    /// its stream and number
    pub(super) counted: Option<(u32, u64)>,
    pub(super) deliveries: u64,
    pub(super) began: Instant,
    pub(super) written: usize,
}

pub(super) struct Connection {
    pub(super) stream: Option<TcpStream>,
    pub(super) streams: Vec<u32>,
    /// requests begun, refused ones left out
    pub(super) begun: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) signed_s: u64,
    pub(super) answer: Vec<u8>,
    pub(super) request: Option<Request>,
    pub(super) rests_until: Instant,
    pub(super) failures: u32,
}

pub(super) enum Progressed {
    Waits,
    /// `body` is empty if all is well
    Answered {
        status: u16,
        body: String,
    },
    /// while nothing was asked
    Closed,
}

impl Connection {
    pub(super) fn new(streams: Vec<u32>, begin: Instant) -> Connection {
        Connection {
            stream: None,
            streams,
            begun: 0,
            bytes: Vec::new(),
            signed_s: 0,
            answer: Vec::new(),
            request: None,
            rests_until: begin,
            failures: 0,
        }
    }

    pub(super) fn has_had(&self, rounds: u64) -> bool {
        self.begun >= rounds * self.streams.len() as u64
    }

    /// Whether the server may have all of the request.
    pub(super) fn is_written(&self) -> bool {
        let request = self.request.as_ref();
        request.is_some_and(|request| request.written == self.bytes.len())
    }

    /// An error is the reason why there will be no answer.
    pub(super) fn progress(&mut self) -> Result<Progressed, String> {
        let Some(stream) = &mut self.stream else {
            return Ok(Progressed::Waits);
        };
        if let Some(request) = &mut self.request {
            while request.written < self.bytes.len() {
                match stream.write(&self.bytes[request.written..]) {
                    Ok(count) => request.written += count,
                    Err(error) if is_not_yet(&error) => return Ok(Progressed::Waits),
                    Err(error) => return Err(format!("no connection: {error}")),
                }
            }
        }
        let mut chunk = [0; 4096];
        let is_ended = loop {
            match stream.read(&mut chunk) {
                Ok(0) => break true,
                Ok(_) if self.answer.len() > ANSWER_BYTES_MAX => {
                    return Err("the answer has no end".to_owned());
                }
                Ok(count) => self.answer.extend_from_slice(&chunk[..count]),
                Err(error) if is_not_yet(&error) => break false,
                Err(error) => return Err(format!("the connection broke: {error}")),
            }
        };
        if self.request.is_none() {
            let is_gone = is_ended || !self.answer.is_empty();
            return Ok(if is_gone {
                Progressed::Closed
            } else {
                Progressed::Waits
            });
        }
        self.answer(is_ended)
    }

    fn answer(&mut self, is_ended: bool) -> Result<Progressed, String> {
        let answer = Answer::read(&self.answer, is_ended).map_err(|error| error.to_string())?;
        match answer {
            Some(answer) => {
                let status = answer.status;
                let body = match status {
                    200 => String::new(),
                    _ => String::from_utf8_lossy(answer.body).into_owned(),
                };
                if answer.closes {
                    self.stream = None;
                }
                self.answer.clear();
                Ok(Progressed::Answered { status, body })
            }
            None if is_ended => Err("the connection was closed without an answer".to_owned()),
            None => Ok(Progressed::Waits),
        }
    }
}
