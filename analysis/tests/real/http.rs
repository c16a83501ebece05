//! Requests by hand, for what seeds a server.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

/// Sends one request and reads the whole answer, its head included. `None`: nobody answers.
pub(crate) fn ask(server: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(server).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = vec![];
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether an answer says that all went well.
pub(crate) fn is_good(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.0 2")
}

/// Posts something that the server must take.
pub(crate) fn post(server: SocketAddr, path: &str, headers: &str, body: &str) -> String {
    let answer = ask(server, "POST", path, headers, body).unwrap();
    assert!(is_good(&answer), "{path}: {answer}");
    answer
}
