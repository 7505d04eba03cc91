//! The `[tls]` section. Whether the files can be used is found out by the server, which reads them.
use super::{error::ConfigError, herd, laravel::Project, section::Section};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Where certificate and key come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `None` = no TLS
    pub source: Option<CertificateSource>,
    /// the host name that clients use, as far as it is known
    pub hostname: Option<String>,
    /// how often the files are looked at; `None` = at reloads only
    pub watch: Option<Duration>,
}

/// Which files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSource {
    pub certificate: PathBuf,
    /// the certificate's own file if that holds both
    pub key: PathBuf,
    /// found in a folder of Herd's or Valet's
    pub is_found: bool,
    /// who names certificate and key; empty if they were found
    pub origins: [String; 2],
}

/// `project`: its variables and its app name the host whose certificate is looked for, and the user's folder.
pub(super) fn settings(
    section: &Section<'_>,
    project: &Project,
) -> Result<TlsSettings, ConfigError> {
    let variable = |name: &str| project.environment.get(name);
    let path = |key: &str| {
        let text = section.text(key)?;
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    };
    let origin = |key: &str| {
        let origin = section.value(key)?.origin();
        Ok(origin.unwrap_or_default().to_owned())
    };
    let (certificate, key) = (path("certificate")?, path("key")?);
    if certificate.is_none() && key.is_some() {
        let allowed = "empty as long as tls.certificate is: a key alone is of no use";
        return Err(section.invalid("key", allowed)?);
    }
    let hostname = match section.text("hostname")? {
        "" => {
            let of_app = project.app.as_ref().and_then(|app| app.hostname.as_deref());
            of_app.or(variable("REVERB_HOST")).map(str::to_owned)
        }
        name => Some(name.to_owned()),
    };
    let home = variable(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
    let is_wanted = section.switch("auto")?;
    let source = match certificate {
        Some(certificate) => Some(CertificateSource {
            key: key.unwrap_or_else(|| certificate.clone()),
            certificate,
            is_found: false,
            origins: [origin("certificate")?, origin("key")?],
        }),
        None if is_wanted => home
            .zip(hostname.as_deref())
            .and_then(|(home, hostname)| herd::find(Path::new(home), hostname))
            .map(|(certificate, key)| CertificateSource {
                certificate,
                key,
                is_found: true,
                origins: Default::default(),
            }),
        None => None,
    };
    let watch = section.seconds("watch_s", 0..=86_400)?;
    Ok(TlsSettings {
        source,
        hostname,
        watch: (!watch.is_zero()).then_some(watch),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use crate::config::{Overrides, from_toml, load};

    fn tls(lines: &str) -> Result<TlsSettings, String> {
        let settings = from_toml(&format!("[tls]\n{lines}"));
        settings
            .map(|settings| settings.tls)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn files_and_their_absence() {
        let expected = TlsSettings {
            watch: Some(Duration::from_secs(10)),
            ..TlsSettings::default()
        };
        assert_eq!(tls(""), Ok(expected));
        const FILE: &str = "the given text";
        let source = |key: &str, by: &str| {
            Some(CertificateSource {
                certificate: "a.pem".into(),
                key: key.into(),
                is_found: false,
                origins: [FILE.to_owned(), by.to_owned()],
            })
        };
        let found = tls("certificate = 'a.pem'\nkey = 'b.pem'\nwatch_s = 0").expect("settings");
        assert_eq!((found.source, found.watch), (source("b.pem", FILE), None));
        let found = tls("certificate = 'a.pem'\nauto = false").expect("settings");
        assert_eq!(found.source, source("a.pem", "the defaults"));
        let error = tls("key = 'b.pem'").expect_err("a key alone");
        assert!(error.contains("tls.key") && error.contains("tls.certificate"));
    }

    #[test]
    fn options_and_surroundings() {
        let home = tempfile::tempdir().expect("folder");
        let folder = home.path().join(".config/valet/Certificates");
        std::fs::create_dir_all(&folder).expect("folder");
        for file in ["app.test.crt", "app.test.key"] {
            std::fs::write(folder.join(file), "").expect("written");
        }
        let home = home.path().to_str().expect("text");
        let check = |variables: &[(&str, &str)], overrides: Overrides, expected: Option<bool>| {
            let mut all: HashMap<String, String> = HashMap::new();
            for (name, value) in variables {
                all.insert((*name).to_owned(), (*value).to_owned());
            }
            let settings = load(&overrides, &all).expect("settings");
            let found = settings.tls.source.map(|source| source.is_found);
            assert_eq!(found, expected, "{variables:?} {overrides:?}");
        };
        let none = Overrides::default;
        let named = |name: &str| Overrides {
            hostname: Some(name.to_owned()),
            ..Overrides::default()
        };
        let at_home = [("HOME", home), ("USERPROFILE", home)];
        let host = ("REVERB_HOST", "app.test");
        let with = |more: &[(&'static str, &'static str)]| [&at_home[..], more].concat();
        check(&at_home, none(), None);
        check(&[host], none(), None);
        check(&with(&[host]), none(), Some(true));
        check(&at_home, named("app.test"), Some(true));
        check(&with(&[host]), named("other.test"), None);
        check(&with(&[host, ("RESOUND_TLS_AUTO", "false")]), none(), None);
        let set = ("RESOUND_TLS_CERTIFICATE", "a.pem");
        check(&with(&[host, set]), none(), Some(false));
        let no_tls = Overrides {
            no_tls: true,
            ..Overrides::default()
        };
        check(&with(&[host, set]), no_tls, None);
    }
}
