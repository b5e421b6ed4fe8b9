//! The port a service listens on: bound once, with errors that name the flag to change.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Binds a listening socket; `flag` is the setting that chose the address.
///
/// # Errors
///
/// When the port is taken, or the address cannot be bound.
pub async fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::Taken { address, flag },
            _ => ListenError::Bind {
                address,
                flag,
                source,
            },
        })
}

/// Refuses an address that others can reach, unless something protects it or the operator said
/// that nothing needs to.
///
/// # Errors
///
/// [`ListenError::Exposed`], which tells the `mend`.
pub fn refuse_exposure(
    address: SocketAddr,
    flag: &'static str,
    protected: Protection,
    mend: &'static str,
) -> Result<(), ListenError> {
    match protected {
        Protection::Present => Ok(()),
        Protection::Absent if address.ip().is_loopback() => Ok(()),
        Protection::Absent => Err(ListenError::Exposed {
            address,
            flag,
            mend,
        }),
    }
}

/// Whether a port asks who comes, or the operator allowed it to be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    Present,
    Absent,
}

/// Why a service cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "port {} of {} is taken: stop what listens there, or choose another with {flag}",
        address.port(), address.ip()
    )]
    Taken {
        address: SocketAddr,
        flag: &'static str,
    },
    #[error("{flag} {address} can be reached from other machines without authentication: {mend}")]
    Exposed {
        address: SocketAddr,
        flag: &'static str,
        mend: &'static str,
    },
    #[error("listen on {address} ({flag})")]
    Bind {
        address: SocketAddr,
        flag: &'static str,
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_port_and_flag() {
        let first = bind("127.0.0.1:0".parse().unwrap(), "--listen")
            .await
            .unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, "--listen").await.unwrap_err().to_string();
        assert!(error.contains(&address.port().to_string()), "{error}");
        assert!(error.contains("--listen"), "{error}");
    }

    #[test]
    fn only_loopback_is_open_without_protection() {
        let check = |address: &str, protected| {
            refuse_exposure(
                address.parse().unwrap(),
                "--listen",
                protected,
                "set a token",
            )
            .is_ok()
        };
        assert!(check("127.0.0.1:5000", Protection::Absent));
        assert!(check("[::1]:5000", Protection::Absent));
        assert!(!check("0.0.0.0:5000", Protection::Absent));
        assert!(check("0.0.0.0:5000", Protection::Present));
    }
}
