//! The `[tls]` section. Whether the files can be used is found out by the server, which reads them.
use super::{error::ConfigError, section::Section};
use std::{collections::HashMap, path::PathBuf, time::Duration};

/// Where certificate and key come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    pub certificate: Option<PathBuf>,
    /// `None` = in the certificate's file
    pub key: Option<PathBuf>,
    /// look for a certificate of Herd's or Valet's
    pub auto: bool,
    /// the host name to look for; `None` = the Laravel app's
    pub hostname: Option<String>,
    /// the user's folder, in which those programs keep them; `None` = nothing is looked for
    pub home: Option<PathBuf>,
    /// how often the files are looked at; `None` = at reloads only
    pub watch: Option<Duration>,
}

impl TlsSettings {
    /// Takes from the process environment what a look-up needs. `hostname`: of the Laravel app, if the settings name none.
    pub(super) fn know_surroundings(
        &mut self,
        variables: &HashMap<String, String>,
        hostname: Option<String>,
    ) {
        let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        let home = variables.get(name).filter(|value| !value.is_empty());
        self.home = home.map(PathBuf::from);
        if self.hostname.is_none() {
            self.hostname = hostname;
        }
    }
}

pub(super) fn settings(section: &Section<'_>) -> Result<TlsSettings, ConfigError> {
    let path = |key: &str| {
        let text = section.text(key)?;
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    };
    let (certificate, key) = (path("certificate")?, path("key")?);
    if certificate.is_none() && key.is_some() {
        let allowed = "empty as long as tls.certificate is: a key alone is of no use";
        return Err(section.invalid("key", allowed)?);
    }
    let hostname = section.text("hostname")?;
    let watch = section.seconds("watch_s", 0..=86_400)?;
    Ok(TlsSettings {
        certificate,
        key,
        auto: section.switch("auto")?,
        hostname: (!hostname.is_empty()).then(|| hostname.to_owned()),
        home: None,
        watch: (!watch.is_zero()).then_some(watch),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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
            auto: true,
            watch: Some(Duration::from_secs(10)),
            ..TlsSettings::default()
        };
        assert_eq!(tls(""), Ok(expected.clone()));
        let expected = TlsSettings {
            certificate: Some("a.pem".into()),
            key: Some("b.pem".into()),
            watch: None,
            auto: false,
            ..expected
        };
        let lines = "certificate = 'a.pem'\nkey = 'b.pem'\nwatch_s = 0\nauto = false";
        assert_eq!(tls(lines), Ok(expected));
        let error = tls("key = 'b.pem'").expect_err("a key alone");
        assert!(error.contains("tls.key") && error.contains("tls.certificate"));
    }

    #[test]
    fn options_and_surroundings() {
        let variables = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<HashMap<_, _>>()
        };
        let variables = variables(&[
            ("HOME", "/home/u"),
            ("USERPROFILE", "/home/u"),
            ("REVERB_HOST", "app.test"),
            ("RESOUND_TLS_CERTIFICATE", "a.pem"),
        ]);
        let found = load(&Overrides::default(), &variables)
            .expect("settings")
            .tls;
        assert_eq!(found.home, Some("/home/u".into()));
        assert_eq!(found.hostname.as_deref(), Some("app.test"));
        assert!(found.auto);
        let overrides = Overrides {
            hostname: Some("other.test".to_owned()),
            no_tls: true,
            ..Overrides::default()
        };
        let found = load(&overrides, &variables).expect("settings").tls;
        assert_eq!(found.hostname.as_deref(), Some("other.test"));
        assert_eq!(found.certificate, None);
        assert!(!found.auto);
    }
}
