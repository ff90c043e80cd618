# What the checks share. Sourced by them, as root in a container that `scripts/support/boot` has booted; /lab holds the package
# and the tests' own programs. Needs bash.
# shellcheck shell=bash
set -euo pipefail

socket=/run/custody/custody.sock
configuration=/etc/custody/custody.toml
failures=0

fail() { printf '%s\n' "$*" >&2; exit 1; }

# check "WHAT IT SHOWS" FUNCTION: runs it; whatever fails in it fails the check, and what was said is shown then.
check() {
  local what=$1 function=$2 status=0 start=$EPOCHREALTIME
  set +e
  (
    set -Ee
    trap 'echo "failed: $BASH_COMMAND (${BASH_SOURCE[0]##*/}:$LINENO)" >&2' ERR
    "$function"
  ) >/tmp/check.out 2>&1
  status=$?
  set -e
  if [ "$status" -eq 0 ]; then
    printf 'ok      %-90s %5d ms%s\n' "$what" "$(milliseconds_since "$start")" "$(sed -n 's/^figure: /  /p' /tmp/check.out | tr -d '\n')"
    return 0
  fi
  failures=$((failures + 1))
  printf 'FAILED  %s\n' "$what"
  tail -n 40 /tmp/check.out | cut -c 1-300 | sed 's/^/    /'
  journalctl --no-pager --output=short-precise --unit='custody*' --lines=25 | sed 's/^/    | /'
}

# The exit code of the whole file: last in each.
finish() { [ "$failures" -eq 0 ] || fail "$failures checks failed"; }

milliseconds_since() { awk -v now="$EPOCHREALTIME" -v start="$1" 'BEGIN { printf "%d", (now - start) * 1000 }'; }

# eventually SECONDS COMMAND...: until it succeeds; what it said the last time is shown if it never does.
eventually() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/tmp/eventually 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "gave up waiting for: $* ($(tail -n 3 /tmp/eventually))"
    sleep 0.05
  done
}

# refused COMMAND...: that it fails; what it said is in /tmp/refused.
refused() { if "$@" >/tmp/refused 2>&1; then fail "this should have been refused: $*"; fi; }

as() { local user=$1; shift; runuser -u "$user" -- "$@"; }
property() { systemctl show --property="$2" --value "$1"; }
main_pid() { property custodyd.service MainPID; }
is() { [ "$(property "$1" ActiveState)" = "$2" ]; }
has_other_pid() { local pid; pid=$(main_pid); [ "$pid" != 0 ] && [ "$pid" != "$1" ]; }
restarts() { property custodyd.service NRestarts; }

install_package() {
  # For programs of a debug build.
  echo /lab/lib >/etc/ld.so.conf.d/lab.conf
  ldconfig
  dpkg --install /lab/custody.deb >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log >&2; return 1; }
}

# The users of the tests: alice and bob are services with grants, carol may connect and has none, mallory may not even connect.
make_users() {
  for user in alice bob carol mallory; do useradd --system --no-create-home "$user"; done
  for user in alice bob carol; do usermod --append --groups custody-clients "$user"; done
}

write_configuration() {
  install --mode=640 --group=custody /usr/share/doc/custody/examples/custody.toml "$configuration"
  cat >>"$configuration" <<'TOML'
[[grant]]
user = "alice"
keys = ["payments"]
operations = ["wrap", "unwrap", "status"]
[[grant]]
user = "bob"
keys = ["payments"]
operations = ["unwrap"]
TOML
}

pin=7412-5567

# A SoftHSM token with a root key and the key of the audit log, made as the daemon's user, and the PIN in systemd's store.
provision() {
  install_package
  make_users
  write_configuration
  (umask 077; echo "$pin" >/etc/credstore/custody.pin; mkdir /run/pins; echo "$pin" >/run/pins/user; echo 9876-5432 >/run/pins/so)
  chown -R custody: /run/pins
  as custody custodyctl token init --label custody --so-pin-file /run/pins/so --pin-file /run/pins/user
  as custody custodyctl audit init --pin-file /run/pins/user
  as custody custodyctl key generate payments --pin-file /run/pins/user
  # From here on the PIN is where systemd keeps secrets, and nowhere else.
  rm -r /run/pins
  systemctl enable --quiet --now custodyd.socket
}

# Starts with a provisioned machine; for files whose subject is another.
provisioned() { check "a token, a root key, a configuration, a PIN and a socket" provision; }

wrap() { as "$1" custodyctl wrap --key payments --context tenant=acme; }
unwrap() { as "$1" custodyctl unwrap --context tenant=acme; }
works() { [ "$(echo secret | wrap alice | unwrap alice)" = secret ]; }
status_text() { property custodyd.service StatusText; }

# load SECONDS: a client of alice's that opens one blob again and again and counts what failed; prints calls and failures.
load() {
  local blob
  blob=$(echo secret | wrap alice | sed 's/^custody:v1://' | tr -- -_ +/)
  while [ $((${#blob} % 4)) -ne 0 ]; do blob+='='; done
  as alice /lab/bin/custody-load "$socket" measure "$1" "$blob" | cut -d ' ' -f 1,2
}

# connects SECONDS: connects as alice again and again and prints how often, how often it was refused, and the longest wait in ms.
connects() { as alice python3 /lab/tests/connects.py "$socket" "$1"; }

# Neither a refused connect nor a failed call, and some of both: of `connects` and `load` in these files.
expect_undisturbed() {
  local connects refused longest calls failed
  read -r connects refused longest <"$1"
  read -r calls failed <"$2"
  echo "figure: $connects connects, $refused refused, longest wait $longest ms; $calls calls, $failed failed"
  if [ "$connects" -lt 50 ] || [ "$refused" -ne 0 ] || [ "$calls" -lt 50 ] || [ "$failed" -ne 0 ]; then
    fail "$connects connects, $refused refused; $calls calls, $failed failed"
  fi
}
