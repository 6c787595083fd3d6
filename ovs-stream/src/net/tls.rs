//! TLS (feature `tls`): both ends show certificates of a common authority.
//!
//! As in upstream's set-up the peer is whoever has a certificate that the authority signed; what name the certificate has
//! does not matter, since controllers and switches are known by address, if at all. Whether a certificate has run out is
//! seen by the clock of the system: the one that is read here.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig, ServerConnection,
    SignatureScheme,
};

use super::stream::{Interest, Socket};

/// The files that the options `--private-key`, `--certificate`, `--ca-cert`, `--bootstrap-ca-cert` and `--peer-ca-cert` of
/// tools and daemons name, all PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsOptions {
    /// Our private key.
    pub private_key: PathBuf,
    /// The certificate of that key, with those between it and the authority behind it.
    pub certificate: PathBuf,
    /// The certificates of the authorities that may have signed the peer's; nothing (`--ca-cert=none`): the peer may be
    /// anybody.
    pub ca_certificate: Option<PathBuf>,
    /// Whether the authority's certificate is taken from the first peer that we connect to, while its file is not there; the
    /// file is made of it then, and that connection ends. Nobody who listens trusts anybody before. Whoever stands between
    /// at that first time can be the authority for ever.
    pub bootstrap: bool,
    /// Certificates that are shown to the peer behind ours, the authority's for one that takes it from us.
    pub peer_ca_certificate: Option<PathBuf>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {error}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file has not what it should have.
    #[error("{}: no {what} in PEM form", file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Key and certificate do not go together, or are of a sort that is not known.
    #[error("{0}")]
    Key(String),
    /// The certificate of an authority is not usable.
    #[error("{}: {error}", file.display())]
    Authority {
        /// Where it is.
        file: PathBuf,
        /// Why.
        error: String,
    },
}

/// Keys and certificates, read and checked.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    keys: Keys,
    /// What is to be read when the authority is known, and was.
    learnt: Option<Arc<(TlsOptions, OnceLock<Keys>)>>,
}

/// What connections are made with; no server while it is not known whom to trust.
#[derive(Debug, Clone)]
struct Keys {
    client: Arc<ClientConfig>,
    server: Option<Arc<ServerConfig>>,
}

impl TlsConfig {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(options: &TlsOptions) -> Result<TlsConfig, TlsError> {
        let is_missing = |file: &PathBuf| matches!(file.try_exists(), Ok(false));
        let is_to_learn = options.bootstrap && options.ca_certificate.as_ref().is_some_and(is_missing);
        Ok(TlsConfig {
            keys: Keys::load(options, !is_to_learn)?,
            learnt: is_to_learn.then(|| Arc::new((options.clone(), OnceLock::new()))),
        })
    }

    /// The keys, and the file that the peer's authority is to be written to, if it is not known.
    fn now(&self) -> io::Result<(&Keys, Option<&Path>)> {
        let Some((options, keys)) = self.learnt.as_deref() else { return Ok((&self.keys, None)) };
        if let Some(keys) = keys.get() {
            return Ok((keys, None));
        }
        let file = options.ca_certificate.as_deref().unwrap_or(Path::new(""));
        if !file.try_exists()? {
            return Ok((&self.keys, Some(file)));
        }
        let loaded = Keys::load(options, true).map_err(io::Error::other)?;
        Ok((keys.get_or_init(|| loaded), None))
    }

    pub(super) fn client(&self, host: &str) -> io::Result<Tls> {
        let (keys, learn) = self.now()?;
        // The name is for the server to choose by; that of a host that is none says nothing.
        let host = host.split('%').next().unwrap_or(host).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&keys.client), name).map_err(io::Error::other)?;
        Ok(Tls { connection: connection.into(), learn: learn.map(Path::to_owned) })
    }

    pub(super) fn server(&self) -> io::Result<Tls> {
        let (keys, _) = self.now()?;
        let unknown =
            || io::Error::other("no authority is known yet: nobody is trusted before a connection of our own");
        let config = keys.server.as_ref().ok_or_else(unknown)?;
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Tls { connection: connection.into(), learn: None })
    }
}

impl Keys {
    fn load(options: &TlsOptions, has_authority: bool) -> Result<Keys, TlsError> {
        let pem = |file: &Path, what| TlsError::Pem { file: file.to_owned(), what };
        let key = PrivateKeyDer::from_pem_slice(&read(&options.private_key)?)
            .map_err(|_| pem(&options.private_key, "private key"))?;
        let mut chain = certificates(&options.certificate)?;
        if let Some(file) = &options.peer_ca_certificate {
            chain.extend(certificates(file)?);
        }
        let provider = Arc::new(ring::default_provider());
        let authorities = options.ca_certificate.as_deref().filter(|_| has_authority).map(authorities).transpose()?;

        let unusable = |error: rustls::Error| TlsError::Key(error.to_string());
        let verifier = Arc::new(ChainVerifier {
            authorities: authorities.clone(),
            algorithms: provider.signature_verification_algorithms,
        });
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;

        let client = Arc::new(client);
        if !has_authority {
            return Ok(Keys { client, server: None });
        }
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let server = match authorities {
            Some(authorities) => server.with_client_cert_verifier(client_verifier(authorities, provider, options)?),
            None => server.with_no_client_auth(),
        };
        let server = server.with_single_cert(chain, key).map_err(unusable)?;
        Ok(Keys { client, server: Some(Arc::new(server)) })
    }
}

