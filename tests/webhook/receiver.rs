//! An app's server as webhooks meet it: reads requests as they are on the wire, and answers well or badly, as told.
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

/// Longer than anything here takes; a test that gets there has failed.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// What the receiver does after it has read a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// says nothing, keeps the connection
    Hang,
    /// closes without a word
    Close,
    /// not HTTP
    Rubbish,
    /// 302 to this URL
    Redirect(String),
    /// 200 with a longer body announced than is sent
    LyingLength,
    /// 200 with a body that never ends, as fast as it goes
    EndlessBody,
    /// 200 with a body of one byte now and then
    DrippingBody,
    /// a head that never ends
    EndlessHead,
}

#[derive(Clone, Debug)]
pub struct Request {
    /// request line and headers, as they came
    pub head: String,
    pub body: String,
    /// counted from 0 in the order of their opening
    pub connection: usize,
}

impl Request {
    /// The value of the header with exactly this spelling.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n");
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// `name channel`, with user or count if there is one, for each event.
    pub fn events(&self) -> Vec<String> {
        let json = self.json();
        let events = json["events"].as_array().expect("events").iter();
        let text = |event: &serde_json::Value| {
            let keys = ["name", "channel", "user_id", "subscription_count"];
            let values = keys.iter().filter_map(|key| match &event[*key] {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
            values.collect::<Vec<_>>().join(" ")
        };
        events.map(text).collect()
    }
}

pub struct Receiver {
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    _accepting: JoinSet<()>,
}

impl Receiver {
    /// Answers in this order, then 200 for ever.
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> Receiver {
        Receiver::start_at("127.0.0.1:0".parse().expect("an address"), answers).await
    }

    pub async fn start_at(
        address: SocketAddr,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Receiver {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let (sender, requests) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        let address = listener.local_addr().expect("bound");
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, answers, sender));
        Receiver {
            address,
            requests,
            _accepting: accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub async fn next(&mut self) -> Request {
        let next = timeout(PATIENCE, self.requests.recv()).await;
        next.expect("a request in time")
            .expect("a running receiver")
    }

    /// The events of the next requests until there are this many.
    pub async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.next().await.events());
        }
        events
    }

    /// Whether nothing has come that was not yet asked for.
    pub fn is_silent(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

type Answers = Arc<Mutex<VecDeque<Answer>>>;

async fn accept(listener: TcpListener, answers: Answers, requests: mpsc::UnboundedSender<Request>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        connections.spawn(serve(stream, number, answers.clone(), requests.clone()));
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    answers: Answers,
    requests: mpsc::UnboundedSender<Request>,
) {
    while let Some((head, body)) = read_request(&mut stream).await {
        let answer = answers.lock().expect("no panic").pop_front();
        let request = Request {
            head,
            body,
            connection,
        };
        // the test may have seen enough
        let _ = requests.send(request);
        if respond(&mut stream, answer.unwrap_or(Answer::Status(200)))
            .await
            .is_none()
        {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .split("\r\n")
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().expect("a length"));
            if body.len() >= length {
                assert_eq!(body.len(), length, "more than one request at a time");
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// `None` when the connection is over.
async fn respond(stream: &mut TcpStream, answer: Answer) -> Option<()> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length:";
    let text = match &answer {
        Answer::Status(status) => {
            format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok")
        }
        Answer::Hang => return std::future::pending().await,
        Answer::Close => return None,
        Answer::Rubbish => "220 mail.example.com ESMTP\r\n".to_owned(),
        Answer::Redirect(to) => {
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        }
        Answer::LyingLength => format!("{ok} 5000\r\n\r\nok"),
        Answer::EndlessBody | Answer::DrippingBody => format!("{ok} 999999999\r\n\r\n"),
        Answer::EndlessHead => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    stream.write_all(text.as_bytes()).await.ok()?;
    match answer {
        Answer::LyingLength => std::future::pending().await,
        Answer::EndlessBody => loop {
            stream.write_all(&[b'x'; 4_096]).await.ok()?;
        },
        Answer::DrippingBody => loop {
            stream.write_all(b"x").await.ok()?;
            // the pace of the drip
            tokio::time::sleep(Duration::from_millis(20)).await;
        },
        Answer::EndlessHead => loop {
            stream.write_all(b"X-More: and more\r\n").await.ok()?;
        },
        Answer::Rubbish => None,
        Answer::Status(_) | Answer::Redirect(_) | Answer::Hang | Answer::Close => Some(()),
    }
}
