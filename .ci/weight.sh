#!/usr/bin/env bash
# What prefork costs a user: the cold build of a crate that uses it, against one that uses tokio with macros and rt, and
# the size of a hello against a plain hello. Fails where either is more than 10 % above .ci/weight.txt.
#
#   weight.sh            compares with the record
#   weight.sh --plain    prints one "name value" for each figure, and compares nothing
#   weight.sh --record   writes the record
#
# ROUNDS=N builds N times, interleaved, and takes the least CPU time of each; the default is 2.
#
# CPU time varies with what else runs, by more than 10 %, and with the machine. So the limit is on what the compiler writes
# for the same build, which varies with the sources only: the bytes of all the libraries. CPU time has a wide limit, against
# what bytes do not show.
set -euo pipefail
cd "$(dirname "$0")/.."
record=$PWD/.ci/weight.txt root=$PWD
crates=${CARGO_TARGET_DIR:-$PWD/target}/weight

# As a user who has the crates from a registry builds: default profiles, nothing incremental.
unset RUSTFLAGS RUSTC_WRAPPER CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET
for name in "${!CARGO_PROFILE_@}"; do unset "$name"; done
export CARGO_INCREMENTAL=0

# crate NAME DEPENDENCY MAIN: a package of its own, with the versions of our lock file.
crate() {
  mkdir -p "$crates/$1/src"
  printf '%s\n' '[package]' "name = \"$1\"" 'edition = "2024"' '[dependencies]' "$2" '[workspace]' '[profile.release]' \
    'strip = true' >"$crates/$1/Cargo.toml"
  printf '%s\n' "$3" >"$crates/$1/src/main.rs"
  cp Cargo.lock "$crates/$1/"
  cargo fetch --quiet --manifest-path "$crates/$1/Cargo.toml"
}
rm -rf "$crates"
crate ours "prefork-rt = { path = \"$root/prefork-rt\" }" '#[prefork_rt::prefork(workers = 4, max_restarts = 100)]
fn main(task_id: usize) {
    println!("worker {task_id}");
}'
crate tokio 'tokio = { version = "1", features = ["macros", "rt"] }' '#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("hello");
}'
crate plain '' 'fn main() { println!("hello"); }'

build() { (cd "$crates/$1" && cargo build --quiet --target-dir target "${@:2}"); }

# cold NAME: builds it from nothing; prints milliseconds of CPU.
cold() {
  local TIMEFORMAT='%3U %3S'
  rm -rf "$crates/$1/target"
  { time build "$1" 2>&3; } 3>&2 2>&1 | awk '{ printf "%d\n", ($1 + $2) * 1000 }'
}
least() { printf '%s\n' "$@" | sort -n | sed -n 1p; }
bytes() { find "$crates/$1/target/debug/deps" -name '*.rlib' -printf '%s\n' | awk '{ sum += $1 } END { print sum }'; }
percent() { echo $((100 * $1 / $2)); }

ours=() tokio=()
for ((round = 0; round < ${ROUNDS:-2}; round++)); do
  ours+=("$(cold ours)")
  tokio+=("$(cold tokio)")
done
build_ms=$(least "${ours[@]}") tokio_build_ms=$(least "${tokio[@]}")
build_bytes=$(bytes ours) tokio_build_bytes=$(bytes tokio)
rm -rf "$crates"/{ours,tokio}/target
build ours --release
build plain --release
hello_bytes=$(stat -c %s "$crates/ours/target/release/ours")
plain_bytes=$(stat -c %s "$crates/plain/target/release/plain")
rm -rf "$crates"

# In percent, of tokio and of the plain hello.
build_percent=$(percent "$build_ms" "$tokio_build_ms")
build_bytes_percent=$(percent "$build_bytes" "$tokio_build_bytes")
above_percent=$(percent $((hello_bytes - plain_bytes)) "$plain_bytes")

if [ "${1:-}" = --plain ]; then
  for name in build_ms tokio_build_ms build_percent build_bytes tokio_build_bytes build_bytes_percent hello_bytes \
    plain_bytes above_percent; do
    echo "$name ${!name}"
  done
  exit
fi
if [ "${1:-}" = --record ]; then
  {
    echo "# In percent: a cold build's CPU time and libraries against tokio's, a hello beyond a plain hello against that."
    echo "# Written by weight.sh --record on $(date -u +%F), $(rustc --version | cut -d ' ' -f 1,2)."
    for name in build_percent build_bytes_percent above_percent; do echo "$name ${!name}"; done
  } >"$record"
fi

status=0
# compare NAME LIMIT WHAT: fails where the figure is more than this many percent above the record.
compare() {
  local recorded
  recorded=$(awk -v name="$1" '$1 == name { print $2 }' "$record")
  printf '%s; recorded are %s %%, the limit is %s %% more\n' "$3" "$recorded" "$2"
  if ((${!1} * 100 > recorded * (100 + $2))); then
    echo "weight.sh: $1 is ${!1}, more than $2 % above the $recorded of .ci/weight.txt: find what has grown, or record it"
    status=1
  fi
}
compare build_percent 50 "cold build: $build_ms ms of CPU, tokio's $tokio_build_ms ms: $build_percent %"
compare build_bytes_percent 10 \
  "its libraries: $((build_bytes / 1000)) kB, tokio's $((tokio_build_bytes / 1000)) kB: $build_bytes_percent %"
compare above_percent 10 \
  "hello, release, stripped: $(((hello_bytes - plain_bytes) / 1000)) kB above a plain hello of $((plain_bytes / 1000)) kB: $above_percent %"
exit $status
