//! The keys of `ssl:` and `pssl:`: read from the files that the command line or the database names, and read again when these
//! are others.
//!
//! What the database says goes before the command line, as in upstream: its rows are how an operator changes keys of a switch
//! that runs. Files that cannot be used are told, and the keys that were there before stay.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ovs_ofproto::session::edge::{TlsConfig, TlsOptions};

use crate::config::TlsFiles;

/// What was made of files.
#[derive(Debug, Clone)]
pub struct Keys {
    /// For OpenFlow.
    pub openflow: TlsConfig,
    /// For a database by `ssl:`; nothing where the server may be anybody, which no database is to be.
    pub database: Option<TlsConfig>,
}

/// Files, and which state of them was read.
#[derive(Debug, Default)]
pub(super) struct Tls {
    of_line: Option<TlsFiles>,
    read: Option<(TlsFiles, [Option<SystemTime>; 3])>,
}

impl TlsFiles {
    fn all(&self) -> [&Path; 3] {
        [&self.private_key, &self.certificate, &self.ca_cert]
    }

    fn authority(&self) -> Option<PathBuf> {
        (self.ca_cert != Path::new("none")).then(|| self.ca_cert.clone())
    }

    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which, in a line.
    pub fn load(&self) -> Result<Keys, String> {
        let options = TlsOptions {
            private_key: self.private_key.clone(),
            certificate: self.certificate.clone(),
            ca_certificate: self.authority(),
            bootstrap: self.bootstrap_ca_cert,
            peer_ca_certificate: Some(self.peer_ca_cert.clone()).filter(|file| !file.as_os_str().is_empty()),
        };
        let openflow = TlsConfig::load(&options).map_err(|e| e.to_string())?;
        let database = options.ca_certificate.is_some().then(|| openflow.clone());
        Ok(Keys { openflow, database })
    }
}

impl Tls {
    /// None read yet; those of the command line, if it names any.
    pub(super) fn new(of_line: Option<TlsFiles>) -> Tls {
        Tls { of_line, read: None }
    }

    /// The keys to use from now on, if these are others than before: of the database's files, or else of the command line's.
    pub(super) fn news(&mut self, of_database: Option<&TlsFiles>) -> Option<Keys> {
        let files = of_database.or(self.of_line.as_ref())?;
        let times = files.all().map(|file| file.metadata().and_then(|m| m.modified()).ok());
        let state = (files.clone(), times);
        if self.read.as_ref() == Some(&state) {
            return None;
        }
        let loaded = files.load();
        self.read = Some(state);
        loaded.inspect_err(|e| tracing::error!(target: "stream_ssl", "{e}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_are_told_once() {
        let files = TlsFiles { private_key: "/nonexistent".into(), ..TlsFiles::default() };
        assert!(files.load().unwrap_err().starts_with("/nonexistent: "));
        let mut tls = Tls::new(None);
        assert!(tls.news(None).is_none() && tls.read.is_none());
        assert!(tls.news(Some(&files)).is_none());
        assert!(tls.read.is_some());
    }
}
