//! Finds the servers of a run, and posts an event to each: what is set wrongly shows here, before anything is measured.
use super::PATIENCE;
use crate::{
    bench::{
        BenchError,
        answer::Answer,
        arguments::Task,
        stage::{Server, data, event_request},
        token::Token,
    },
    client::{self, Address, now_s, one_line},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

/// Finds the servers, and posts an event to a channel that nobody is on: what is set wrongly shows here.
pub fn find_servers(task: &Task) -> Result<Vec<Server>, BenchError> {
    let find = |address: &Address| find_server(task, address).map_err(BenchError);
    task.addresses.iter().map(find).collect()
}

fn find_server(task: &Task, address: &Address) -> Result<Server, String> {
    let looked_up = client::block_on(client::resolve(address, PATIENCE));
    let found = looked_up.map_err(|error| error.to_string())?;
    let found = found.map_err(|error| error.to_string())?;
    let (at, stream) = connect(address, &found)?;
    let server = Server {
        address: address.clone(),
        at,
    };
    ask(task, &server, stream).map_err(|reason| format!("{address}: {reason}"))?;
    Ok(server)
}

fn connect(address: &Address, found: &[SocketAddr]) -> Result<(SocketAddr, TcpStream), String> {
    let mut failure = String::new();
    for at in found {
        match TcpStream::connect_timeout(at, PATIENCE) {
            Ok(stream) => return Ok((*at, stream)),
            Err(error) => failure = error.to_string(),
        }
    }
    Err(format!(
        "no connection to {address}: {failure}; start the server, or say with --url where it is"
    ))
}

fn ask(task: &Task, server: &Server, mut stream: TcpStream) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("no answer to an event: {error}");
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let token = Token {
        stream: u32::MAX,
        sequence: 0,
        sent_ns: 0,
    };
    let data = data(token, task.data_bytes);
    let request = event_request(server, &task.app, "bench-nobody", &data, now_s(), true);
    stream.write_all(&request).map_err(broken)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && bytes.len() < 1 << 20 {
        let count = stream.read(&mut chunk).map_err(broken)?;
        bytes.extend_from_slice(&chunk[..count]);
        let answer = Answer::read(&bytes, count == 0).map_err(|error| error.to_string())?;
        match answer {
            Some(Answer { status: 200, .. }) => return Ok(()),
            Some(Answer { status, body, .. }) => {
                let body = one_line(String::from_utf8_lossy(body).trim());
                return Err(format!(
                    "an event is refused with status {status}: {body}; --app-id, --key and --secret must be those of one of its apps"
                ));
            }
            None if count == 0 => break,
            None => {}
        }
    }
    Err("the answer to an event has no end".to_owned())
}
