# Shared by the scripts; sourced, never run. Needs bash.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# as_root COMMAND...: runs it as root, by sudo if need be.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# as_uid UID COMMAND...: runs it as another user, who needs no account.
as_uid() {
  local uid=$1; shift
  as_root setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}

# need_packages NAME...: installs the Debian packages that are missing.
need_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "Installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# What every build needs: the headers of p11-kit, libpq and SQLite, and SoftHSM as the token.
need_build_packages() {
  command -v swift >/dev/null || fail "a Swift 6.2 or newer toolchain must be on the PATH"
  need_packages libp11-kit-dev libpq-dev libsqlite3-dev pkg-config softhsm2 util-linux
}

# need_python: a virtual environment of our own with moto's server, which stands in for the cloud's KMS, and MiniStack, which
# honours the states of keys.
need_python() {
  need_packages python3-venv
  venv=$root/.build-python
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -c 'import moto.server, boto3, flask, ministack' 2>/dev/null \
    || "$venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server]>=5,<6' boto3 'ministack>=1.5,<2'
}

# wait_until COMMAND...: until it succeeds, for 30 seconds at the most.
wait_until() {
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  fail "gave up waiting for: $*"
}

softhsm_module() {
  for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do
    if [ -e "$path" ]; then echo "$path"; return; fi
  done
  fail "libsofthsm2.so is not where Debian's softhsm2 package puts it"
}

# provision_token FOLDER: a SoftHSM token 'custody' of its own, with new PINs, in FOLDER; sets SOFTHSM2_CONF.
provision_token() {
  local folder=$1
  mkdir -p "$folder/tokens"
  chmod 700 "$folder/tokens"
  sed "s|@TOKENDIR@|$folder/tokens|" "$root/softhsm/softhsm2.conf.in" > "$folder/softhsm2.conf"
  export SOFTHSM2_CONF=$folder/softhsm2.conf
  for who in user so; do
    (umask 077; od -An -N12 -tx1 /dev/urandom | tr -d ' \n' > "$folder/$who.pin")
  done
}

# configure_bench FOLDER: the configuration of a daemon that is measured: one key, one grant, an audit log, few words.
configure_bench() {
  local folder=$1
  cat > "$folder/custody.toml" <<TOML
[server]
socket = "s"
[token]
module = "$(softhsm_module)"
uri = "pkcs11:token=custody"
pin-file = "user.pin"
environment = { SOFTHSM2_CONF = "$folder/softhsm2.conf" }
[audit]
file = "audit.jsonl"
[state]
directory = "state"
[log]
level = "warning"
[[grant]]
user = "$(id -u)"
keys = ["bench"]
operations = ["wrap", "unwrap", "status"]
context = { tenant = "*" }
TOML
}
