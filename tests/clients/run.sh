#!/bin/sh
# Runs every client test against the built server (RESOUND_BIN, else target/release, else target/debug).
# Arguments go to node's test runner, for example: run.sh --test-name-pattern=presence
set -eu
cd "$(dirname "$0")"
./install.sh
# pusher-js leaves a timer behind when the server closes with 4009, which would hold node up for 30 s.
exec node --test --test-force-exit --test-concurrency=2 "$@" node/*.test.mjs sdks/*.test.mjs websocket/*.test.mjs browser/*.test.mjs \
  proxies/*.test.mjs packaging/*.test.mjs
