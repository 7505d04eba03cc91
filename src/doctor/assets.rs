//! The JavaScript that is built already: a `VITE_` variable counts only after the next build.
use super::{Finding, place::browser_family};
use crate::config::LaravelApp;
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

const CHECK: &str = "assets";

/// Enough for every bundle that a browser would want to load; what is beyond isn't looked at.
const FILES_MAX: usize = 500;
const FILE_BYTES_MAX: u64 = 8 << 20;
const ALL_BYTES_MAX: u64 = 64 << 20;

/// pusher-js has it in each of its builds, and nothing minifies it.
const PUSHER_JS: &str = "pusher:connection_established";

/// Looks for the key and the host that the browser should use in `public/build`.
pub(super) fn check(laravel: &LaravelApp) -> Finding {
    let family = browser_family(laravel);
    let public = laravel.folder.join("public");
    let build = public.join("build");
    if public.join("hot").exists() {
        return Finding::skipped(CHECK, "the Vite development server is in use (public/hot)");
    }
    let has_manifest = ["manifest.json", ".vite/manifest.json"]
        .iter()
        .any(|name| build.join(name).exists());
    if !has_manifest {
        return Finding::skipped(CHECK, "no assets are built (public/build/manifest.json)");
    }
    let browser = &laravel.browser;
    let Some(key) = browser.key.as_deref().filter(|key| !key.is_empty()) else {
        return Finding::skipped(CHECK, format!("{family}_APP_KEY is not set"));
    };
    let host = browser.host.as_deref().unwrap_or_default();
    let scripts = Scripts::read(&build.join("assets"), key, host);
    let cure = "build the assets again: npm run build";
    if !scripts.have_pusher && !scripts.have_key {
        return Finding::skipped(CHECK, "no Echo is in the built assets");
    }
    if !scripts.have_key {
        let text = format!(
            "the built assets (public/build) don't have the key {key}: they are older than {family}_APP_KEY"
        );
        return Finding::wrong(CHECK, text, cure);
    }
    if !host.is_empty() && !scripts.have_host {
        let text = format!(
            "the built assets (public/build) have the key, but not the host {host}: they are older than {family}_HOST"
        );
        return Finding::wrong(CHECK, text, cure);
    }
    Finding::ok(CHECK, "the built assets have the key and the host")
}

/// What is in the scripts, all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scripts {
    have_pusher: bool,
    have_key: bool,
    have_host: bool,
}

impl Scripts {
    fn read(folder: &Path, key: &str, host: &str) -> Scripts {
        let mut scripts = Scripts::default();
        let mut bytes_left = ALL_BYTES_MAX;
        for path in script_paths(folder) {
            let text = read(&path, FILE_BYTES_MAX.min(bytes_left));
            bytes_left -= bytes_left.min(text.len() as u64);
            scripts.have_pusher |= contains(&text, PUSHER_JS);
            scripts.have_key |= contains(&text, key);
            scripts.have_host |= contains(&text, host);
        }
        scripts
    }
}

fn script_paths(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.take(FILES_MAX).flatten().map(|entry| entry.path());
    let is_script = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("js" | "mjs")) && path.is_file()
    };
    paths.filter(is_script).collect()
}

/// At most so many bytes; what can't be read is empty.
fn read(path: &Path, bytes_max: u64) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(bytes_max).read_to_end(&mut text);
    }
    text
}

fn contains(text: &[u8], part: &str) -> bool {
    let part = part.as_bytes();
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Browser, doctor::Verdict};

    fn check_built(script: Option<&str>, verdict: Verdict, part: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let assets = folder.path().join("public/build/assets");
        fs::create_dir_all(&assets).expect("folders");
        if let Some(script) = script {
            fs::write(assets.join("app-1.js"), script).expect("a script");
            fs::write(assets.join("app-1.css"), "the-key").expect("a style");
            fs::write(assets.join("../manifest.json"), "{}").expect("a manifest");
        }
        let laravel = LaravelApp {
            folder: folder.path().to_owned(),
            browser: Browser {
                key: Some("the-key".to_owned()),
                host: Some("ws.example.com".to_owned()),
                ..Browser::default()
            },
            ..LaravelApp::default()
        };
        let found = check(&laravel);
        assert_eq!(found.verdict, verdict, "{found}");
        assert!(found.text.contains(part), "{found}");
    }

    #[test]
    fn what_is_built() {
        let pusher = format!("x(\"{PUSHER_JS}\");");
        check_built(None, Verdict::Skipped, "no assets are built");
        check_built(Some("let a=1"), Verdict::Skipped, "no Echo");
        check_built(Some(&pusher), Verdict::Wrong, "don't have the key the-key");
        let old_host = format!("{pusher}key:'the-key',wsHost:'old.example.com'");
        check_built(
            Some(&old_host),
            Verdict::Wrong,
            "not the host ws.example.com",
        );
        let new = format!("{pusher}key:'the-key',wsHost:'ws.example.com'");
        check_built(Some(&new), Verdict::Ok, "have the key and the host");
    }
}
