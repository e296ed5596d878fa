//! What is left of the kernel's inotify instances for this user: systemd, containerd and the kubelet of every node take
//! some, and a machine's default of 128 is enough for only a few clusters side by side.

use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;

/// What a node with its pods takes (26 without any workload), and some more.
const OF_A_NODE: usize = 40;

/// A sentence on what is left where a node may need more; `None` where it is enough, or nobody tells.
pub fn shortage() -> Option<String> {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").ok()?.trim().parse().ok()?;
    shortage_of(limit, used(Utf8Path::new("/proc"))?)
}

fn shortage_of(limit: usize, used: usize) -> Option<String> {
    let left = limit.saturating_sub(used);
    (left < OF_A_NODE).then(|| {
        format!(
            "of the {limit} inotify instances that one user may have {left} are left, and a node takes up to {OF_A_NODE}: \
             raise the limit by `sysctl fs.inotify.max_user_instances=1024`"
        )
    })
}

/// How many instances the processes of this process's user have, as the links of their open files tell.
fn used(proc: &Utf8Path) -> Option<usize> {
    let own = std::fs::metadata(proc.join("self")).ok()?.uid();
    let mut used = 0;
    for process in proc.read_dir_utf8().ok()?.flatten() {
        let numbered = process.file_name().bytes().all(|byte| byte.is_ascii_digit());
        // A process may end at any time.
        if !numbered || process.metadata().map_or(true, |folder| folder.uid() != own) {
            continue;
        }
        let Ok(files) = process.path().join("fd").read_dir() else { continue };
        let links = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        used += links.filter(|link| link.as_os_str() == "anon_inode:inotify").count();
    }
    Some(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_little_left_is_told_of_and_another_is_not() {
        let said = shortage_of(128, 100).unwrap();
        assert!(said.contains("128") && said.contains("28 are left") && said.contains("sysctl"), "{said}");
        assert_eq!((shortage_of(128, 2), shortage_of(1024, 900)), (None, None));
        assert!(shortage_of(128, 300).unwrap().contains(" 0 are left"), "root's processes may have more");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn instances_are_counted_by_the_links_of_open_files() {
        let dir = tempfile::tempdir().unwrap();
        let proc = Utf8Path::from_path(dir.path()).unwrap();
        for (process, links) in [
            ("7", &["anon_inode:inotify", "/dev/null"][..]),
            ("8", &["anon_inode:inotify"]),
            ("sys", &["anon_inode:inotify"]),
        ] {
            std::fs::create_dir_all(proc.join(process).join("fd")).unwrap();
            for (number, link) in links.iter().enumerate() {
                std::os::unix::fs::symlink(link, proc.join(process).join("fd").join(number.to_string())).unwrap();
            }
        }
        std::os::unix::fs::symlink("7", proc.join("self")).unwrap();
        assert_eq!(used(proc), Some(2));
    }
}
