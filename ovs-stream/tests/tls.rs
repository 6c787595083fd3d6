//! Two ends by TLS, in one thread. Skipped where openssl, which makes the keys, is not installed.

mod pki;

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use ovs_stream::net::{Interest, Listener, Stream, StreamOptions, TlsConfig, TlsOptions, wait_for};
use pki::Pki;

/// Enough for anything here on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

type Endpoint = ovs_stream::Endpoint<1>;
type ListenOn = ovs_stream::ListenOn<1>;

/// An authority `ca` that signs for `one` and `two`, and an `other` that does for a `stranger`.
fn known(name: &str) -> Option<Pki> {
    let pki = Pki::new(name)?;
    for (authority, names) in [("ca", &["one", "two"][..]), ("other", &["stranger"])] {
        pki.authority(authority);
        names.iter().for_each(|name| pki.identity(name, authority));
    }
    Some(pki)
}

fn with(options: &TlsOptions) -> StreamOptions {
    StreamOptions { tls: Some(TlsConfig::load(options).unwrap()), ..StreamOptions::default() }
}

fn listen(options: &StreamOptions) -> (Listener, Endpoint) {
    let listener = Listener::bind(&"pssl:0:127.0.0.1".parse::<ListenOn>().unwrap(), options).unwrap();
    let port = listener.address().unwrap().port();
    (listener, Endpoint::Ssl { host: "127.0.0.1".into(), port })
}

/// Both ends, once each knows the other; or why not.
fn meet(listener: &Listener, place: &Endpoint, client: &StreamOptions) -> Result<(Stream, Stream), String> {
    let text = |error: io::Error| error.to_string();
    let mut client = Stream::connect(place, client).map_err(text)?;
    let mut server = None;
    let (mut met, began) = ([false; 2], Instant::now());
    while met != [true; 2] {
        assert!(began.elapsed() < PATIENCE, "they do not meet");
        met[0] = client.finish_connecting().map_err(text)?;
        match &mut server {
            None => server = listener.accept().map_err(text)?,
            Some(server) => met[1] = server.finish_connecting().map_err(text)?,
        }
    }
    Ok((client, server.unwrap()))
}

/// What one end has for us, waited for: even on loopback it may come a while after it was sent, and in parts.
fn hear(end: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match end.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let ready = wait_for([(end.as_fd(), Interest { read: true, write: false })], Some(PATIENCE))?;
                assert!(ready.has(&*end), "nothing comes");
            }
            heard => return heard,
        }
    }
}

fn converse(ends: (Stream, Stream)) {
    let (mut client, mut server) = ends;
    // More than the buffers of TLS hold at once.
    let said: Vec<u8> = (0..1 << 20).map(|at: u32| (at >> 4) as u8).collect();
    let (mut sent, mut heard, mut buffer) = (0, Vec::new(), [0; 4096]);
    while heard.len() < said.len() {
        match client.write(&said[sent..]) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        let _ = client.flush();
        while let Ok(count) = server.read(&mut buffer) {
            heard.extend_from_slice(&buffer[..count]);
        }
    }
    assert!(heard == said);
    // The answer is read, and with it what the server said before it of later sessions: or else the end would be a reset.
    assert_eq!(server.write(b"heard").unwrap(), 5);
    server.flush().unwrap();
    assert_eq!(hear(&mut client, &mut buffer).unwrap(), 5);
    drop(client);
    assert_eq!(hear(&mut server, &mut buffer).unwrap(), 0);
}

#[test]
fn each_end_shows_who_it_is() {
    let Some(pki) = known("trust") else { return };
    let (listener, place) = listen(&with(&pki.options("one", Some("ca"))));
    converse(meet(&listener, &place, &with(&pki.options("two", Some("ca")))).unwrap());
    // Who does not care whom it speaks to must still show who it is itself.
    converse(meet(&listener, &place, &with(&pki.options("two", None))).unwrap());
    for (name, authority) in [("stranger", Some("ca")), ("stranger", None), ("two", Some("other"))] {
        assert!(meet(&listener, &place, &with(&pki.options(name, authority))).is_err(), "{name} {authority:?}");
    }
}

#[test]
fn an_authority_is_taken_from_the_first_peer_and_kept() {
    let Some(pki) = known("bootstrap") else { return };
    let shows = TlsOptions { peer_ca_certificate: Some(pki.file("ca.pem")), ..pki.options("one", Some("ca")) };
    let (listener, place) = listen(&with(&shows));
    let taken = pki.file("taken.pem");
    let bootstrap = |name| TlsOptions { bootstrap: true, ..pki.options(name, Some("taken")) };
    let client = with(&bootstrap("two"));

    // Meanwhile nobody who connects to us is trusted.
    let (waiting, waiting_at) = listen(&client);
    let known = with(&pki.options("one", Some("ca")));
    assert!(meet(&waiting, &waiting_at, &known).unwrap_err().contains("no authority is known yet"));

    // A server that shows its own certificate alone says nothing of its authority.
    let (silent, silent_at) = listen(&known);
    assert!(meet(&silent, &silent_at, &client).unwrap_err().contains("did not sign for it"));
    assert!(!taken.exists());

    assert!(meet(&listener, &place, &client).unwrap_err().contains("taken from the peer"));
    assert_eq!(fs::metadata(&taken).unwrap().permissions().mode() & 0o777, 0o444);
    let decoded = |file| Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(file).output().unwrap();
    assert_eq!(decoded(taken.clone()).stdout, decoded(pki.file("ca.pem")).stdout);

    // From now on it is as any other file, for those that are there and for new ones, in both directions.
    converse(meet(&listener, &place, &client).unwrap());
    converse(meet(&listener, &place, &with(&bootstrap("two"))).unwrap());
    converse(meet(&waiting, &waiting_at, &known).unwrap());
    let (false_one, false_at) = listen(&with(&pki.options("stranger", Some("ca"))));
    assert!(meet(&false_one, &false_at, &client).is_err());
}
