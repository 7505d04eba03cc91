#!/bin/sh
# Installs what the client tests need and is missing: Node packages, a Python environment, Chromium.
# Says nothing when everything is there. Uses apt-get on Debian, as root or through sudo.
set -eu
cd "$(dirname "$0")"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# quietly COMMAND…: shows the output only if the command fails.
quietly() {
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    echo "failed: $*" >&2
    exit 1
  fi
}

# debian PACKAGE…: installs Debian packages, or says what to install.
debian() {
  if [ "$(id -u)" -eq 0 ]; then
    as_root=
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root='sudo'
  else
    as_root=none
  fi
  if [ "$as_root" = none ] || ! command -v apt-get >/dev/null; then
    echo "Please install $* (on Debian: apt-get install $*), then run this again." >&2
    exit 1
  fi
  quietly $as_root apt-get update
  quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

command -v node >/dev/null && command -v npm >/dev/null || debian nodejs npm
if [ "$(node --print 'parseInt(process.versions.node)')" -lt 20 ]; then
  echo "The client tests need Node 20 or later; here is $(node --version)." >&2
  exit 1
fi
if ! cmp -s package-lock.json node_modules/.installed-lock; then
  quietly npm ci
  cp package-lock.json node_modules/.installed-lock
fi

if ! cmp -s requirements.txt .venv/installed-requirements; then
  python3 -c 'import ensurepip' 2>/dev/null || debian python3-venv
  quietly python3 -m venv --clear .venv
  quietly .venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt
  cp requirements.txt .venv/installed-requirements
fi

[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || debian chromium
