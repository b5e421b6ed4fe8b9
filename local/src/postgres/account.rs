//! The user that the server runs as: Postgres refuses to run as root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Who the server's processes belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// We are not root: the server runs as we do.
    Ours,
    /// We are root: the server runs as this user.
    Unprivileged { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// `None` when we are root and the machine has no fitting user.
    ///
    /// The owner of an existing data directory wins, as no other user could open it.
    pub(super) fn choose(data: &Path) -> Option<Self> {
        if effective_uid() != Some(0) {
            return Some(Self::Ours);
        }
        if let Ok(meta) = fs::metadata(data)
            && meta.uid() != 0
        {
            let name = format!("uid {}", meta.uid());
            return Some(Self::Unprivileged {
                name,
                uid: meta.uid(),
                gid: meta.gid(),
            });
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        find(&passwd, "postgres").or_else(|| find(&passwd, "nobody"))
    }

    /// The first folder on the way to `path` that this account may not pass through.
    ///
    /// Looks at the mode bits only; an access control list may say otherwise, and then Postgres'
    /// own message tells.
    pub(super) fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        let Self::Unprivileged { uid, gid, .. } = self else {
            return None;
        };
        let mut folders: Vec<&Path> = path.ancestors().collect();
        folders.reverse();
        let blocked = folders
            .into_iter()
            .find(|folder| fs::metadata(folder).is_ok_and(|meta| !passable(&meta, *uid, *gid)))?;
        Some(blocked.to_owned())
    }
}

fn passable(meta: &fs::Metadata, uid: u32, gid: u32) -> bool {
    let execute = if meta.uid() == uid {
        0o100
    } else if meta.gid() == gid {
        0o010
    } else {
        0o001
    };
    meta.mode() & execute != 0
}

/// The kernel gives a process' own folder in /proc its effective user.
fn effective_uid() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|meta| meta.uid())
}

fn find(passwd: &str, user: &str) -> Option<Account> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(user))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account::Unprivileged {
        name: user.to_owned(),
        uid,
        gid,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n\
                          postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\n";

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let nobody = Account::Unprivileged {
            name: "nobody".into(),
            uid: 65534,
            gid: 65533,
        };
        assert_eq!(find(PASSWD, "nobody"), Some(nobody));
        assert_eq!(find(PASSWD, "nobod"), None);
        assert_eq!(find(PASSWD, "postgresql"), None);
    }

    #[test]
    fn a_folder_closed_to_others_blocks_them_and_not_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let closed = root.path().join("closed");
        fs::create_dir_all(closed.join("data")).unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let meta = fs::metadata(&closed).unwrap();
        let account = |uid| Account::Unprivileged {
            name: "x".into(),
            uid,
            gid: 60_001,
        };
        assert_eq!(
            account(60_001).blocked_at(&closed.join("data")),
            Some(closed.clone())
        );
        assert_eq!(account(meta.uid()).blocked_at(&closed.join("data")), None);
        assert_eq!(Account::Ours.blocked_at(&closed), None);
    }
}
