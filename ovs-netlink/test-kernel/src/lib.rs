//! Runs tests again inside a Linux kernel that has the openvswitch module.
//!
//! # What
//!
//! A test program has tests that need that module and change the network of the machine. They are marked as ignored; one
//! more test calls [`run_ignored_tests`], which boots each kernel that it finds as an ordinary process (User-Mode Linux),
//! and in there runs the program again with `--ignored`:
//!
//! ```no_run
//! #[test]
//! fn in_a_kernel() {
//!     ovs_test_kernel::run_ignored_tests();
//! }
//!
//! #[test]
//! #[ignore = "needs a kernel for tests: run by in_a_kernel"]
//! fn a_datapath() {
//!     let Some(kernel) = ovs_test_kernel::inside() else { return };
//!     // As root, and alone on the machine.
//! }
//! ```
//!
//! # Which kernels
//!
//! - `/usr/bin/linux.uml`, of Debian's package `user-mode-linux`, whose modules are loaded by `modprobe` (package `kmod`);
//! - the ones in `OVS_TEST_KERNELS`, a list of files separated by colons, which have all that they need built in.
//!
//! Without any, and where one does not boot, the reason is printed, and nothing is tested; when `OVS_TEST_KERNEL_NEEDED` is
//! set, that is a failure.
//!
//! # How
//!
//! The root file system of the kernel is that of the machine, read-only. Programs and libraries are therefore where they
//! were. `/run` is empty and may be written to; `TMPDIR` says so. The output of the tests comes over the console, and the
//! last line of it says how they ended.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long a kernel may run, in seconds: it boots in 1 to 5, and the longest of the test programs runs for 90 on a machine
/// with nothing else to do.
const TIME_LIMIT: &str = "900";
/// What a kernel has of memory.
const MEMORY: u64 = 320 << 20;
/// The line that says that the kernel runs.
const BOOTED: &str = "ovs-test-kernel: booted";
/// The line that says how the tests ended: this and a number.
const ENDED: &str = "ovs-test-kernel: status ";
/// Set in the kernel: its name.
const INSIDE: &str = "IN_KERNEL";
/// Where a machine has its modules that are not built in.
const MODULES: &str = "/usr/lib/uml/modules";
/// What Debian's kernel has to load.
const LOADED: &str = "openvswitch nf_conntrack_netlink nfnetlink_cttimeout psample veth dummy vxlan geneve ip_gre ip6_gre \
                      vport_gre vport_vxlan vport_geneve sch_htb sch_ingress nf_conntrack_ftp nf_nat_ftp";

/// The name of the kernel for tests that this program runs in, if it does.
pub fn inside() -> Option<String> {
    std::env::var(INSIDE).ok()
}

/// Boots each kernel that there is, and runs the ignored tests of this program in it, one after the other.
///
/// # Panics
/// When one of them fails; when nothing could be tested and `OVS_TEST_KERNEL_NEEDED` is set.
pub fn run_ignored_tests() {
    if inside().is_some() {
        return;
    }
    let kernels = kernels();
    let mut reasons = Vec::new();
    if kernels.is_empty() {
        reasons.push("no kernel for tests here (apt-get install user-mode-linux kmod)".to_owned());
    }
    for kernel in kernels {
        match run(&kernel) {
            Ok(output) => println!("{}:\n{output}", kernel.display()),
            Err(reason) => reasons.push(format!("{}: {reason}", kernel.display())),
        }
    }
    for reason in &reasons {
        println!("skipped: {reason}");
    }
    let needed = std::env::var_os("OVS_TEST_KERNEL_NEEDED").is_some();
    assert!(!needed || reasons.is_empty(), "not tested: {reasons:?}");
}

fn kernels() -> Vec<PathBuf> {
    let listed = std::env::var_os("OVS_TEST_KERNELS").unwrap_or_default();
    let packaged = [PathBuf::from("/usr/bin/linux.uml")].into_iter().filter(|kernel| kernel.exists());
    packaged.chain(std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty())).collect()
}

