//! Keys and certificates for tests, which openssl makes.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, process};

use ovs_stream::net::TlsOptions;

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// Authorities, keys and certificates in a folder of their own, gone with the value.
pub(crate) struct Pki(PathBuf);

impl Pki {
    /// Nothing where openssl is not installed.
    pub(crate) fn new(name: &str) -> Option<Pki> {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: openssl is not installed");
            return None;
        }
        let folder = env::temp_dir().join(format!("{}-tls-{name}-{}", env!("CARGO_PKG_NAME"), process::id()));
        fs::create_dir_all(&folder).unwrap();
        Some(Pki(folder))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes an authority.
    pub(crate) fn authority(&self, name: &str) {
        self.openssl(&format!("req -x509 {KEY} -keyout {name}.key -out {name}.pem -subj /CN={name} -days 2"));
    }

    /// Makes a key, and a certificate for it that names no host.
    pub(crate) fn identity(&self, name: &str, authority: &str) {
        self.openssl(&format!("req -new {KEY} -keyout {name}.key -out {name}.csr -subj /CN=id:{name}"));
        fs::write(self.file("ext"), "basicConstraints=CA:FALSE\n").unwrap();
        let by = format!("-CA {authority}.pem -CAkey {authority}.key -CAcreateserial");
        self.openssl(&format!("x509 -req -in {name}.csr {by} -out {name}.pem -days 2 -extfile ext"));
    }

    /// What an end is told that is `name` and trusts who an authority signs for.
    pub(crate) fn options(&self, name: &str, authority: Option<&str>) -> TlsOptions {
        TlsOptions {
            private_key: self.file(&format!("{name}.key")),
            certificate: self.file(&format!("{name}.pem")),
            ca_certificate: authority.map(|authority| self.file(&format!("{authority}.pem"))),
            ..TlsOptions::default()
        }
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
