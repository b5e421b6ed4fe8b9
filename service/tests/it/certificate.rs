//! Certificates by the `openssl` command.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A certificate authority in a folder of its own.
pub(crate) struct Authority {
    folder: TempDir,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Who signed it, unless it did so itself.
    pub(crate) authority: Option<PathBuf>,
}

impl Authority {
    /// `name` tells authorities apart: another key under a known name is another error.
    pub(crate) fn create(name: &str) -> Self {
        let folder = TempDir::with_prefix("service-ca-").unwrap();
        openssl(
            folder.path(),
            &format!(
                "req -x509 -newkey {EC} -nodes -days 2 -subj /CN={name} \
                 -addext keyUsage=keyCertSign -keyout ca.key -out ca.crt"
            ),
        );
        Self { folder }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Signs a certificate for `localhost`; `key` as in `-newkey`, `digest` as in `-sha256`.
    pub(crate) fn sign(&self, key: &str, digest: &str) -> Identity {
        self.signed("server", "/CN=localhost", key, digest)
    }

    /// Signs a certificate for a client, which the server takes for the user of that name.
    pub(crate) fn signed(&self, file: &str, subject: &str, key: &str, digest: &str) -> Identity {
        let folder = self.folder.path();
        std::fs::write(folder.join("extensions"), "subjectAltName=DNS:localhost\n").unwrap();
        openssl(
            folder,
            &format!(
                "req -new -newkey {key} -nodes -subj {subject} -keyout {file}.key -out {file}.csr"
            ),
        );
        openssl(
            folder,
            &format!(
                "x509 -req -in {file}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
                 {digest} -extfile extensions -out {file}.crt"
            ),
        );
        Identity {
            certificate: folder.join(format!("{file}.crt")),
            key: folder.join(format!("{file}.key")),
            authority: Some(self.certificate()),
        }
    }
}

/// A certificate that signs itself, so that its signature is of its own key's kind.
pub(crate) fn self_signed(folder: &Path, key: &str, digest: &str) -> Identity {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey {key} -nodes -days 2 -subj /CN=localhost {digest} \
             -keyout self.key -out self.crt"
        ),
    );
    Identity {
        certificate: folder.join("self.crt"),
        key: folder.join("self.key"),
        authority: None,
    }
}

pub(crate) const EC: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl is missing: apt-get install openssl");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {stderr}");
}
