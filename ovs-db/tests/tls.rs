//! The client against a stock ovsdb-server by TLS: skipped where it or openssl is not installed.

#![cfg(feature = "tls")]

mod common;
#[path = "../../ovs-stream/tests/pki/mod.rs"]
mod pki;

use std::fs;
use std::path::Path;

use common::{Peer, Server};
use ovs_db::client::{Client, ClientOptions, Commit, Event, Monitor, Transaction};
use ovs_db::net::{TlsConfig, TlsError, TlsOptions};
use ovs_db::vswitch::{self, OpenVSwitch};
use pki::Pki;

fn credentials(pki: &Pki, name: &str, authority: &str) -> TlsConfig {
    TlsConfig::load(&pki.options(name, Some(authority))).unwrap()
}

fn load(private_key: &Path, certificate: &Path, authority: &Path) -> Result<TlsConfig, TlsError> {
    TlsConfig::load(&TlsOptions {
        private_key: private_key.into(),
        certificate: certificate.into(),
        ca_certificate: Some(authority.into()),
        ..TlsOptions::default()
    })
}

fn server(pki: &Pki) -> Option<(Server, String)> {
    let option = |name: &str, file: &str| format!("--{name}={}", pki.file(file).display());
    let server = Server::start_with(vec![
        "--remote=pssl:0:127.0.0.1".to_owned(),
        option("private-key", "server.key"),
        option("certificate", "server.pem"),
        option("ca-cert", "ca.pem"),
    ])?;
    let remote = format!("ssl:127.0.0.1:{}", server.port());
    Some((server, remote))
}

#[test]
fn a_database_is_followed_by_tls() {
    let Some(pki) = Pki::new("follow") else { return };
    pki.authority("ca");
    pki.identity("server", "ca");
    pki.identity("client", "ca");
    let Some((server, remote)) = server(&pki) else { return };
    let mut peer = Peer::of(&remote, Monitor::all(vswitch::schema()), ClientOptions::default());
    peer.driver.set_credentials(credentials(&pki, "client", "ca"));
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
    refused(Some(credentials(&pki, "client", "other")), "UnknownIssuer");
    refused(Some(credentials(&pki, "stranger", "ca")), "fatal alert");
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
