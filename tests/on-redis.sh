#!/bin/sh
# Runs the tests of one server once more, each server the only node of a cluster on a Redis of this script's own. Nothing may be
# different but the order of answers: a subscription is answered when Redis has confirmed it, and pings and refusals don't wait
# for it. Arguments go to cargo test, for example: on-redis.sh presence. Needs redis-server.
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
redis-server --port 0 --unixsocket "$folder/redis" --dir "$folder" --save '' --appendonly no --daemonize no >"$folder/log" 2>&1 &
redis=$!
trap 'kill "$redis" 2>/dev/null; wait "$redis" 2>/dev/null || true; rm -rf "$folder"' EXIT
until [ -S "$folder/redis" ]; do
  kill -0 "$redis" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
  sleep 0.05
done
RESOUND_TEST_REDIS="redis+unix://$folder/redis" cargo test --test server "$@"
