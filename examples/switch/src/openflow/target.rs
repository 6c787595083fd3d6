//! Where controllers are, and which of the places that a database may name are used.

use std::path::{Component, Path, PathBuf};

use ovs_ofproto::session::{Endpoint, ListenOn};

/// A place that a bridge speaks OpenFlow with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Connect(Endpoint),
    Listen(ListenOn),
}

/// The place of a controller's target.
///
/// The database may be another machine's: sockets in the file system are allowed only where nothing can be overwritten or
/// reached that is not meant for it, unless `is_confined` is false.
pub(super) fn place(target: &str, bridge: &str, folder: &Path, is_confined: bool) -> Result<Place, String> {
    let shown = folder.display();
    if let Some(file) = target.strip_prefix("punix:") {
        let allowed = normal(Path::new(file)).filter(|f| {
            let name = f.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            f.parent() == Some(folder) && name.starts_with(&format!("{bridge}."))
        });
        if is_confined && allowed.is_none() {
            return Err(format!(
                "bridge {bridge}: Not adding Unix domain socket controller \"{target}\" due to possibility of \
                 overwriting local files. Instead, specify path in permitted format \"punix:{shown}/{bridge}.*\" or \
                 connect to \"unix:{shown}/{bridge}.mgmt\" (which is always available without special configuration)."
            ));
        }
        return Ok(Place::Listen(ListenOn::Unix(folder.join(file))));
    }
    if let Some(file) = target.strip_prefix("unix:") {
        let is_in_folder = !file.contains('/') || normal(Path::new(file)).is_some_and(|f| f.starts_with(folder));
        if is_confined && !is_in_folder {
            return Err(format!(
                "bridge {bridge}: Not connecting to socket controller \"{target}\" due to possibility for remote \
                 exploit.  Instead, specify socket in permitted directory \"unix:{shown}/\" or connect to \
                 \"unix:{shown}/{bridge}.mgmt\" (which is always available without special configuration)."
            ));
        }
        return Ok(Place::Connect(Endpoint::Unix(folder.join(file))));
    }
    if let Ok(place) = target.parse::<ListenOn>() {
        return Ok(Place::Listen(place));
    }
    target.parse().map(Place::Connect).map_err(|e| format!("bridge {bridge}: controller \"{target}\": {e}"))
}

/// A path without `.`; nothing if it has `..`, or is relative and more than a name.
fn normal(path: &Path) -> Option<PathBuf> {
    if path.components().any(|c| c == Component::ParentDir) {
        return None;
    }
    Some(path.components().filter(|c| *c != Component::CurDir).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_where_they_may_be() {
        let place = |target: &str| place(target, "br0", Path::new("/run"), true);
        assert_eq!(place("punix:/run/br0.void"), Ok(Place::Listen(ListenOn::Unix("/run/br0.void".into()))));
        assert_eq!(place("unix:controller"), Ok(Place::Connect(Endpoint::Unix("/run/controller".into()))));
        assert_eq!(place("unix:/run/x/y"), Ok(Place::Connect(Endpoint::Unix("/run/x/y".into()))));
        for bad in
            ["punix:/run/br0.void/../file", "punix:/run/br1.void", "punix:/etc/br0.x", "unix:/etc/x", "unix:../x"]
        {
            assert!(place(bad).is_err(), "{bad}");
        }
        assert!(matches!(place("ptcp:0"), Ok(Place::Listen(ListenOn::Tcp { .. }))));
        assert!(matches!(place("tcp:192.0.2.1"), Ok(Place::Connect(Endpoint::Tcp { .. }))));
        assert!(place("telephone:5").is_err());
        assert!(super::place("punix:/etc/x", "br0", Path::new("/run"), false).is_ok());
    }
}
