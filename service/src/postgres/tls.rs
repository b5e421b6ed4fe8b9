//! TLS with the meanings of libpq's `sslmode` (manual, "SSL Support"): which part of the server's
//! certificate is verified.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::dsn::{Dsn, Ssl, SslMode};

/// What a connection pool needs to speak TLS, beside [`Dsn::tokio_config`].
///
/// # Errors
///
/// When a certificate or key that the connection string names cannot be read.
pub fn tls_connector(dsn: &Dsn) -> Result<MakeRustlsConnect, TlsError> {
    Ok(MakeRustlsConnect::new(client_config(dsn.ssl())?))
}

/// Why TLS cannot be set up, before anything is sent.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("read certificate or key {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error(
        "sslmode={mode} needs a root certificate, and {} does not exist: name one with sslrootcert, \
         use sslrootcert=system, or weaken sslmode",
        path.display()
    )]
    NoRoot { mode: SslMode, path: PathBuf },
    #[error("sslrootcert=system needs sslmode=verify-full: any public certificate would do else")]
    WeakSystemRoots,
    #[error("no usable root certificate in {0}")]
    EmptyRoots(String),
    #[error("sslcert and sslkey are only useful together")]
    HalfIdentity,
    #[error("set up TLS")]
    Setup(#[source] rustls::Error),
    #[error("set up verification of certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

pub(super) fn client_config(ssl: &Ssl) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(ssl, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&ssl.certificate, &ssl.key) {
        (None, None) => Ok(config.with_no_client_auth()),
        (Some(certificate), Some(key)) => config
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(TlsError::Setup),
        _ => Err(TlsError::HalfIdentity),
    }
}

fn verifier(
    ssl: &Ssl,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let Some(roots) = roots(ssl)? else {
        return Ok(Arc::new(AnyCertificate(Arc::clone(provider))));
    };
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()?;
    match ssl.mode {
        SslMode::VerifyFull => Ok(chain),
        SslMode::Disable | SslMode::Prefer | SslMode::Require | SslMode::VerifyCa => {
            Ok(Arc::new(AnyName(chain)))
        }
    }
}

/// The trusted authorities; none when the certificate is not to be verified.
///
/// As in libpq, a root file that exists is used in every mode, and only the `verify-` modes insist
/// on one.
fn roots(ssl: &Ssl) -> Result<Option<RootCertStore>, TlsError> {
    if ssl.root_certificate.as_deref() == Some(Path::new("system")) {
        return match ssl.mode {
            SslMode::VerifyFull => system_roots().map(Some),
            _ => Err(TlsError::WeakSystemRoots),
        };
    }
    let path = match &ssl.root_certificate {
        Some(path) => path.clone(),
        None => default_root_certificate(),
    };
    if path.exists() {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates(&path)?);
        return match added {
            0 => Err(TlsError::EmptyRoots(path.display().to_string())),
            _ => Ok(Some(roots)),
        };
    }
    match ssl.mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => Ok(None),
        mode @ (SslMode::VerifyCa | SslMode::VerifyFull) => Err(TlsError::NoRoot { mode, path }),
    }
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    match roots.add_parsable_certificates(found.certs) {
        (0, _) => Err(TlsError::EmptyRoots("the system's store".to_owned())),
        _ => Ok(roots),
    }
}

/// Where libpq looks when `sslrootcert` is not given.
fn default_root_certificate() -> PathBuf {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    home.join(".postgresql/root.crt")
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| read_error(path, source))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| read_error(path, source))
}

fn read_error(path: &Path, source: pem::Error) -> TlsError {
    TlsError::Read {
        path: path.to_owned(),
        source,
    }
}

/// Takes any certificate: `require` and `prefer` without a root certificate.
///
/// The handshake's signature is still verified: with SCRAM's channel binding, that the server holds
/// the key of the certificate it shows is what keeps a third party out.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies the chain of a certificate but not its name: `verify-ca`.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // The name is verified last, so everything else holds.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
