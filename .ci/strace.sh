#!/usr/bin/env bash
# What a test cannot time: signals and failures inside the supervisor's system calls, made long or made to fail by
# strace. One line per case; the exit status is 1 when one failed.
set -eu
cd "$(dirname "$0")/.."
command -v strace > /dev/null || { echo "strace is not installed" >&2; exit 1; }
cargo build --quiet --bins
programs=${CARGO_TARGET_DIR:-target}/debug
work=$(mktemp -d)
stderr=8
as_user=()
session=
trap 'end_session; rm -rf "$work"' EXIT
failed=0

# Sets `words` to the command of a story of tests/fixtures.
fixture() { # STORY
    case $1 in
        upgrades) words=("$programs/$1") ;;
        *) words=("$programs/fixture" "$1") ;;
    esac
}

# Each case runs in a session of its own, led by strace.
start() { # STORY INJECTION...
    local words injections=() injection
    fixture "$1"
    shift
    exec 8> "$work/err"
    for injection; do injections+=(-e "inject=$injection"); done
    # strace tampers only with calls that it traces.
    local calls=("${@%%:*}")
    # A shell ignores the keyboard's signals in what it puts in the background.
    setsid env --default-signal=INT,QUIT strace "${as_user[@]}" -f -qq -o "$work/trace" \
        -e trace="$(IFS=,; echo "${calls[*]}")" "${injections[@]}" \
        "${words[@]}" > "$work/out" 2>&"$stderr" &
    session=$!
    until_true "the supervisor is there" supervisor_is_there "${words[0]}"
}

# Who a process has made and not reaped, without starting a process to learn it.
children_of() { # PID
    children=()
    read -r -a children 2> /dev/null < "/proc/$1/task/$1/children" || true
}

supervisor_is_there() { # PROGRAM
    children_of "$session"
    for supervisor in "${children[@]}"; do
        [ "/proc/$supervisor/exe" -ef "$1" ] && return
    done
    return 1
}

until_true() { # WHAT COMMAND...
    local what=$1 deadline=$((SECONDS + ${DEADLINE:-60}))
    shift
    until "$@"; do
        if [ $SECONDS -ge $deadline ]; then
            problem="waited in vain: $what"
            return 1
        fi
        sleep 0.002
    done 2> /dev/null
}

