#!/bin/sh
# Runs the tests of one server once more, each server the only node of a cluster on a Redis of this script's own. One thing is
# different: a subscription is answered when Redis has confirmed it, other messages may be answered before. The tests that are
# skipped are those of that order. Arguments go to cargo test, for example: on-redis.sh presence. Needs redis-server.
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
RESOUND_TEST_REDIS="redis+unix://$folder/redis" cargo test --test server "$@" -- \
  --skip a_handshake_in_single_bytes_with_frames_behind_it \
  --skip c11_established_comes_first_once_and_unasked \
  --skip s12_every_subscribe_gets_exactly_one_answer
