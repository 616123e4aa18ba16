#!/usr/bin/env bash
# Builds the recipes in examples/gallery and drives each with 32 clients that keep their connections: none of their
# requests may fail in a reload, and a killed worker may cost one request of each of its connections.
#
#   bash .ci/gallery.sh              what CI runs
#   bash .ci/gallery.sh all          all examples of the gallery
#   bash .ci/gallery.sh NAME...      some of them; `http` and `blocking` are those of the root
#   RELOADS=10 KILLS=5 bash .ci/gallery.sh all    as in the table of the guide
set -euo pipefail
cd "$(dirname "$0")/.."
root=${CARGO_TARGET_DIR:-target}/debug/examples gallery=examples/gallery/target/debug
reloads=${RELOADS:-2} kills=${KILLS:-2}
export PREFORK_WORKERS=2

# The others take a minute more to build.
ci=(actix blocking compio ntex poem rocket smol websocket)
others=(clap database grpc http tracing)
case ${1:-} in
  '') names=("${ci[@]}") ;;
  all) names=("${ci[@]}" "${others[@]}") ;;
  *) names=("$@") ;;
esac

packages=() examples=()
for name in "${names[@]}"; do
  case $name in
    blocking | http) examples+=("--example=$name") ;;
    *) packages+=("--package=gallery-$name") ;;
  esac
done
[ ${#examples[@]} = 0 ] || cargo build --quiet "${examples[@]}"
(
  cd examples/gallery
  export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
  cargo fmt --all --check
  cargo build --quiet --locked --target-dir target --package load "${packages[@]}"
)

supervisor='' load=''
scratch=$(mktemp -d)
trap 'kill -9 $supervisor $load 2>/dev/null || true; rm -rf "$scratch"' EXIT
log=$scratch/log
mkfifo "$scratch/load"

# fail TEXT: what the program said, and why this is not what it should have done.
fail() { cat "$log"; echo "$name: $*"; exit 1; }

# wait_until COMMAND: until it succeeds, for a minute, and as long as the supervisor is there.
wait_until() {
  for _ in {1..1200}; do
    if "$@"; then return; fi
    kill -0 "$supervisor" || break
    sleep 0.05
  done
  fail "waited in vain: $*"
}

# start ARGUMENT...: on any free port; sets supervisor and address.
start() {
  local program=$gallery/gallery-$name
  case $name in blocking | http) program=$root/$name ;; esac
  : >"$log"
  PREFORK_LISTEN=127.0.0.1:0 "$program" "$@" >"$log.out" 2>"$log" &
  supervisor=$!
  wait_until says 'workers are ready' 1
  address=$(sed -n 's/.*listening on //p' "$log")
}

# says TEXT COUNT: whether the log has this many lines with the text.
says() { [ "$(grep -c "$1" "$log")" -ge "$2" ]; }

# stop: SIGTERM, status 0 after it, no worker that had to be killed, and none that is left.
stop() {
  local status=0 workers worker
  workers=$(pgrep -P "$supervisor")
  kill -TERM "$supervisor"
  wait "$supervisor" || status=$?
  [ "$status" = 0 ] || fail "status $status after SIGTERM"
  ! grep 'killing' "$log" || fail 'a worker did not end by itself'
  for worker in $workers; do ! kill -0 "$worker" 2>/dev/null || fail "worker $worker is left"; done
}

# under_load COMMAND: sets requests and failed to what the clients saw while the command ran, and for a second around it.
under_load() {
  "$gallery/load" "$address" <"$scratch/load" >"$scratch/seen" 2>"$scratch/failures" &
  load=$!
  exec 3>"$scratch/load"
  sleep 1
  "$@"
  sleep 1
  exec 3>&-
  wait "$load"
  read -r _ requests _ failed _ <"$scratch/seen"
  [ "$requests" -gt 100 ] || fail "only $requests requests"
}

reload_again_and_again() {
  local reload
  for ((reload = 1; reload <= reloads; reload++)); do
    kill -HUP "$supervisor"
    wait_until says 'reload done' "$reload"
  done
}

# The connections of a killed worker move to the other one, so the kills are apart from each other.
kill_again_and_again() {
  local kill
  for ((kill = 1; kill <= kills; kill++)); do
    kill -9 "$(pgrep -P "$supervisor" | shuf -n 1)"
    wait_until says 'killed by SIGKILL.*restarting' "$kill"
    sleep 0.5
  done
}

# drive_http ARGUMENT...: a web server that answers with "hello from".
drive_http() {
  local in_reloads lost
  start "$@"
  curl -sSf --max-time 20 "http://$address/" | grep -q 'hello from' || fail 'no answer'
  under_load reload_again_and_again
  in_reloads="$requests requests in $reloads reloads, $failed failed"
  [ "$failed" = 0 ] || { cat "$scratch/failures"; fail "$in_reloads"; }
  under_load kill_again_and_again
  # A killed worker's connections are closed, in flight or not: one request of each client at most.
  lost="$requests requests in $kills kills, $failed failed"
  [ "$failed" -le $((32 * kills)) ] || { cat "$scratch/failures"; fail "$lost"; }
  stop
  echo "$name: $in_reloads; $lost"
}

# Each client is told of the reload with a Close frame, code 1012.
drive_websocket() {
  local client
  : >"$scratch/client"
  start
  "$gallery/websocket-client" "$address" >"$scratch/client" &
  client=$!
  wait_until heard 'are you there'
  kill -HUP "$supervisor"
  wait "$client" || fail 'the connection of the WebSocket client did not end in order'
  heard 'closed with 1012' || fail "the client was told: $(cat "$scratch/client")"
  stop
  echo "$name: a reload closed the connection with code 1012"
}

heard() { grep -q "$1" "$scratch/client"; }

# A client that asks without a pause, and tries nothing twice, sees several reloads.
drive_grpc() {
  local client
  : >"$scratch/client"
  start
  "$gallery/grpc-client" "http://$address" 20000 >"$scratch/client" &
  client=$!
  reload_again_and_again
  wait "$client" || fail 'a call failed'
  heard '20000 answers' || fail "the client has $(cat "$scratch/client")"
  stop
  echo "$name: 20000 calls in $reloads reloads, 0 failed"
}

# Each worker writes on in a new file after SIGUSR1.
drive_tracing() {
  local file=$scratch/trace
  start "$file"
  wait_until traced "$file" 'done job=1'
  mv "$file" "$file.1"
  kill -USR1 "$supervisor"
  wait_until traced "$file" 'id=0'
  wait_until traced "$file" 'id=1'
  stop
  echo "$name: both workers opened their file again"
}

traced() { [ -e "$1" ] && grep -q "$2" "$1"; }

for name in "${names[@]}"; do
  case $name in
    websocket)
      drive_http
      drive_websocket
      ;;
    grpc) drive_grpc ;;
    tracing) drive_tracing ;;
    database) drive_http "$scratch/visits.db" ;;
    *) drive_http ;;
  esac
done
