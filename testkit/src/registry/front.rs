//! What stands before a schema registry in a company: it has a path, asks for a login, and may
//! speak TLS with a certificate of the company's own authority.

use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::guardian::{Farewell, Guardian};

/// A proxy before a registry. It ends when it is dropped.
#[derive(Debug)]
pub struct Front {
    addr: SocketAddr,
    transport: Transport,
    folder: Guardian,
    stopped: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

/// Where the registry is to those who come through the front.
const PATH: &str = "/at/registry";
/// As it stands in a URL: a slash in the password is escaped.
const LOGIN: &str = "ann:s3cret%2Fx";
/// `ann:s3cret/x` in Base64 (RFC 7617, "The 'Basic' HTTP Authentication Scheme").
const AUTHORIZATION: &str = "Basic YW5uOnMzY3JldC94";

/// Names the front's URL in the environment of a child.
const CHILD_URL: &str = "LOCKSTEP_TEST_FRONT_URL";
/// What a child prints in the end.
const USED: &str = "it was used";

/// For a client that has stopped sending.
const PATIENCE: Duration = Duration::from_secs(5);

impl Front {
    /// The password, so that tests can look for it where it must not be.
    pub const PASSWORD: &'static str = "s3cret";

    /// Stands before the registry that all tests of this process share.
    ///
    /// # Panics
    /// When no loopback port can be had, or no certificate made.
    pub async fn start(transport: Transport) -> Self {
        let url = super::url().await;
        let folder = Guardian::new(Farewell::Kill).expect("guard a folder");
        let tls = match transport {
            Transport::Plain => None,
            Transport::Tls => Some(Arc::new(server_config(folder.dir()))),
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen on loopback");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let server = Server {
            registry: url.trim_start_matches("http://").to_owned(),
            tls,
            stopped: Arc::clone(&stopped),
        };
        let task = std::thread::spawn(move || server.run(&listener));
        Self {
            addr,
            transport,
            folder,
            stopped,
            task: Some(task),
        }
    }

    /// With the login in it.
    pub fn url(&self) -> String {
        self.url_with(&format!("{LOGIN}@"))
    }

    /// Where nobody is let in.
    pub fn url_without_login(&self) -> String {
        self.url_with("")
    }

    fn url_with(&self, login: &str) -> String {
        let scheme = match self.transport {
            Transport::Plain => "http",
            Transport::Tls => "https",
        };
        format!("{scheme}://{login}{}{PATH}/", self.addr)
    }

    /// Runs `test` of this binary in a process of its own, which trusts the authority that signed the
    /// front's certificate. It is to call [`Self::used_as_child`].
    ///
    /// # Panics
    /// When it fails there, or does not use the front.
    pub async fn used_by_child(&self, test: &str) {
        let output = tokio::process::Command::new(env::current_exe().expect("this binary's path"))
            .args(["--exact", test, "--nocapture"])
            .env(CHILD_URL, self.url())
            .env("SSL_CERT_FILE", self.authority())
            .output()
            .await
            .expect("run this binary again");
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}{errors}");
        assert!(printed.contains(USED), "{printed}{errors}");
    }

    /// Has `use_it` use the front of the process that started this one; does nothing in others.
    pub async fn used_as_child(use_it: impl AsyncFnOnce(&str)) {
        if let Ok(url) = env::var(CHILD_URL) {
            use_it(&url).await;
            println!("{USED}");
        }
    }

    /// The certificate of the authority that signed the front's.
    fn authority(&self) -> PathBuf {
        self.folder.dir().join("ca.crt")
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The thread may wait for a connection: this is the last one.
        let woken = TcpStream::connect(self.addr).is_ok();
        if let Some(task) = self.task.take().filter(|_| woken) {
            // A panic of its own was printed when it happened.
            let _ = task.join();
        }
    }
}

/// A certificate for 127.0.0.1, signed by an authority that nobody knows.
fn server_config(folder: &Path) -> ServerConfig {
    const KEY: &str = "ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let extensions = folder.join("extensions");
    std::fs::write(&extensions, "subjectAltName=IP:127.0.0.1\n").expect("write a file");
    for arguments in [
        format!("req -x509 -newkey {KEY} -days 2 -subj /CN=front -keyout ca.key -out ca.crt"),
        format!("req -new -newkey {KEY} -subj /CN=registry -keyout own.key -out own.csr"),
        "x509 -req -in own.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
         -extfile extensions -out own.crt"
            .to_owned(),
    ] {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(folder)
            .output()
            .expect("openssl is missing: apt-get install openssl");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {stderr}");
    }
    let certificate = CertificateDer::from_pem_file(folder.join("own.crt"));
    let key = PrivateKeyDer::from_pem_file(folder.join("own.key"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("openssl wrote it")],
            key.expect("openssl wrote it"),
        )
        .expect("the key is the certificate's")
}

struct Server {
    /// `host:port`, perhaps with a path.
    registry: String,
    tls: Option<Arc<ServerConfig>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    /// One connection after the other, one request each: tests ask little.
    fn run(&self, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            // A client that does not know the authority ends the connection; that is its answer.
            let _ = self.serve(stream);
        }
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let Some(config) = &self.tls else {
            let mut stream = stream;
            return self.answer(&mut stream);
        };
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        self.answer(&mut stream)?;
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn answer(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        let (head, body) = request(stream)?;
        let answer = match self.forwarded(&head) {
            Ok(head) => self.ask(&head, &body)?,
            Err(status) => {
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}")
                    .into_bytes()
            }
        };
        stream.write_all(&answer)?;
        stream.flush()
    }

    /// The head for the registry, or the status for who must not come through.
    fn forwarded(&self, head: &str) -> Result<String, &'static str> {
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.splitn(3, ' ');
        let (method, path) = (words.next(), words.next().unwrap_or_default());
        let path = path.strip_prefix(PATH).ok_or("404 Not Found")?;
        let is_known = |line: &str| {
            let header = line.split_once(": ");
            header.is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("authorization") && value == AUTHORIZATION
            })
        };
        if !lines.clone().any(is_known) {
            return Err("401 Unauthorized");
        }
        let (host, own_path) = self
            .registry
            .split_once('/')
            .unwrap_or((&self.registry, ""));
        let own_path = if own_path.is_empty() {
            String::new()
        } else {
            format!("/{own_path}")
        };
        let mut head = format!(
            "{} {own_path}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n",
            method.unwrap_or_default()
        );
        let mine = ["host", "connection", "authorization"];
        for line in lines.filter(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default();
            if !mine.iter().any(|mine| mine.eq_ignore_ascii_case(name)) {
                head.push_str(line);
                head.push_str("\r\n");
            }
        }
        Ok(head + "\r\n")
    }

    fn ask(&self, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let host = self.registry.split('/').next().unwrap_or_default();
        let mut registry = TcpStream::connect(host)?;
        registry.write_all(head.as_bytes())?;
        registry.write_all(body)?;
        let mut answer = Vec::new();
        registry.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// Head and body of a request whose length is told, as it is by the clients tested here.
fn request(stream: &mut impl Read) -> io::Result<(String, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let start = end + END.len();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        if bytes.len() >= start + length.unwrap_or(0) {
            return Ok((head, bytes.split_off(start)));
        }
    }
}
