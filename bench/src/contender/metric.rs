//! What a process says of itself.

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A metric without labels of the process that tells on this port; `None` while it has no value, or
/// the process does not listen yet.
pub(super) async fn read(port: u16, name: &str) -> anyhow::Result<Option<u64>> {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else {
        return Ok(None);
    };
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200 "), "metrics are refused: {status}");
    let mut lines = answer.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .map(|value| {
            value
                .parse()
                .with_context(|| format!("{name} is no number: {value}"))
        })
        .transpose()
}
