//! The client against a stock ovsdb-server by TLS: skipped where it or openssl is not installed.

#![cfg(feature = "tls")]

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use common::{Peer, Server};
use ovs_db::client::{Client, ClientOptions, Commit, Event, Monitor, Transaction};
use ovs_db::net::{TlsConfig, TlsError, TlsOptions};
use ovs_db::vswitch::{self, OpenVSwitch};

/// Authorities, keys and certificates, gone with the value.
struct Pki(PathBuf);

impl Pki {
    fn new(name: &str) -> Option<Pki> {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: openssl is not installed");
            return None;
        }
        let folder = env::temp_dir().join(format!("ovs-db-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Some(Pki(folder))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn authority(&self, name: &str) {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        self.openssl(&format!("req -x509 {key} -keyout {name}.key -out {name}.pem -subj /CN={name} -days 2"));
    }

    /// A key, and a certificate for it that names no host.
    fn identity(&self, name: &str, authority: &str) {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        self.openssl(&format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN=id:{name}"));
        fs::write(self.file("ext"), "basicConstraints=CA:FALSE\n").unwrap();
        let by = format!("-CA {authority}.pem -CAkey {authority}.key -CAcreateserial");
        self.openssl(&format!("x509 -req -in {name}.csr {by} -out {name}.pem -days 2 -extfile ext"));
    }

    fn credentials(&self, name: &str, authority: &str) -> Result<TlsConfig, TlsError> {
        let file = |end: &str| self.file(&format!("{name}.{end}"));
        load(&file("key"), &file("pem"), &self.file(&format!("{authority}.pem")))
    }
}

fn load(private_key: &Path, certificate: &Path, authority: &Path) -> Result<TlsConfig, TlsError> {
    TlsConfig::load(&TlsOptions {
        private_key: private_key.into(),
        certificate: certificate.into(),
        ca_certificate: Some(authority.into()),
        ..TlsOptions::default()
    })
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn server(pki: &Pki) -> Option<(Server, String)> {
    // Free a moment ago, and not given to anyone else so soon.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let option = |name: &str, file: &str| format!("--{name}={}", pki.file(file).display());
    let server = Server::start_with(vec![
        format!("--remote=pssl:{port}:127.0.0.1"),
        option("private-key", "server.key"),
        option("certificate", "server.pem"),
        option("ca-cert", "ca.pem"),
    ])?;
    Some((server, format!("ssl:127.0.0.1:{port}")))
}

#[test]
fn a_database_is_followed_by_tls() {
    let Some(pki) = Pki::new("follow") else { return };
    pki.authority("ca");
    pki.identity("server", "ca");
    pki.identity("client", "ca");
    let Some((server, remote)) = server(&pki) else { return };
    let mut peer = Peer::of(&remote, Monitor::all(vswitch::schema()), ClientOptions::default());
    peer.driver.set_credentials(pki.credentials("client", "ca").unwrap());
    peer.until("following", Client::is_following);
    // More than the buffers of TLS hold at once.
    let long = "x".repeat(1 << 20);
    let mut txn = Transaction::new();
    let root = txn.insert::<OpenVSwitch>();
    txn.set(root, OpenVSwitch::OTHER_CONFIG, [("long", long.as_str())]);
    assert!(matches!(peer.client().commit(&txn), Commit::Sent(_)));
    let has = |client: &Client| {
        client
            .replica()
            .single::<OpenVSwitch>()
            .is_some_and(|row| row.get(OpenVSwitch::OTHER_CONFIG).get("long").is_some_and(|text| text.len() == 1 << 20))
    };
    peer.until("the row is there", has);
    let mut plain = Peer::all(&server);
    plain.until("the row is there", has);
}

#[test]
fn who_is_not_trusted_is_not_spoken_to() {
    let Some(pki) = Pki::new("trust") else { return };
    for authority in ["ca", "other"] {
        pki.authority(authority);
    }
    pki.identity("server", "ca");
    pki.identity("client", "ca");
    pki.identity("stranger", "other");
    let Some((_server, remote)) = server(&pki) else { return };
    let refused = |credentials: Option<TlsConfig>, why: &str| {
        let mut peer = Peer::of(&remote, Monitor::all(vswitch::schema()), ClientOptions::default());
        if let Some(credentials) = credentials {
            peer.driver.set_credentials(credentials);
        }
        peer.until("refused", |client| client.session().last_error().is_some());
        let client = peer.client();
        let events: Vec<Event> = std::iter::from_fn(|| client.poll_event()).collect();
        let says = |event: &Event| matches!(event, Event::Disconnected { reason, .. } if reason.contains(why));
        assert!(events.iter().any(says), "{events:?}");
        assert!(!client.is_loaded());
    };
    refused(pki.credentials("client", "other").ok(), "UnknownIssuer");
    refused(pki.credentials("stranger", "ca").ok(), "fatal alert");
    refused(None, "TLS needs a private key");
}

#[test]
fn credentials_that_are_of_no_use_are_named() {
    let Some(pki) = Pki::new("files") else { return };
    pki.authority("ca");
    pki.identity("client", "ca");
    let file = |name: &str| pki.file(name);
    let error =
        |key: &Path, certificate: &Path, authority: &Path| load(key, certificate, authority).unwrap_err().to_string();
    let (key, certificate, authority) = (file("client.key"), file("client.pem"), file("ca.pem"));
    assert!(error(&file("none"), &certificate, &authority).starts_with(&file("none").display().to_string()));
    assert!(error(&key, &key, &authority).ends_with("client.key: no certificate in PEM form"));
    assert!(error(&certificate, &certificate, &authority).contains("client.pem: "));
    fs::write(file("garbage"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    assert!(error(&key, &certificate, &file("garbage")).contains("garbage: "));
    assert!(!error(&file("ca.key"), &certificate, &authority).is_empty(), "the key of another certificate");
}