/// Writes the last certificate of a peer's chain to a file that is not there, if it signed for the peer: what comes of the
/// connection on which it was shown is an error in every case.
fn learn(file: &Path, chain: &[CertificateDer<'_>]) -> io::Error {
    let refused =
        |why: &dyn std::fmt::Display| io::Error::other(format!("{}: not bootstrapped: {why}", file.display()));
    let (Some((end_entity, others)), Some(last)) = (chain.split_first(), chain.last()) else {
        return refused(&"the peer shows no certificate");
    };
    let mut store = RootCertStore::empty();
    let signed = store.add(last.clone()).and_then(|()| {
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &store, others, UnixTime::now(), algorithms)
    });
    if let Err(error) = signed {
        return refused(&format!("the last certificate that the peer shows did not sign for it ({error})"));
    }
    match write_new(file, &to_pem(last)) {
        Ok(()) => io::Error::other(format!(
            "{}: taken from the peer; it is trusted from the next connection on",
            file.display()
        )),
        Err(error) => refused(&error),
    }
}

/// Makes a file that everybody may read; there is none if that fails.
fn write_new(file: &Path, text: &str) -> io::Result<()> {
    let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o444).open(file)?;
    let written = made.write_all(text.as_bytes()).and_then(|()| made.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(file)))
}

/// RFC 7468.
fn to_pem(certificate: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    // 48 bytes make a line of 64 digits.
    for line in certificate.chunks(48) {
        for bytes in line.chunks(3) {
            let word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
            for at in 0..4 {
                let digit = DIGITS.get((word >> (18 - 6 * at) & 63) as usize).copied().unwrap_or(b'=');
                text.push(if at <= bytes.len() { digit.into() } else { '=' });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|error| TlsError::Read { file: file.to_owned(), error })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    let error = || TlsError::Pem { file: file.to_owned(), what: "certificate" };
    found.ok().filter(|found| !found.is_empty()).ok_or_else(error)
}

fn authorities(file: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        let unusable = |error: rustls::Error| TlsError::Authority { file: file.to_owned(), error: error.to_string() };
        store.add(certificate).map_err(unusable)?;
    }
    Ok(Arc::new(store))
}

fn client_verifier(
    authorities: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    options: &TlsOptions,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(authorities, provider).build().map_err(|error| TlsError::Authority {
        file: options.ca_certificate.clone().unwrap_or_default(),
        error: error.to_string(),
    })
}

/// Accepts the certificate of a server that one of the authorities has signed, whatever its name; any, without
/// authorities. That the server has its key is seen to in every case.
#[derive(Debug)]
struct ChainVerifier {
    authorities: Option<Arc<RootCertStore>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(authorities) = &self.authorities {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, authorities, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// TLS on a socket that does not block.
#[derive(Debug)]
pub(super) struct Tls {
    connection: Connection,
    /// Where the peer's authority is to be written, after which the connection ends.
    learn: Option<PathBuf>,
}

impl Tls {
    /// Goes on with the handshake, and says whether it is done.
    pub(super) fn finish_connecting(&mut self, socket: &mut Socket) -> io::Result<bool> {
        while self.connection.is_handshaking() {
            let moved = if self.connection.wants_write() { self.send(socket) } else { self.receive(socket) };
            match moved {
                Ok(true) => {}
                Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // The last word of the handshake may be ours.
        if let Err(error) = self.flush(socket)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            return Err(error);
        }
        match &self.learn {
            Some(file) => Err(learn(file, self.connection.peer_certificates().unwrap_or_default())),
            None => Ok(true),
        }
    }

    pub(super) fn interest(&self, wanted: Interest) -> Interest {
        let write = self.connection.wants_write();
        if self.connection.is_handshaking() {
            return Interest { read: !write, write };
        }
        Interest { read: wanted.read, write: wanted.write || write }
    }

    pub(super) fn read(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                // The end without a word of farewell is an end all the same: messages say their length.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.receive(socket)?;
        }
    }

    pub(super) fn write(&mut self, socket: &mut Socket, buffer: &[u8]) -> io::Result<usize> {
        let count = self.connection.writer().write(buffer)?;
        match self.flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if count == 0 && !buffer.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(count),
        }
    }

    pub(super) fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            self.send(socket)?;
        }
        Ok(())
    }

    /// Whether bytes were moved; if not, the peer takes none any more.
    fn send(&mut self, socket: &mut Socket) -> io::Result<bool> {
        Ok(self.connection.write_tls(socket)? > 0)
    }

    /// Whether bytes were moved; if not, the peer has closed the connection.
    fn receive(&mut self, socket: &mut Socket) -> io::Result<bool> {
        let count = self.connection.read_tls(socket)?;
        if let Err(error) = self.connection.process_new_packets() {
            // The peer is told why, if it can be.
            let _ = self.flush(socket);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_pem_is_read_again() {
        for length in [1, 2, 3, 47, 48, 49, 600] {
            let bytes: Vec<u8> = (0..length).map(|at: u32| (at * 37 + 200) as u8).collect();
            let text = to_pem(&bytes);
            assert!(text.lines().all(|line| line.len() <= 64), "{text}");
            assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).unwrap().as_ref(), bytes);
        }
    }
}
