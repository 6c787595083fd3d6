//! TLS over a socket that does not block (feature `tls`).
//!
//! As everywhere in Open vSwitch, both sides show a certificate, and trust one that the authority signed whatever name is
//! in it: switches and databases are known by their keys, not by host names (ovsdb(7), "Connection Methods").

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Who we are, and whom we trust.
#[derive(Clone)]
pub struct TlsCredentials(Arc<ClientConfig>);

impl fmt::Debug for TlsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsCredentials")
    }
}

/// Why credentials are of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or has not what it should have.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificates do not go together.
    #[error("{0}")]
    Mismatch(String),
}

impl TlsCredentials {
    /// Reads the private key, the certificate with those that lead to the authority's, and the certificates of the
    /// authorities that the other side is trusted by; all in PEM.
    ///
    /// # Errors
    /// [`TlsError`] with the file.
    pub fn from_files(private_key: &Path, certificate: &Path, ca_cert: &Path) -> Result<TlsCredentials, TlsError> {
        let key = PrivateKeyDer::from_pem_file(private_key).map_err(|error| wrong(private_key, &error))?;
        let chain = read_certificates(certificate)?;
        let mut authorities = RootCertStore::empty();
        for authority in read_certificates(ca_cert)? {
            authorities.add(authority).map_err(|error| wrong(ca_cert, &error))?;
        }
        let mismatch = |error: &dyn fmt::Display| TlsError::Mismatch(error.to_string());
        let provider = Arc::new(default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider));
        let verifier = ByAuthority(verifier.build().map_err(|error| mismatch(&error))?);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| mismatch(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(chain, key)
            .map_err(|error| mismatch(&error))?;
        Ok(TlsCredentials(Arc::new(config)))
    }
}

fn wrong(file: &Path, reason: &dyn fmt::Display) -> TlsError {
    TlsError::File { file: file.into(), reason: reason.to_string() }
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(wrong(file, &"no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(file, &error)),
    }
}

/// Trusts whom an authority signed for, whatever the name.
#[derive(Debug)]
struct ByAuthority(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for ByAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last: everything else about the certificate was in order then.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
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
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The TLS of one connection.
#[derive(Debug)]
pub(super) struct Session(ClientConnection);

impl Session {
    pub(super) fn new(credentials: &TlsCredentials, host: &str) -> io::Result<Session> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        ClientConnection::new(Arc::clone(&credentials.0), name).map(Session).map_err(io::Error::other)
    }

    pub(super) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    pub(super) fn read(&mut self, socket: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.0.read_tls(socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let processed = self.0.process_new_packets();
            // What the handshake answers, or why it failed, is for the other side to know.
            let flushed = self.flush(socket);
            processed.map_err(io::Error::other)?;
            flushed.or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) })?;
        }
    }

    pub(super) fn write(&mut self, socket: &mut (impl Read + Write), buffer: &[u8]) -> io::Result<usize> {
        let taken = self.0.writer().write(buffer)?;
        match self.flush(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && taken > 0 => Ok(taken),
            Err(error) => Err(error),
            Ok(()) if taken == 0 && !buffer.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            Ok(()) => Ok(taken),
        }
    }

    pub(super) fn flush(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(socket)?;
        }
        Ok(())
    }
}
