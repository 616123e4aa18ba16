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
expect sandbox 0 'worker 1: starting a program gives Err.*PermissionDenied'

log=$(mktemp)
directory=$(mktemp -d)
trap 'kill -9 $supervisor 2>/dev/null || true; rm -rf "$log" "$directory"' EXIT

# serve NAME LISTEN: starts the server, on any free port if nothing else is said; sets supervisor, address and how to ask.
serve() {
  : >"$log" # What the last one said is not to be waited for.
  PREFORK_WORKERS=2 PREFORK_LISTEN=${2:-127.0.0.1:0} "${CARGO_TARGET_DIR:-target}/debug/examples/$1" >/dev/null 2>"$log" &
  supervisor=$!
  wait_until listens
  case $address in
    unix:*) curl=(curl -sS --max-time 20 --unix-socket "${address#unix:}") url=http://localhost ;;
    *) curl=(curl -sS --max-time 20) url=http://$address ;;
  esac
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

ask() { "${curl[@]}" --retry 20 --retry-delay 1 --retry-all-errors "$url/$1"; }

reloaded() { [ "$(grep -c 'reload done' "$log")" -ge "$1" ]; }

# Asks again and again, without a second try, until this number of reloads was done, and twenty times for each.
ask_until_reloaded() {
  until reloaded "$1" && [ "$asked" -ge $((20 * $1)) ]; do
    "${curl[@]}" -f "$url/" >/dev/null || return 1
    asked=$((asked + 1))
  done
}

PREFORK_WORKERS=4 "${CARGO_TARGET_DIR:-target}/debug/examples/status" >"$log" 2>&1 &
supervisor=$!
shows() { grep -Eq '^ +3 +ready +[0-9]+ ' "$log"; }
wait_until shows
stop status
echo 'status: printed a table of the pool'

# reload_and_kill NAME: no request fails in three reloads, and there is an answer after each of five kills.
reload_and_kill() {
  local reload worker
  ask '' | grep -q 'hello from worker'
  asked=0
  for reload in 1 2 3; do
    kill -HUP "$supervisor"
    ask_until_reloaded "$reload" || { cat "$log"; echo "$1: a request failed during a reload"; exit 1; }
  done
  echo "$1: answered $asked requests during 3 reloads, none failed"
  for _ in 1 2 3 4 5; do
    worker=$(ask '' | sed 's/.*pid //')
    kill -9 "$worker"
    ask '' | grep -q 'hello from worker'
  done
  echo "$1: answered through 5 killed workers"
}

serve http
reload_and_kill http
ask slow >"$log.slow" &
slow=$!
connected() { ss -Htn state established "sport = :${address##*:}" | grep -q .; }
wait_until connected
stop http
wait "$slow"
grep -q 'hello from worker' "$log.slow"
rm -f "$log.slow"
echo 'http: a request in flight was answered during the stop'

serve blocking
reload_and_kill blocking
stop blocking

serve unix_socket "unix:$directory/socket"
reload_and_kill unix_socket
stop unix_socket
[ ! -e "$directory/socket" ] || { echo 'unix_socket: its file is left'; exit 1; }

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

# What a datagram is answered with, by a worker that is there.
serve udp udp:127.0.0.1:0
address=${address#udp:}
exec 3<>"/dev/udp/${address%:*}/${address##*:}"
hears() { echo hello >&3 && timeout 1 head -n 1 <&3 | grep -q '^worker [01] heard hello$'; }
wait_until hears
kill -9 "$(pgrep -P "$supervisor" | head -1)"
wait_until hears
stop udp
exec 3>&-
echo 'udp: answered before and after the death of a worker'

# A partition goes on where its worker was killed.
: >"$log"
"${CARGO_TARGET_DIR:-target}/debug/examples/queue" "$directory" >"$log.out" 2>"$log" &
supervisor=$!
does() { grep -q "^partition $1: job $2 done" "$log.out"; }
wait_until does 2 1
kill -9 "$(sed -n 's/^partition 2: job 1 done by pid //p' "$log.out" | head -1)"
wait_until does 2 4
stop queue
jobs=$(sed -n 's/^partition 2: job \([0-9]*\) .*/\1/p' "$log.out" | uniq)
[ "$jobs" = "$(seq 0 "$(tail -1 <<<"$jobs")")" ] || { echo "queue: partition 2 did the jobs" $jobs; exit 1; }
rm -f "$log.out"
echo 'queue: a killed worker was followed by one that went on with its partition'
