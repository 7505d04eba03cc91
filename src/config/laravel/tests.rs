//! Projects as folders: what is found in them, what wins, what is said about it.

mod apps;
mod cached;
mod cluster;
mod env_file;
mod reverb_config;
mod sources;
mod tls;
mod warnings;

use std::{collections::HashMap, path::Path};

use tempfile::TempDir;

use crate::config::{
    ConfigError, Overrides, Settings, load,
    tests::{listed, refusal, variables},
};

/// What `reverb:install` and `install:broadcasting` leave behind in Laravel 11 and later.
const ENV: &str = "APP_NAME=Laravel
APP_ENV=local
APP_KEY=base64:AAEC/+==
APP_URL=http://localhost

DB_PASSWORD=\"a b#c\"
BROADCAST_CONNECTION=reverb

REDIS_PASSWORD=null

REVERB_APP_ID=482915
REVERB_APP_KEY=lab0key
REVERB_APP_SECRET=hush
REVERB_HOST=\"localhost\"
REVERB_PORT=8080
REVERB_SCHEME=http

VITE_APP_NAME=\"${APP_NAME}\"
VITE_REVERB_APP_KEY=\"${REVERB_APP_KEY}\"
VITE_REVERB_HOST=\"${REVERB_HOST}\"
VITE_REVERB_PORT=\"${REVERB_PORT}\"
VITE_REVERB_SCHEME=\"${REVERB_SCHEME}\"
";

/// `config/reverb.php` in the form Reverb publishes since 1.9.
const REVERB_PHP: &str = "<?php

return [
    'default' => env('REVERB_SERVER', 'reverb'),
    'servers' => [
        'reverb' => [
            'host' => env('REVERB_SERVER_HOST', '0.0.0.0'),
            'port' => env('REVERB_SERVER_PORT', 8080),
            'path' => env('REVERB_SERVER_PATH', ''),
            'hostname' => env('REVERB_HOST'),
            'options' => [
                'tls' => [],
            ],
            'max_request_size' => env('REVERB_MAX_REQUEST_SIZE', 10_000),
            'scaling' => [
                'enabled' => env('REVERB_SCALING_ENABLED', false),
                'server' => ['port' => env('REDIS_PORT', '6379')],
            ],
            'pulse_ingest_interval' => env('REVERB_PULSE_INGEST_INTERVAL', 15),
        ],
    ],
    'apps' => [
        'provider' => 'config',
        'apps' => [
            [
                'key' => env('REVERB_APP_KEY'),
                'secret' => env('REVERB_APP_SECRET'),
                'app_id' => env('REVERB_APP_ID'),
                'options' => [
                    'host' => env('REVERB_HOST'),
                    'port' => env('REVERB_PORT', 443),
                    'scheme' => env('REVERB_SCHEME', 'https'),
                    'useTLS' => env('REVERB_SCHEME', 'https') === 'https',
                ],
                'allowed_origins' => ['*'],
                'ping_interval' => env('REVERB_APP_PING_INTERVAL', 60),
                'activity_timeout' => env('REVERB_APP_ACTIVITY_TIMEOUT', 30),
                'max_connections' => env('REVERB_APP_MAX_CONNECTIONS'),
                'max_message_size' => env('REVERB_APP_MAX_MESSAGE_SIZE', 10_000),
                'accept_client_events_from' => env('REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM', 'members'),
                'rate_limiting' => [
                    'enabled' => env('REVERB_APP_RATE_LIMITING_ENABLED', false),
                    'max_attempts' => env('REVERB_APP_RATE_LIMIT_MAX_ATTEMPTS', 60),
                    'decay_seconds' => env('REVERB_APP_RATE_LIMIT_DECAY_SECONDS', 60),
                    'terminate_on_limit' => env('REVERB_APP_RATE_LIMIT_TERMINATE', false),
                ],
            ],
        ],
    ],
];
";

/// Before 1.8 and edited by hand: literals, a second app, something that needs PHP.
const CUSTOM_PHP: &str = "<?php
return [
    'default' => 'reverb',
    'servers' => ['reverb' => [
        'host' => '127.0.0.1',
        'port' => (int) env('REVERB_SERVER_PORT', 9000),
        'hostname' => gethostname(),
        'options' => ['tls' => []],
        'max_request_size' => 64 * 1024,
    ]],
    'apps' => ['provider' => 'config', 'apps' => [
        [
            'app_id' => env('REVERB_APP_ID'), 'key' => env('REVERB_APP_KEY'), 'secret' => env('REVERB_APP_SECRET'),
            'allowed_origins' => array_map('trim', explode(',', env('ORIGINS', 'a.example.com, https://b.example.com'))),
            'ping_interval' => 45,
            'max_message_size' => 100_000,
        ],
        [
            'app_id' => 2, 'key' => 'second', 'secret' => 'hush2',
            'allowed_origins' => config('app.origins'),
            'ping_interval' => 60,
            'max_message_size' => 10000,
            'accept_client_events_from' => 'none',
            'max_connections' => '5',
            'rate_limiting' => ['enabled' => true, 'max_attempts' => 3, 'decay_seconds' => 4, 'terminate_on_limit' => 1],
        ],
        ['app_id' => 3, 'key' => 'third', 'ping_interval' => 60],
    ]],
];
";

/// A folder, and what the server is started with in it.
struct Case {
    folder: TempDir,
    overrides: Overrides,
    process: HashMap<String, String>,
}

impl Case {
    fn new(files: &[(&str, &str)]) -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            write(folder.path(), name, text);
        }
        let overrides = Overrides {
            folder: Some(folder.path().to_owned()),
            ..Overrides::default()
        };
        Case {
            folder,
            overrides,
            process: HashMap::new(),
        }
    }

    fn with(mut self, process: &[(&str, &str)]) -> Case {
        self.process.extend(variables(process));
        self
    }

    fn load(&self) -> Result<Settings, ConfigError> {
        load(&self.overrides, &self.process)
    }

    #[track_caller]
    fn settings(&self) -> Settings {
        let settings = self.load().unwrap_or_else(|error| panic!("{error}"));
        assert!(!format!("{settings:?}").contains("hush"));
        settings
    }

    #[track_caller]
    fn refusal(&self) -> String {
        let sentence = refusal(self.load());
        assert!(!sentence.contains("hush"), "{sentence}");
        sentence
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    std::fs::write(path, text).expect("written");
}

fn ids(settings: &Settings) -> Vec<&str> {
    settings.apps.iter().map(|app| app.id.as_str()).collect()
}

fn excerpt() -> String {
    let path = "/compat-fixtures/laravel/cached-config-excerpt.php";
    std::fs::read_to_string(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).expect("the excerpt")
}
