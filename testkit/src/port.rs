//! Ports for servers that must come back on the same one.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below Linux' range for outgoing connections (32768-60999). A port from that range may be given
/// to any client while its server is down; worse, a client that keeps trying to reach the server
/// may be given it, and then is connected to itself.
const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// A loopback port that nobody listens on now, and that this process has not been given before.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time start at different places.
    let start = process::id().wrapping_mul(7919) % u32::from(COUNT);
    let start = u16::try_from(start).expect("less than COUNT");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = (u32::from(start) + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("less than COUNT");
        if refused(port) {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}

/// Asks by connecting. A listener would be an answer, too, but not one that is surely gone when
/// this returns: a process that another thread starts meanwhile holds a copy of it from its fork
/// to its exec, and whoever was given the port finds it in use.
fn refused(port: u16) -> bool {
    matches!(TcpStream::connect(("127.0.0.1", port)), Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    #[test]
    fn a_port_in_use_is_not_given_out_and_none_twice() {
        let first = free();
        let _held = TcpListener::bind(("127.0.0.1", free())).unwrap();
        let later: Vec<u16> = (0..100).map(|_| free()).collect();
        assert!(!later.contains(&first));
    }

    #[test]
    fn a_port_is_free_although_processes_are_started_meanwhile() {
        let enough = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&enough);
        let starter = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                assert!(Command::new("true").status().unwrap().success());
            }
        });
        let bound = (0..2_000).all(|_| TcpListener::bind(("127.0.0.1", free())).is_ok());
        enough.store(true, Ordering::Relaxed);
        starter.join().unwrap();
        assert!(bound);
    }
}
