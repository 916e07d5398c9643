//! Asking a program on this machine whether it is ready.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bound of one answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// All that is read of an answer.
const STATUS_LINE: &str = "HTTP/1.0 200";

/// What a program says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// `/readyz` gave 200.
    Ready,
    /// `/readyz` gave something else.
    NotReady,
    /// There was no answer within a second.
    None,
}

/// Asks the program that listens on `port` whether it is ready.
pub(crate) async fn ask(port: u16) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut status = [0; STATUS_LINE.len()];
        stream.read_exact(&mut status).await?;
        io::Result::Ok(status)
    };
    match tokio::time::timeout(TIMEOUT, exchange).await {
        // The minor version of HTTP is the server's choice.
        Ok(Ok(status)) if status.starts_with(b"HTTP/1.") && status.ends_with(b" 200") => Answer::Ready,
        Ok(Ok(_)) => Answer::NotReady,
        Ok(Err(_)) | Err(_) => Answer::None,
    }
}

/// A loopback port that is free now: `preferred` where it is.
pub(crate) fn free_port(preferred: Option<u16>) -> io::Result<u16> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = match preferred.map(bind) {
        Some(Ok(listener)) => listener,
        Some(Err(_)) | None => bind(0)?,
    };
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that gives one answer and stops.
    async fn answering(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 16];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        port
    }

    #[tokio::test]
    async fn only_a_200_is_ready() {
        assert_eq!(ask(answering("HTTP/1.1 200 OK\r\n\r\n").await).await, Answer::Ready);
        assert_eq!(ask(answering("HTTP/1.1 503 Service Unavailable\r\n\r\n").await).await, Answer::NotReady);
        assert_eq!(ask(answering("no http at all").await).await, Answer::NotReady);
        assert_eq!(ask(answering("").await).await, Answer::None);
        assert_eq!(ask(free_port(None).unwrap()).await, Answer::None, "nobody listens");
    }

    #[test]
    fn a_taken_port_is_not_given_out() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free_port(Some(port)).unwrap(), port);
        drop(taken);
        assert_eq!(free_port(Some(port)).unwrap(), port);
    }
}