children_are() {
    children_of "$supervisor"
    [ ${#children[@]} = "$1" ]
}

# SIGTERM is bit 14.
sigterm_is_blocked() { grep -Eq '^SigBlk:.*[4-7c-f][0-9a-f]{3}$' "/proc/$supervisor/status"; }

kill_a_worker() {
    children_of "$supervisor"
    kill -KILL "${children[0]}"
}

has_line() { grep -q -- "$1" "$work/err"; }
no_process_is_left() { ! pgrep -s "$session" -r D,R,S,T,t > /dev/null; }

end_session() {
    [ -z "$session" ] && return
    pkill -KILL -s "$session" || true
    wait "$session" 2> /dev/null || true
}

ended() { # STATUS: strace ends as the supervisor did, when all are gone
    local status=0
    until_true "no process is left" no_process_is_left || return 1
    wait "$session" 2> /dev/null || status=$?
    [ "$status" = "$1" ] || { problem="exit status $status"; return 1; }
}

expect() { has_line "$1" || { problem="no line with \"$1\""; return 1; }; }
expect_not() { ! has_line "$1" || { problem="a line with \"$1\""; return 1; }; }

check() { # NAME FUNCTION ARGUMENTS...
    local name=$1
    shift
    problem=unknown
    if "$@"; then
        echo "ok      $name"
    else
        echo "FAILED  $name: $problem"
        sed 's/^/        | /' "$work/err"
        failed=1
    fi
    end_session
    session=
}

# fork(3) is clone(2) here; strace names it after the call that the C library makes.

signal_in_a_fork_of_the_start() { # SIGNAL NTH SIDE CHILDREN
    start sleeps "clone:delay_$3=800000:when=$2" &&
        until_true "signals are blocked" sigterm_is_blocked &&
        until_true "the call is entered" children_are "$4" &&
        kill "-$1" "$supervisor" && ended 0 && expect "stopped by SIG$1"
}

signal_in_the_fork_of_a_restart() { # SIGNAL
    start sleeps clone:delay_exit=800000:when=4 && until_true "three workers" children_are 3 &&
        kill_a_worker && until_true "its end is seen" has_line restarting &&
        until_true "its successor" children_are 3 && kill "-$1" "$supervisor" && ended 0 && expect "stopped by SIG$1"
}

# Neither side has moved the new worker to a group of its own yet.
signal_to_the_group_in_a_fork() { # SIGNAL
    start sleeps clone:delay_exit=800000:when=2 prctl:delay_enter=700000 &&
        until_true "two workers" children_are 2 &&
        kill "-$1" -- "-$session" && until_true "all are gone" no_process_is_left &&
        expect "stopped by SIG$1" && expect_not "killed by SIG$1"
}

no_fork_at_the_start() { # ERROR
    start sleeps "clone:error=$1:delay_enter=400000:when=3" && ended 1 && expect "cannot fork: " && expect "killed by SIGTERM"
}

no_fork_later() { # ERROR
    start sleeps "clone:error=$1:when=4..6" && until_true "three workers" children_are 3 &&
        kill_a_worker &&
        until_true "the worker is back" has_line "started, restart 1 of it" && kill -TERM "$supervisor" && ended 0 &&
        expect "forking succeeds again, and no fork is pending: the system refused 3 forks"
}

interrupted() { # INJECTION...
    start sleeps "$@" && until_true "three workers" children_are 3 &&
        kill_a_worker &&
        until_true "the worker is back" has_line "started, restart 1 of it" && kill -TERM "$supervisor" && ended 0 &&
        expect "stopped by SIGTERM"
}

# How many times a program reads before it has a signalfd.
reads_before() {
    strace -f -qq -e trace=read,signalfd4 -o "$work/reads" "$programs/fixture" reports-task-id > /dev/null 2>&1
    sed '/signalfd4/,$d' "$work/reads" | grep -c 'read('
}

supervisor_killed_in_prctl() { # SIDE
    start ignores-term "prctl:delay_$1=500000" && until_true "a worker" children_are 2 &&
        kill -KILL "$supervisor" && until_true "all are gone" no_process_is_left && wait_for_strace
}

socket_is_made() { # DIRECTORY
    [ -S "$(echo "$1"/.app.sock.prefork/*)" ]
}

# Between the question whether a process has the socket and the file that shows it.
second_start_while_a_unix_socket_is_made() { # CALL
    export PREFORK_LISTEN=unix:$work/app.sock
    start sleeps "$1:delay_enter=800000" && until_true "the socket is made" socket_is_made "$work" &&
        second_start_is_refused && until_true "three workers" children_are 3 && kill -TERM "$supervisor" && ended 0 &&
        [ ! -e "$work/app.sock" ]
}

# A directory that belongs to the user nobody, beside a file of root's. The call is delayed, and that user exchanges names.
nobodys_directory() {
    rm -rf "$work/run"
    mkdir "$work/run" && chown nobody "$work/run"
    echo precious > "$work/precious" && chmod 600 "$work/precious"
    export PREFORK_LISTEN="unix:$work/run/app.sock?mode=666&owner=nobody"
}

as_nobody() { setpriv --reuid=nobody --clear-groups "$@"; }

precious_is_untouched() {
    local found
    found=$(stat -c '%a %U' "$work/precious")
    [ "$found" = "600 root" ] || { problem="a file of root's is $found"; return 1; }
}

names_exchanged_while_a_unix_socket_is_made() { # CALL
    nobodys_directory && start sleeps "$1:delay_enter=800000" &&
        until_true "the socket is made" socket_is_made "$work/run" && exchange_the_unfinished &&
        until_true "three workers" children_are 3 && kill -TERM "$supervisor" && ended 0 && precious_is_untouched &&
        [ ! -e "$work/run/app.sock" ]
}

names_exchanged_in_a_check() { # CALL
    nobodys_directory && PREFORK=check start sleeps "$1:delay_enter=800000" &&
        until_true "the socket is made" socket_is_made "$work/run" && exchange_the_unfinished && ended 0 &&
        precious_is_untouched && [ ! -e "$work/run/app.sock" ]
}

exchange_the_unfinished() {
    local private=$work/run/.app.sock.prefork own=$work/run/own sockets
    sockets=("$private"/*)
    # shellcheck disable=SC2016 # the shell of the user nobody expands them
    as_nobody sh -ec 'mkdir "$1"; ln -s "$2" "$1/$3"; mv -T "$4" "$4.away"; mv -T "$1" "$4"' sh \
        "$own" "$work/precious" "${sockets[0]##*/}" "$private"
}

names_exchanged_in_an_upgrade() { # CALL NTH
    nobodys_directory && PREFORK_LISTEN=127.0.0.1:0,$PREFORK_LISTEN start upgrades "$1:delay_enter=800000:when=$2" &&
        until_true "the pool is ready" has_line "are ready" && kill -USR2 "$supervisor" &&
        until_true "the new binary" has_line "upgraded: " && until_true "the call" supervisor_stands &&
        as_nobody mv "$work/run/app.sock" "$work/run/away" && as_nobody ln -s "$work/precious" "$work/run/app.sock" &&
        until_true "the call is over" supervisor_goes_on && kill -TERM "$supervisor" && ended 0 && precious_is_untouched
}

# strace keeps it in a delayed call.
supervisor_stands() {
    local _
    for _ in {1..20}; do grep -q '^State:.t' "/proc/$supervisor/status" || return 1; sleep 0.005; done
}
supervisor_goes_on() { ! grep -q '^State:.t' "/proc/$supervisor/status"; }

second_start_is_refused() {
    local status=0
    timeout 60 "$programs/fixture" sleeps > /dev/null 2> "$work/second" || status=$?
    [ $status = 1 ] && grep -q 'another process listens there' "$work/second" || { problem="a second start: $status"; return 1; }
}

workers_are_nobody() {
    children_of "$supervisor"
    [ ${#children[@]} = 2 ] || return 1
    local child
    for child in "${children[@]}"; do grep -q '^Uid:.65534' "/proc/$child/status" || return 1; done
}

# The workers are another user already, and not tied to their supervisor again.
supervisor_killed_after_the_drop() { # CALL
    PREFORK_USER=nobody start ignores-term "$1:delay_exit=800000" &&
        until_true "two workers of another user" workers_are_nobody &&
        kill -KILL "$supervisor" && until_true "all are gone" no_process_is_left && wait_for_strace &&
        expect "cannot become\|is gone" && ! grep -q blocks "$work/out"
}

no_drop() { # CALL
    PREFORK_USER=nobody PREFORK_MAX_RESTARTS=1 start ignores-term "$1:error=EPERM:delay_enter=300000" && ended 1 &&
        expect "cannot become user nobody .*Operation not permitted" && ! grep -q blocks "$work/out"
}

wait_for_strace() { wait "$session" 2> /dev/null || true; }

# The supervisor may not open this pipe once more, and it fills up between the question whether it takes a line and
# the line.
pipe_of_another_user_fills_up() {
    # A pipe as pipe(2) makes it: one that is opened by name cannot be written to without waiting.
    coproc READER { exec sleep 1000; }
    exec 9>&"${READER[1]}"
    stderr=9 as_user=(-u nobody)
    start sleeps poll:delay_exit=500000:when=3
    stderr=8 as_user=()
    until_true "three workers" children_are 3 && kill -TERM "$supervisor" &&
        { dd if=/dev/zero of="/proc/$$/fd/9" bs=4096 oflag=nonblock 2> /dev/null || true; } && ended 0
}

for nth in 1 2 3; do
    check "SIGTERM before fork $nth" signal_in_a_fork_of_the_start TERM $nth enter $((nth - 1))
    check "SIGTERM after fork $nth, before it returns" signal_in_a_fork_of_the_start TERM $nth exit $nth
done
for signal in INT QUIT; do
    check "SIG$signal after fork 2, before it returns" signal_in_a_fork_of_the_start $signal 2 exit 2
done
for signal in TERM INT QUIT; do
    check "SIG$signal in the fork of a restart" signal_in_the_fork_of_a_restart $signal
done
for signal in INT QUIT; do
    check "SIG$signal to supervisor and new worker in a fork" signal_to_the_group_in_a_fork $signal
done
for error in EAGAIN ENOMEM; do
    check "the third fork fails with $error" no_fork_at_the_start $error
    check "forks of a restart fail with $error" no_fork_later $error
done
for call in waitid wait4; do
    check "$call is interrupted every other time" interrupted $call:error=EINTR:when=1+2
    check "$call fails every other time" interrupted $call:error=ENOMEM:when=1+2
done
check "ppoll is interrupted every other time" interrupted ppoll:error=EINTR:when=1+2
check "ppoll fails for want of memory" interrupted ppoll:error=ENOMEM:when=1+3
check "reading signals is interrupted every third time" interrupted "read:error=EINTR:when=$(($(reads_before) + 1))+3"
for side in enter exit; do
    check "the supervisor is killed while workers ask for the parent-death signal ($side)" \
        supervisor_killed_in_prctl $side
done
for call in listen renameat2; do
    check "a second start before $call of a Unix socket" second_start_while_a_unix_socket_is_made $call
done
unset PREFORK_LISTEN
if [ "$(id -u)" = 0 ]; then
    check "the supervisor is killed while workers become another user" supervisor_killed_after_the_drop setresuid
    check "the supervisor is killed after workers became another user" supervisor_killed_after_the_drop capset
    for call in setgroups setresgid setresuid capset; do
        check "$call fails in the workers" no_drop "$call"
    done
    chmod 711 "$work"
    for call in fchownat fchmodat listen renameat2; do
        check "the user nobody exchanges names before $call of a Unix socket" names_exchanged_while_a_unix_socket_is_made $call
    done
    check "the user nobody exchanges names in a check" names_exchanged_in_a_check fchmodat
    # The first fchownat is that of the start.
    check "the user nobody exchanges names before fchownat in an upgrade" names_exchanged_in_an_upgrade fchownat 2
    check "the user nobody exchanges names before chmod in an upgrade" names_exchanged_in_an_upgrade chmod 1
    unset PREFORK_LISTEN
    check "a pipe of another user fills up" pipe_of_another_user_fills_up
    kill "$READER_PID"
else
    echo "skipped a pipe of another user and workers of another user: only root can be two users"
fi
# And each call that the supervisor makes, one at a time.
bash .ci/injections.sh || failed=1
exit $failed
