#!/usr/bin/env bash
# Builds and drives the example `python`: requests, random numbers, a killed worker, reloads under load, a thread, a stop.
set -euo pipefail
cd "$(dirname "$0")/../examples/gallery"
export CARGO_INCREMENTAL=0 PREFORK_GRACEFUL_TIMEOUT=10s PREFORK_WORKERS=4 PREFORK_LISTEN=127.0.0.1:0
# The system's, whose library the loader finds.
export PYO3_PYTHON=/usr/bin/python3
cargo build --quiet --locked --package gallery-python
program=${CARGO_TARGET_DIR:-target}/debug/gallery-python

scratch=$(mktemp -d)
log=$scratch/log
supervisor=
trap '[ -z "$supervisor" ] || kill -9 "$supervisor" 2>/dev/null || true; rm -rf "$scratch"' EXIT

fail() { cat "$log"; echo "python: $*"; exit 1; }

# wait_until COMMAND: until it succeeds, for a minute, and as long as the supervisor is there.
wait_until() {
  for _ in {1..1200}; do
    if "$@"; then return; fi
    kill -0 "$supervisor" || break
    sleep 0.05
  done
  fail "waited in vain: $*"
}

says() { [ "$(grep -c "$1" "$log")" -ge "$2" ]; }

"$program" >"$scratch/out" 2>"$log" &
supervisor=$!
wait_until says 'workers are ready' 1
address=$(sed -n 's/.*listening on //p' "$log")
ask() { curl -sSf --max-time 20 "http://$address/$1"; }

# Keeps what different workers answer, until all four have.
: >"$scratch/answers"
all_have_answered() {
  ask item7 >>"$scratch/answers"
  [ "$(sed 's/ .pid.*//' "$scratch/answers" | sort -u | wc -l)" = 4 ]
}
wait_until all_have_answered
! grep -v 'item7 costs 7 cents; drew 0\.' "$scratch/answers" || fail 'that is no answer'
first_draws() { awk '!seen[$2]++ { print $10 }' "$scratch/answers"; }
[ "$(first_draws | sort -u | wc -l)" = 4 ] || fail "the workers' random numbers are not all different: $(first_draws)"
echo "python: four workers answered, each with random numbers of its own"

# In KiB. A table of its own would make 40,000 and more.
for worker in $(pgrep -P "$supervisor"); do
  private=$(awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/$worker/smaps_rollup")
  [ "$private" -lt 20000 ] || fail "worker $worker has $private KiB of its own"
done
echo "python: the workers share the table; one has $private KiB of its own"

# The clients ask without a second try, until told to end.
client() {
  local asked=0
  until [ -e "$scratch/enough" ]; do
    ask item7 >>"$scratch/answers.$1" || { echo "client $1 failed" >>"$scratch/failures"; return; }
    asked=$((asked + 1))
  done
  echo "$asked" >"$scratch/asked.$1"
}
clients=()
for number in 1 2 3 4; do
  client "$number" &
  clients+=($!)
done
answered() { [ "$(cat "$scratch"/answers.* 2>/dev/null | wc -l)" -ge "$1" ]; }
for reload in 1 2 3; do
  wait_until answered $((100 * reload))
  kill -HUP "$supervisor"
  wait_until says 'reload done' "$reload"
done
touch "$scratch/enough"
wait "${clients[@]}"
[ ! -e "$scratch/failures" ] || fail "$(cat "$scratch/failures")"
asked=$(cat "$scratch"/asked.* | awk '{ sum += $1 } END { print sum }')
echo "python: $asked requests during 3 reloads, none failed"

worker=$(pgrep -P "$supervisor" | head -1)
kill -9 "$worker"
wait_until says 'started, restart 1 of it' 1
: >"$scratch/answers"
wait_until all_have_answered
echo 'python: a killed worker was replaced'

workers=$(pgrep -P "$supervisor")
kill -TERM "$supervisor"
status=0
wait "$supervisor" || status=$?
[ "$status" = 0 ] || fail "status $status after SIGTERM"
! grep 'killing' "$log" || fail 'a worker did not end by itself'
for worker in $workers; do ! kill -0 "$worker" 2>/dev/null || fail "worker $worker is left"; done
supervisor=
echo 'python: stopped in order, and nothing is left'

status=0
REFRESH=at-import "$program" >"$scratch/out" 2>"$log" || status=$?
[ "$status" = 2 ] && grep -q 'the Python thread "refresher"' "$log" || fail "a thread was not refused: status $status"
echo 'python: a thread from before the fork was refused by name'
