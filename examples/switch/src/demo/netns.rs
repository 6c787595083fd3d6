//! Network namespaces without names: a host, or a whole network, that exists only in this process.
//!
//! `ip netns add` leaves a file behind that somebody has to remove. A [`Namespace`] is a descriptor instead: the kernel
//! removes the namespace, with all links and addresses in it, when nothing refers to it any more. So whatever way the
//! process ends, `SIGKILL` included, nothing is left on the machine.
//!
//! What refers to a namespace: the [`Namespace`] itself, sockets that were opened in it (a packet socket, a TCP
//! connection), threads that were started from within [`Namespace::run`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::links::{LinkError, Links};

/// Why there is no namespace, or no way into it. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// The process may not make namespaces.
    #[error(
        "network namespaces need root or the capability CAP_SYS_ADMIN; the demo can run over in-memory ports instead"
    )]
    NotPermitted,
    /// The loopback interface did not come up.
    #[error("loopback of a new network namespace: {0}")]
    Loopback(#[source] Box<LinkError>),
    /// The system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// A network namespace of its own: no interface but loopback, which is up.
///
/// ```
/// use std::net::TcpListener;
/// use ovs_switch::demo::netns::{Namespace, NamespaceError};
///
/// let host = match Namespace::new() {
///     Ok(host) => host,
///     Err(NamespaceError::NotPermitted) => return, // not root
///     Err(e) => panic!("{e}"),
/// };
/// let listener = host.run(|| TcpListener::bind("127.0.0.1:80")).unwrap().unwrap();
/// // A socket stays where it was opened, whoever uses it.
/// println!("{:?} in a private network", listener.local_addr());
/// ```
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
}

impl Namespace {
    /// A new namespace.
    ///
    /// # Errors
    /// If the process has no `CAP_SYS_ADMIN`, or the system refuses (a limit on namespaces, no `/proc`).
    pub fn new() -> Result<Namespace, NamespaceError> {
        let made = on_thread(|| {
            sys::unshare_network().map_err(|e| refused("unshare", e))?;
            let fd = File::open("/proc/thread-self/ns/net").map_err(|e| refused("/proc/thread-self/ns/net", e))?;
            Ok(Namespace { fd: fd.into() })
        })?;
        let namespace = made?;
        let loopback = |e| NamespaceError::Loopback(Box::new(e));
        Links::open(&namespace).map_err(loopback)?.set_up("lo").map_err(loopback)?;
        Ok(namespace)
    }

    /// Runs `work` in the namespace, on a thread made for it, and returns what it returns.
    ///
    /// Sockets that `work` opens stay in the namespace when they are handed out; so do threads that it starts. Calls
    /// from several threads run side by side.
    ///
    /// # Errors
    /// If the thread cannot be made, or may not enter the namespace (capabilities were dropped meanwhile). `work` was
    /// not called then.
    ///
    /// # Panics
    /// As `work` does.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, NamespaceError> {
        on_thread(|| {
            move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| refused("entering a network namespace", e.into()))?;
            Ok(work())
        })?
    }
}

impl AsFd for Namespace {
    /// What names the namespace to the kernel, as in the request to move a link there.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Runs `work` on a thread of its own, whose namespace is its own affair, and hands a panic on.
fn on_thread<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, NamespaceError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|source| NamespaceError::System { what: "starting a thread", source })?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn refused(what: &'static str, source: io::Error) -> NamespaceError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => NamespaceError::NotPermitted,
        _ => NamespaceError::System { what, source },
    }
}

#[allow(unsafe_code, reason = "unshare is unsafe for a flag that is not used here")]
mod sys {
    use std::io;

    use rustix::thread::{UnshareFlags, unshare_unsafe};

    /// Moves the calling thread into a new network namespace.
    pub(super) fn unshare_network() -> io::Result<()> {
        // SAFETY:
        // 1. The condition concerns `UnshareFlags::FILES`, which would split the table of descriptors: the flag is
        //    not given.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET)? };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A namespace, or `None` with the reason printed if this process may not have one.
    fn namespace() -> Option<Namespace> {
        Namespace::new().inspect_err(|e| eprintln!("skipped: {e}")).ok()
    }

    #[test]
    fn each_has_a_loopback_of_its_own() {
        let (Some(a), Some(b)) = (namespace(), namespace()) else { return };
        let listener = a.run(|| TcpListener::bind("127.0.0.1:80")).unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        assert!(a.run(|| TcpStream::connect(address)).unwrap().is_ok());
        let refused = b.run(|| TcpStream::connect(address)).unwrap().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(b.run(|| thread::spawn(move || TcpListener::bind(address)).join().unwrap()).unwrap().is_ok());
    }

    #[test]
    fn what_runs_inside_may_borrow_and_panic() {
        let Some(a) = namespace() else { return };
        let mut seen = Vec::new();
        a.run(|| seen.push(1)).unwrap();
        assert_eq!(seen, [1]);
        let panicked = std::panic::catch_unwind(|| a.run(|| panic!("inside")));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"inside"));
    }

    #[test]
    fn the_refusal_is_one_line_with_a_way_out() {
        let text = refused("unshare", io::ErrorKind::PermissionDenied.into()).to_string();
        assert_eq!(
            text,
            "network namespaces need root or the capability CAP_SYS_ADMIN; the demo can run over in-memory ports instead"
        );
    }
}
