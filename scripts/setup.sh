#!/usr/bin/env bash
# Installs what the checks need and is not there yet: setup.sh lint | vuln | system | npm | all
# Safe to run again: what is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

LINT_VERSION=2.15.0
VULN_VERSION=1.9.0

lint() {
  if scripts/golangci-lint.sh version 2>/dev/null | grep -F "version $LINT_VERSION " >/dev/null; then return; fi
  echo "installing golangci-lint $LINT_VERSION (some minutes, once)"
  go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$LINT_VERSION"
}

# vuln installs govulncheck.
vuln() {
  local bin
  bin=$(go env GOPATH)/bin/govulncheck
  if [ -x "$bin" ] && go version -m "$bin" | grep -F "golang.org/x/vuln	v$VULN_VERSION" >/dev/null; then return; fi
  echo "installing govulncheck $VULN_VERSION"
  GOBIN=$(dirname "$bin") go install "golang.org/x/vuln/cmd/govulncheck@v$VULN_VERSION"
}

# system installs Debian's packages: a C compiler for the race detector, Node.js for the browser tests and the official
# JavaScript libraries that judge ours, Chromium with fonts for the languages of the status page, PostgreSQL's programs, and
# the proxies that a relay may stand behind.
system() {
  local missing=() proxy
  command -v gcc >/dev/null || missing+=(gcc libc6-dev)
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core fonts-noto-core)
  # The documents' handlers and shops run in PHP on Laravel and in Python on Django, their commands in a shell.
  command -v curl >/dev/null || missing+=(curl)
  command -v openssl >/dev/null || missing+=(openssl)
  if ! php -r "exit(extension_loaded('pdo_sqlite') ? 0 : 1);" 2>/dev/null || [ ! -f /usr/share/php/Illuminate/autoload.php ] || [ ! -d /usr/share/php/GuzzleHttp ]; then
    missing+=(php-cli php-laravel-framework php-guzzlehttp-guzzle php-sqlite3)
  fi
  /usr/bin/python3 -c 'import django' 2>/dev/null || missing+=(python3-django)
  # The proxies whose configurations are in docs/proxies.
  for proxy in nginx haproxy caddy; do
    [ -x "/usr/sbin/$proxy" ] || [ -x "/usr/bin/$proxy" ] || missing+=("$proxy")
  done
  command -v zsh >/dev/null || missing+=(zsh) # the shells that complete our commands
  command -v fish >/dev/null || missing+=(fish)
  command -v systemd-analyze >/dev/null || missing+=(systemd) # checks the unit in docs/deploy
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "missing: ${missing[*]}; install them, or run this as root on Debian" >&2
    return 1
  fi
  echo "installing ${missing[*]}"
  apt-get update -qq
  # The tests make a cluster of their own: Debian's package need not start one.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  # Nor need it start PostgreSQL, nginx or another service: the tests run their own.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap "rm -f $policy" EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# rule_checker installs promtool, which checks the alert rules and the dashboard. Only that one file of Debian's prometheus is taken: the package would
# start a server on the port of the relay's admin listener.
rule_checker() {
  local bin folder
  bin=$(go env GOPATH)/bin
  if command -v promtool >/dev/null || [ -x "$bin/promtool" ]; then return; fi
  echo "installing promtool"
  folder=$(mktemp -d)
  chmod 755 "$folder"
  (cd "$folder" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } && dpkg-deb -x prometheus_*.deb .)
  mkdir -p "$bin"
  install -m 755 "$folder/usr/bin/promtool" "$bin/promtool"
  rm -rf "$folder"
}

# npm_packages installs each test folder's packages from its lock file, unless that was done for this lock already.
npm_packages() {
  local lock dir
  while IFS= read -r lock; do
    dir=$(dirname "$lock")
    if cmp -s "$lock" "$dir/node_modules/.installed-lock"; then continue; fi
    echo "installing npm packages of $dir"
    (cd "$dir" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
    cp "$lock" "$dir/node_modules/.installed-lock"
  done < <(git ls-files '*package-lock.json')
}

case "${1:-all}" in
  lint) lint ;;
  vuln) vuln ;;
  system) system; rule_checker ;;
  npm) npm_packages ;;
  all) lint; vuln; system; rule_checker; npm_packages ;;
  *) echo "usage: $0 lint|vuln|system|npm|all" >&2; exit 2 ;;
esac
