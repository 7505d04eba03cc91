#!/bin/sh
# Installs what the client tests need and is missing: Node packages, a Python environment, Chromium, proxies, Redis.
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

# privileges PACKAGE…: finds out how to become root, or says what to install.
privileges() {
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
}

# debian PACKAGE…: installs Debian packages, or says what to install.
debian() {
  privileges "$@"
  quietly $as_root apt-get update
  quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# servers PACKAGE…: the same for web servers and Redis, which Debian would start at once and at each boot; the tests start their own.
servers() {
  privileges "$@"
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$log"; $as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    debian "$@"
    $as_root rm -f "$policy"
  else
    debian "$@"
  fi
  command -v systemctl >/dev/null || return 0
  for package in "$@"; do
    # apache2-bin holds no service
    [ "$package" = apache2-bin ] || quietly $as_root systemctl --quiet disable "$package.service"
  done
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

command -v openssl >/dev/null || debian openssl
missing=
for server in nginx:nginx haproxy:haproxy apache2:apache2-bin caddy:caddy redis-server:redis-server redis-sentinel:redis-sentinel; do
  # They are in /usr/sbin, which is not on everybody's path.
  PATH="$PATH:/usr/sbin" command -v "${server%:*}" >/dev/null || missing="$missing ${server#*:}"
done
[ -z "$missing" ] || servers $missing
