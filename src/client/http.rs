//! Requests over HTTP, signed as a backend signs them (H-11 to H-16).
use super::{Address, causes, encoded, now_s, tls};
use crate::{apps::App, protocol::signature::Secret};
use md5::{Digest, Md5};
use reqwest::{
    Method, RequestBuilder, Response,
    header::{CONTENT_TYPE, HeaderMap},
    redirect,
};
use rustls::ClientConfig;
use std::{error::Error, io, time::Duration};

/// What is kept of an answer's body. Answers to what these tools ask have less, error pages need not be read to the end.
const BODY_BYTES_MAX: usize = 65_536;

/// An HTTP client that follows no redirect and asks no proxy of the environment.
pub struct Http {
    client: reqwest::Client,
    patience: Duration,
}

/// What a server answered, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// at most 64 KiB of it
    pub body: String,
}

impl Answer {
    /// A header's text; "" if it is absent or no text.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// Why there is no answer. `Display` is a part of a sentence, after "no answer from …: ".
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("nothing listens there")]
    NotListening,
    #[error("it took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("{0}")]
    Tls(rustls::Error),
    /// a connection, but no HTTP over it
    #[error("it doesn't speak HTTP ({0})")]
    NotHttp(String),
    #[error("{0}")]
    Broken(String),
}

impl Http {
    /// `patience` is for a whole request.
    pub fn new(tls: ClientConfig, patience: Duration) -> Http {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .user_agent(concat!("Resound/", env!("CARGO_PKG_VERSION")))
            .timeout(patience)
            .build()
            .expect("nothing in these settings can be refused");
        Http { client, patience }
    }

    /// For this address: see [`config_for`].
    pub fn to(address: &Address, patience: Duration) -> Http {
        Http::new(config_for(address), patience)
    }

    pub async fn get(&self, url: &str) -> Result<Answer, RequestError> {
        self.send(self.client.get(url)).await
    }

    /// Posts `body` to `/apps/{id}` + `path`, signed by the app, as pusher-http-php does.
    pub async fn post_signed(
        &self,
        address: &Address,
        app: &App,
        path: &str,
        body: String,
    ) -> Result<Answer, RequestError> {
        let path = signed_path(app, &Method::POST, path, body.as_bytes(), now_s());
        let request = self.client.post(address.http_url(&path));
        self.send(request.header(CONTENT_TYPE, "application/json").body(body))
            .await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, RequestError> {
        let failed = |error| failure(error, self.patience);
        let mut answer = request.send().await.map_err(failed)?;
        let body = read(&mut answer).await.map_err(failed)?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// How the certificate of this address is checked: on loopback, and for the server of this machine, not at all.
pub fn config_for(address: &Address) -> ClientConfig {
    match address.is_loopback() || address.is_own {
        true => tls::unchecked(),
        false => tls::checked(tls::roots(&[])),
    }
}

async fn read(answer: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = BODY_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == BODY_BYTES_MAX {
            break;
        }
    }
    Ok(body)
}

fn failure(error: reqwest::Error, patience: Duration) -> RequestError {
    if error.is_timeout() {
        return RequestError::Timeout(patience);
    }
    // the URL has a signature in it
    let error = error.without_url();
    let is_refusal = |cause: &(dyn Error + 'static)| {
        let error: Option<&io::Error> = cause.downcast_ref();
        error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if causes(&error).any(is_refusal) {
        return RequestError::NotListening;
    }
    if let Some(error) = tls::error_in(&error) {
        return RequestError::Tls(error.clone());
    }
    // The innermost cause says what happened, the others that something did.
    let reason = causes(&error).last().map(ToString::to_string);
    let reason = reason.unwrap_or_default();
    match error.is_connect() || error.is_builder() {
        true => RequestError::Broken(reason),
        false => RequestError::NotHttp(reason),
    }
}

/// `/apps/{id}/events?auth_key=…` for `/events`.
fn signed_path(app: &App, method: &Method, path: &str, body: &[u8], now_s: u64) -> String {
    let path = format!("/apps/{}{path}", encoded(&app.id));
    signed_target(&app.key, &app.secret, method, &path, body, now_s)
}

/// A request's path with its signed query. The signature covers the path from `/apps` on, without any prefix (H-15), and
/// values as they are before they are encoded.
pub fn signed_target(
    key: &str,
    secret: &Secret,
    method: &Method,
    path: &str,
    body: &[u8],
    now_s: u64,
) -> String {
    let digest = hex::encode(Md5::digest(body));
    let parameters = |key: &str| {
        format!("auth_key={key}&auth_timestamp={now_s}&auth_version=1.0&body_md5={digest}")
    };
    let to_sign = format!("{method}\n{path}\n{}", parameters(key));
    let signature = secret.sign(to_sign.as_bytes());
    format!(
        "{path}?{}&auth_signature={signature}",
        parameters(&encoded(key))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v20_a_signed_request() {
        let app = "[[apps]]\nid = 3\nkey = '278d425bdf160c739803'\nsecret = '7ad3773142a6692b25b8'";
        let settings = crate::config::from_toml(app).expect("settings");
        let body = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
        let path = signed_path(
            &settings.apps[0],
            &Method::POST,
            "/events",
            body.as_bytes(),
            1_353_088_179,
        );
        assert_eq!(
            path,
            "/apps/3/events?auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
             &body_md5=ec365a775a4cd0599faeb73354201b6f\
             &auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
        );
    }
}
