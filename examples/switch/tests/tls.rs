//! `ovs-vswitchd` whose controllers and database are spoken to by TLS. Skipped where stock tools or openssl are missing.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::world::{World, in_folder, spawn, wait_until};

/// An authority and what it signed, in a folder: `ca.pem`, `switch.key`, `switch.pem`, `other.key`, `other.pem`; and
/// one that it did not.
fn make_keys(folder: &Path) -> bool {
    let run = |words: &str| {
        let mut command = Command::new("openssl");
        let done =
            command.args(words.split(' ')).current_dir(folder).stderr(Stdio::null()).stdout(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    if !run("version") {
        eprintln!("skipped: openssl is not installed");
        return false;
    }
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    assert!(run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 3")));
    assert!(run(&format!("req -x509 {key} -keyout stranger.key -out stranger.pem -subj /CN=stranger -days 3")));
    std::fs::write(folder.join("ext"), "basicConstraints=CA:FALSE\n").unwrap();
    for name in ["switch", "other"] {
        assert!(run(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}")));
        let by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 3 -extfile ext";
        assert!(run(&format!("x509 -req -in {name}.csr -out {name}.pem {by}")));
    }
    true
}

#[test]
fn controllers_by_tls_with_keys_of_the_database() {
    let Some(world) = World::new(&["--enable-dummy"]) else { return };
    if !make_keys(&world.folder) {
        return;
    }
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy -- set-controller br0 pssl:0:127.0.0.1");
    wait_until("what cannot be is told", || world.vsctl("--columns=status list controller").contains("listen failed"));
    let file = |name: &str| world.folder.join(name).display().to_string();
    world.vsctl(&format!("set-ssl {} {} {}", file("switch.key"), file("switch.pem"), file("ca.pem")));
    let mut port = String::new();
    wait_until("it listens", || {
        let log = world.log();
        let Some((_, rest)) = log.rsplit_once("0:127.0.0.1: listening on port ") else { return false };
        port = rest.lines().next().unwrap_or_default().to_string();
        true
    });
    let target = format!("ssl:127.0.0.1:{port}");
    let keys = ["-p", &file("other.key"), "-c", &file("other.pem"), "-C", &file("ca.pem")];
    let shown = world.ok("ovs-ofctl", &[&keys[..], &["show", &target]].concat());
    assert!(shown.contains("LOCAL(br0)"), "{shown}");
    // Whoever has no key of the authority is not heard.
    let stranger = ["-p", &file("stranger.key"), "-c", &file("stranger.pem"), "-C", &file("ca.pem"), "show", &target];
    assert!(!world.run("ovs-ofctl", &stranger).status.success());
    // Files that are none are told; the keys that there are stay.
    std::fs::write(world.folder.join("other.pem.bad"), "no key").unwrap();
    world.vsctl(&format!("set-ssl {} {} {}", file("switch.key"), file("other.pem.bad"), file("ca.pem")));
    wait_until("that is told", || world.log().contains("other.pem.bad: no certificate in PEM form"));
    world.ok("ovs-ofctl", &[&keys[..], &["show", &target]].concat());
}

fn file(world: &World, name: &str) -> String {
    world.folder.join(name).display().to_string()
}

/// Ends the switch, and has the database listen by TLS: where.
fn serve_by_tls(world: &mut World, more: &[String]) -> String {
    world.daemon.kill().unwrap();
    world.daemon.wait().unwrap();
    world.server.kill().unwrap();
    world.server.wait().unwrap();
    let log = world.folder.join("server.log");
    let mut server = Command::new("ovsdb-server");
    server.arg(world.folder.join("conf.db")).arg(format!("--remote=punix:{}", file(world, "db.sock")));
    server.args(["--remote=pssl:0:127.0.0.1", &format!("--log-file={}", log.display())]).args(more);
    server.args(["-p", &file(world, "other.key"), "-c", &file(world, "other.pem"), "-C", &file(world, "ca.pem")]);
    world.server = spawn(None, in_folder(&mut server, &world.folder));
    let mut port = String::new();
    wait_until("the server listens", || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let Some((_, rest)) = log.rsplit_once("listening on port ") else { return false };
        port = rest.lines().next().unwrap_or_default().to_string();
        true
    });
    format!("ssl:127.0.0.1:{port}")
}

#[test]
fn a_database_by_tls_with_keys_of_the_command_line() {
    let Some(mut world) = World::new(&["--enable-dummy"]) else { return };
    if !make_keys(&world.folder) {
        return;
    }
    let remote = serve_by_tls(&mut world, &[]);
    let keys = ["switch.key", "switch.pem", "ca.pem"].map(|name| file(&world, name));
    world.start_daemon(&["--enable-dummy", "-p", &keys[0], "-c", &keys[1], "-C", &keys[2], &remote]);
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    assert_eq!(world.appctl(&["ofproto/list"]), "br0\n");
}

#[test]
fn a_database_whose_authority_is_taken_from_it() {
    let Some(mut world) = World::new(&["--enable-dummy"]) else { return };
    if !make_keys(&world.folder) {
        return;
    }
    let shows = format!("--peer-ca-cert={}", file(&world, "ca.pem"));
    let remote = serve_by_tls(&mut world, &[shows]);
    let keys = ["switch.key", "switch.pem"].map(|name| file(&world, name));
    let taken = format!("--bootstrap-ca-cert={}", file(&world, "taken.pem"));
    world.start_daemon(&["--enable-dummy", "-p", &keys[0], "-c", &keys[1], &taken, &remote]);
    world.vsctl("add-br br0 -- set bridge br0 datapath_type=dummy");
    assert!(world.log().contains("taken.pem: taken from the peer"), "{}", world.log());
    assert!(
        std::fs::read_to_string(world.folder.join("taken.pem")).unwrap().starts_with("-----BEGIN CERTIFICATE-----")
    );
}
