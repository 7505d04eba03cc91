#!/bin/sh
# Runs the tests that need a Redis with Valkey in its place: of the scripts and connections, and of several nodes. Arguments are names
# of tests. Needs valkey-server and valkey-sentinel, Debian's packages of these names (from 13 on, or of bookworm-backports).
set -eu
cd "$(dirname "$0")/.."

for program in valkey-server valkey-sentinel; do
  command -v "$program" >/dev/null || { echo "on-valkey.sh: $program isn't installed" >&2; exit 1; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for kind in server sentinel; do
  ln -s "$(command -v "valkey-$kind")" "$folder/redis-$kind"
done
PATH="$folder:$PATH"
cargo test --lib -- cluster:: "$@"
cargo test --test cluster "$@"
