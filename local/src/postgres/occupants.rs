//! What already runs where a cluster wants to: in its data directory, on its port.

use std::fs;
use std::path::{Path, PathBuf};

/// The processes that work in this data directory: the postmaster and its children, whose current
/// directory it is. That, unlike the number in `postmaster.pid`, cannot be mistaken after a crash
/// or a restart of the machine, when another program may have got the same number.
///
/// Linux only; elsewhere it is empty and Postgres' own check of its lock file has to do.
pub(super) fn of_directory(data: &Path) -> Vec<u32> {
    let Ok(data) = data.canonicalize() else {
        return Vec::new();
    };
    let works_there =
        |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|it| it == data);
    processes().filter(works_there).collect()
}

/// Whether any process has this number now.
pub(super) fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Names who listens on a TCP port, as far as the kernel tells us.
pub(super) fn of_port(port: u16) -> String {
    let Some(inode) = listening_inode(port) else {
        return "another process".to_owned();
    };
    let Some(pid) = processes().find(|pid| holds_socket(*pid, &inode)) else {
        return "a process of another user".to_owned();
    };
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} (pid {pid})", name.trim())
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn listening_inode(port: u16) -> Option<String> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| inode_in(&fs::read_to_string(table).ok()?, port))
}

/// See proc(5): `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`, numbers
/// in hex, state 0A is LISTEN.
fn inode_in(table: &str, port: u16) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let listens = u16::from_str_radix(local_port, 16) == Ok(port) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).map(ToString::to_string))?
    })
}

fn holds_socket(pid: u32, inode: &str) -> bool {
    let socket = PathBuf::from(format!("socket:[{inode}]"));
    let files = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    files
        .into_iter()
        .any(|file| fs::read_link(file.path()).is_ok_and(|it| it == socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process;

    use super::*;

    #[test]
    fn the_owner_of_a_port_is_named_with_its_pid() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let owner = of_port(listener.local_addr().unwrap().port());
        assert!(
            owner.ends_with(&format!("(pid {})", process::id())),
            "{owner}"
        );
    }

    #[test]
    fn a_connected_socket_on_the_port_is_not_its_listener() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1539 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 20 4 30 10 -1\n   \
             1: 0100007F:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1 0 100 0 0 10 0\n";
        assert_eq!(inode_in(table, 5433), Some("22".to_owned()));
        assert_eq!(inode_in(table, 5434), None);
    }

    #[test]
    fn the_current_directory_tells_who_works_there() {
        let here = std::env::current_dir().unwrap();
        assert!(of_directory(&here).contains(&process::id()));
        assert!(!of_directory(&here.join("src")).contains(&process::id()));
    }
}
