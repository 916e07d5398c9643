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

/// Whether the program that listens on `port` answers `/readyz` with 200 within a second.
pub(crate) async fn is_ready(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = [0; STATUS_LINE.len()];
        stream.read_exact(&mut answer).await?;
        // The minor version of HTTP is the server's choice.
        Ok::<_, io::Error>(answer.starts_with(b"HTTP/1.") && answer.ends_with(b" 200"))
    };
    matches!(tokio::time::timeout(TIMEOUT, ask).await, Ok(Ok(true)))
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
        assert!(is_ready(answering("HTTP/1.1 200 OK\r\n\r\n").await).await);
        assert!(!is_ready(answering("HTTP/1.1 503 Service Unavailable\r\n\r\n").await).await);
        assert!(!is_ready(answering("no http").await).await);
        assert!(!is_ready(free_port(None).unwrap()).await, "nobody listens");
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