/// Runs the tests; gives their output, or why they could not run.
fn run(kernel: &Path) -> Result<String, String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let folder = std::env::temp_dir().join(format!("ovs-test-kernel-{}-{}", std::process::id(), name_of(kernel)));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(failed("a folder"))?;
    let program = std::env::current_exe().map_err(failed("this program"))?;
    let script = folder.join("init");
    std::fs::write(&script, init(kernel, &program, &folder)).map_err(failed("a script"))?;
    let made = Command::new("chmod").arg("+x").arg(&script).status().map_err(failed("chmod"))?;
    let output = Command::new("timeout")
        .args(["--signal=KILL", TIME_LIMIT])
        .arg(kernel)
        .arg(format!("mem={}M", MEMORY >> 20))
        .arg(format!("uml_dir={}", folder.display()))
        .args(["root=none", "rootfstype=hostfs", "rootflags=/", "ro", "con=null", "con0=null,fd:1"])
        .args(["quiet", "loglevel=0", "panic=-1", "seccomp=auto", "ncpus=2"])
        .arg(format!("init={}", script.display()))
        // Memory is a file there: in a file system that has room for it.
        .env("TMPDIR", memory_folder())
        .stdin(Stdio::null())
        .output();
    let _ = std::fs::remove_dir_all(&folder);
    let output = output.map_err(failed("timeout"))?;
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let Some((_, tests)) = text.split_once(BOOTED) else {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("does not boot ({}, {made}): {text} {words}", output.status));
    };
    let (tests, status) = tests.split_once(ENDED).unwrap_or((tests, "none: the kernel died, or was too slow"));
    let status = status.lines().next().unwrap_or_default();
    assert!(status == "0", "tests in {} failed, status {status}:\n{tests}", kernel.display());
    Ok(tests.trim().to_owned())
}

fn name_of(kernel: &Path) -> String {
    kernel.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(target_os = "linux")]
fn memory_folder() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(shared).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    if room > MEMORY { shared.to_owned() } else { std::env::temp_dir() }
}

#[cfg(not(target_os = "linux"))]
fn memory_folder() -> PathBuf {
    std::env::temp_dir()
}

/// The script that is the first process.
fn init(kernel: &Path, program: &Path, folder: &Path) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    let modules = if kernel == Path::new("/usr/bin/linux.uml") {
        // `modprobe` looks for lib/modules/VERSION.
        format!(
            "mkdir -p /run/m/lib/modules; ln -s {MODULES}/* /run/m/lib/modules/\n\
             for module in {LOADED}; do modprobe -q -d /run/m $module; done\n"
        )
    } else {
        String::new()
    };
    let working = std::env::current_dir().unwrap_or_else(|_| folder.to_owned());
    format!(
        "#!/bin/sh\n\
         export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run {INSIDE}={name} RUST_BACKTRACE=0\n\
         exec </dev/null >/dev/console 2>&1\n\
         mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run\n\
         mount -t devtmpfs dev /dev 2>/dev/null\n\
         exec </dev/null >/dev/console 2>&1\n\
         mkdir -p /run/netns\n\
         {modules}\
         cd {working}\n\
         echo '{BOOTED}'\n\
         {program} --ignored --nocapture --test-threads=1\n\
         echo \"{ENDED}$?\"\n\
         sync; echo o >/proc/sysrq-trigger; sleep 5\n",
        name = name_of(kernel),
        working = quoted(&working),
        program = quoted(program),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_quotes_paths_and_loads_modules_where_they_are_not_built_in() {
        let program = Path::new("/a b/it's");
        let script = init(Path::new("/usr/bin/linux.uml"), program, Path::new("/tmp"));
        assert!(script.contains("'/a b/it'\\''s' --ignored --nocapture --test-threads=1\n"), "{script}");
        assert!(script.contains("modprobe") && script.contains("IN_KERNEL=linux.uml"), "{script}");
        assert!(!init(Path::new("/elsewhere/linux"), program, Path::new("/tmp")).contains("modprobe"));
    }

    #[test]
    fn what_is_no_kernel_does_not_boot() {
        let reason = run(Path::new("/bin/false")).unwrap_err();
        assert!(reason.contains("does not boot"), "{reason}");
    }
}
