#!/usr/bin/env bash
# Runs every example: the short ones to their end, the servers with a client, a killed worker and a stop.
set -euo pipefail
cd "$(dirname "$0")/.."
export PREFORK_GRACEFUL_TIMEOUT=10s
cargo build --quiet --examples

# expect NAME STATUS TEXT: the example ends with this status, and prints this text.
expect() {
  local status=0 output
  output=$(cargo run -q --example "$1" 2>&1) || status=$?
  if [ "$status" != "$2" ] || ! grep -q "$3" <<<"$output"; then
    printf '%s\n%s: status %s, expected %s and "%s"\n' "$output" "$1" "$status" "$2" "$3"
    exit 1
  fi
  echo "$1: status $status, as expected"
}

expect hello 0 'hello from worker 3'
expect crash 1 'gave up'
expect tornado 0 'does jobs \[3, 7, 11, 15, 19\]'
expect preload 0 'worker 3: sum'

log=$(mktemp)
trap 'kill -9 $supervisor 2>/dev/null || true; rm -f "$log"' EXIT

# serve NAME: starts the server on any free port; sets supervisor and address.
serve() {
  : >"$log" # What the last one said is not to be waited for.
  PREFORK_WORKERS=2 PREFORK_LISTEN=127.0.0.1:0 "${CARGO_TARGET_DIR:-target}/debug/examples/$1" >/dev/null 2>"$log" &
  supervisor=$!
  wait_until listens
}

listens() { address=$(sed -n 's/.*listening on //p' "$log") && [ -n "$address" ]; }

# wait_until COMMAND: until it succeeds, for a minute, and as long as the server is there.
wait_until() {
  for _ in {1..1200}; do
    if "$@"; then return; fi
    kill -0 "$supervisor" || break
    sleep 0.05
  done
  cat "$log"
  echo "waited in vain: $*"
  exit 1
}

# stop NAME: SIGTERM, and status 0 after it.
stop() {
  local status=0
  kill -TERM "$supervisor"
  wait "$supervisor" || status=$?
  [ "$status" = 0 ] || { cat "$log"; echo "$1: status $status after SIGTERM"; exit 1; }
}

ask() { curl -sS --retry 20 --retry-delay 1 --retry-all-errors --max-time 20 "http://$address/$1"; }

reloaded() { [ "$(grep -c 'reload done' "$log")" -ge "$1" ]; }

# Asks again and again, without a second try, until this number of reloads was done.
ask_until_reloaded() {
  until reloaded "$1"; do
    curl -sSf --max-time 20 "http://$address/" >/dev/null || return 1
    asked=$((asked + 1))
  done
}

PREFORK_WORKERS=4 "${CARGO_TARGET_DIR:-target}/debug/examples/status" >"$log" 2>&1 &
supervisor=$!
shows() { grep -Eq '^ +3 +ready +[0-9]+ ' "$log"; }
wait_until shows
stop status
echo 'status: printed a table of the pool'

serve http
ask '' | grep -q 'hello from worker'
asked=0
for reload in 1 2 3; do
  kill -HUP "$supervisor"
  ask_until_reloaded "$reload" || { cat "$log"; echo 'a request failed during a reload'; exit 1; }
done
echo "http: answered $asked requests during 3 reloads, none failed"
for _ in 1 2 3 4 5; do
  worker=$(ask '' | sed 's/.*pid //')
  kill -9 "$worker"
  ask '' | grep -q 'hello from worker'
done
ask slow >"$log.slow" &
slow=$!
connected() { ss -Htn state established "sport = :${address##*:}" | grep -q .; }
wait_until connected
stop http
wait "$slow"
grep -q 'hello from worker' "$log.slow"
rm -f "$log.slow"
echo 'http: answered through 5 killed workers; a request in flight was answered during the stop'

serve tcp_echo
exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
echo 'are you there' >&3
read -r answer <&3
[ "$answer" = 'are you there' ] || { echo "tcp_echo answered '$answer'"; exit 1; }
# The client stays connected.
stop tcp_echo
exec 3>&-
if grep 'killed' "$log"; then exit 1; fi
echo 'tcp_echo: echoed; a silent client did not keep it from stopping'
