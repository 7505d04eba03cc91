//! Finds the certificate that Laravel Herd or Valet made for a host name of this machine, as Reverb does.

use std::path::{Path, PathBuf};

/// Where they keep them, below the user's folder.
const FOLDERS: [&str; 3] = [
    "Library/Application Support/Herd/config/valet/Certificates",
    ".config/herd/config/valet/Certificates",
    ".config/valet/Certificates",
];

/// Certificate and key of this host name, if both are there.
pub(super) fn find(home: &Path, hostname: &str) -> Option<(PathBuf, PathBuf)> {
    if !is_host_name(hostname) {
        return None;
    }
    let hostname = hostname.to_ascii_lowercase();
    FOLDERS.iter().find_map(|folder| {
        let file = |ending: &str| home.join(folder).join(format!("{hostname}.{ending}"));
        let (certificate, key) = (file("crt"), file("key"));
        (certificate.is_file() && key.is_file()).then_some((certificate, key))
    })
}

/// It becomes part of a path: nothing but a name may.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn both_files_of_the_host_name_are_needed() {
        for folder in FOLDERS {
            let home = TempDir::new().expect("folder");
            let path = home.path().join(folder);
            fs::create_dir_all(&path).expect("folder");
            fs::write(path.join("app.test.crt"), "").expect("written");
            assert_eq!(find(home.path(), "app.test"), None);
            fs::write(path.join("app.test.key"), "").expect("written");
            let found = find(home.path(), "App.test").expect("found");
            assert_eq!(
                found,
                (path.join("app.test.crt"), path.join("app.test.key"))
            );
            for other in [
                "test",
                "",
                "app.test.",
                "../app.test",
                "x/app.test",
                "*.test",
            ] {
                assert_eq!(find(home.path(), other), None, "{other}");
            }
        }
    }
}
