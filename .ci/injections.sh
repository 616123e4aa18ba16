#!/usr/bin/env bash
# Lets system calls of the supervisor fail, one in each run, with strace. A pool starts, listens, serves, loses a worker,
# reloads, is upgraded and stops. Whatever fails on the way, it must serve all along and stop in order with status 0, or
# end with one line that says what failed; and then leave no process and no file.
#
#   injections.sh                   the list below, which takes about a minute
#   injections.sh all               every call of such a life with every error in `errors`: half an hour and more
#   injections.sh CALL ERROR NTH    this one, as a failure is reported
#
# Writes are left out, and the polls before them, as only lines of the log are written (tests/log_pressure.rs). So is what
# the C library asks for memory.
set -eu
cd "$(dirname "$0")/.."
command -v strace > /dev/null || { echo "strace is not installed" >&2; exit 1; }
cargo build --quiet --bin upgrades
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=$work/program
cp "${CARGO_TARGET_DIR:-target}/debug/upgrades" "$program"
deadline=${DEADLINE:-60}

# Call, error, and which of its calls: counted from the start of the builder (s), or from there in the next binary (u).
sample() {
    cat << 'LIST'
openat EMFILE s1
openat EACCES s2
getdents64 EIO s1
newfstatat EIO s1
fcntl EPERM s1
fcntl EPERM s4
memfd_create EMFILE s1
memfd_create ENOSYS s1
ftruncate EFBIG s1
mmap ENOMEM s1
mmap ENOMEM s3
mprotect ENOMEM s1
pipe2 EMFILE s1
rt_sigaction EINVAL s3
rt_sigprocmask EPERM s1
rt_sigprocmask EPERM s2
signalfd4 EMFILE s1
signalfd4 ENOSYS s1
getrandom EAGAIN s1
unshare EPERM s1
unshare EPERM s4
clone EAGAIN s1
clone ENOMEM s2
clone EAGAIN s3
clone EAGAIN s6
wait4 EINTR s1
wait4 EINTR s3
waitid EINTR s2
kill EPERM s1
kill ESRCH s3
ppoll ENOMEM s2
ppoll EINTR s5
read EINTR s5
read EIO s9
read EIO s14
prctl EINVAL s1
socket EMFILE s1
socket EMFILE s2
socket ENOBUFS s2
setsockopt ENOMEM s1
bind EADDRINUSE s1
bind EACCES s2
listen EADDRINUSE s1
listen EADDRINUSE s2
getsockname ENOBUFS s1
flock ENOLCK s1
flock EINTR s1
flock ENOLCK s2
flock ENOLCK s3
flock ENOLCK s4
flock ENOLCK u1
mkdirat EACCES s1
mkdirat EACCES u1
renameat2 EACCES s1
renameat2 EINVAL s1
renameat2 EPERM s1
fstat EIO s1
unlinkat EACCES s1
unlinkat EACCES s2
unlinkat EIO u1
unlinkat EACCES u3
statx EACCES s3
newfstatat ENOMEM s2
connect EIO u1
execve ENOMEM s1
execve ETXTBSY s1
chdir EACCES s1
pipe2 EMFILE s3
read EIO s25
fcntl EMFILE s43
fcntl EMFILE u1
fcntl EMFILE u5
mmap ENOMEM u1
mmap ENOMEM u2
mprotect ENOMEM u1
openat EMFILE u1
openat EMFILE u2
openat EMFILE u3
read EIO u1
signalfd4 EMFILE u1
rt_sigaction EINVAL u3
rt_sigprocmask EPERM u1
clone EAGAIN u1
kill EPERM u1
read EIO u4
ppoll ENOMEM u2
LIST
}

# The errors that calls are made to fail with, as their manual pages and seccomp filters have them.
errors() { # CALL
    case $1 in
        write | poll | brk | munmap | madvise | exit_group | getpid | gettid | getppid | getpgrp) ;;
        openat) echo EMFILE ENOMEM EACCES EINTR ;;
        open | memfd_create) echo EMFILE ENOMEM ENOSYS ;;
        # strace would leave the descriptor open, which no error of close(2) means.
        close) ;;
        read | pread64) echo EINTR EIO EAGAIN ;;
        fcntl) echo EMFILE EPERM ;;
        mmap | mprotect) echo ENOMEM EACCES ;;
        ftruncate) echo EFBIG EINTR ;;
        pipe2 | pipe | dup | dup2 | dup3 | eventfd2 | epoll_create1) echo EMFILE ENFILE ;;
        signalfd4) echo EMFILE ENOSYS ;;
        rt_sigaction) echo EINVAL ;;
        rt_sigprocmask | prctl | unshare | setpgid) echo EPERM EINVAL ;;
        clone | clone3 | vfork | fork) echo EAGAIN ENOMEM ;;
        # That there are no children is true or not said.
        wait4 | waitid) echo EINTR ;;
        kill) echo EPERM ESRCH ;;
        ppoll | pselect6) echo EINTR ENOMEM ;;
        socket | socketpair) echo EMFILE ENOBUFS ;;
        bind | listen) echo EADDRINUSE EACCES ;;
        setsockopt | getsockopt | getsockname | getpeername) echo ENOBUFS ENOMEM ;;
        connect | sendto | sendmsg | recvfrom | recvmsg) echo EAGAIN EIO ;;
        flock) echo ENOLCK EINTR ;;
        rename | unlink | unlinkat | mkdirat | fchownat | fchmodat | chmod) echo EACCES EIO ;;
        renameat2) echo EACCES EINVAL EPERM ;;
        statx | newfstatat | fstat | readlink | getdents64 | lseek) echo ENOMEM EIO ;;
        execve) echo ENOMEM EACCES ETXTBSY ;;
        chdir | fchdir) echo EACCES EIO ;;
        getrandom) echo EINTR EAGAIN ;;
        *) echo EPERM ;;
    esac
}

# One life, in a directory and a session of its own; `problem` says what was wrong with it.
life() { # DIRECTORY STRACE-OPTIONS...
    local directory=$1 status=0
    shift
    mkdir "$directory"
    : > "$directory/err"
    cp "$program" "$directory/app"
    problem= step=start
    PREFORK_LISTEN=127.0.0.1:0,unix:$directory/app.sock PREFORK_GRACEFUL_TIMEOUT=5s PREFORK_READY_TIMEOUT=10s \
        setsid env --default-signal=INT,QUIT strace -qq -o "$directory/trace" "$@" "$directory/app" \
        > "$directory/out" 2> "$directory/err" &
    session=$!
    live "$directory" || true
    if is_alive; then
        problem="nothing happens after: $step"
    else
        wait "$session" 2> /dev/null || status=$?
        judge "$directory" "$status"
    fi
    if pgrep -s "$session" -r D,R,S,T,t > /dev/null; then
        problem=${problem:-"processes are left"}
        pkill -KILL -s "$session" || true
    fi
    wait "$session" 2> /dev/null || true
}

# Each step waits for its line, or for the end.
live() { # DIRECTORY
    local supervisor= port
    has "ready after" || return
    supervisor=$(first_child "$session")
    port=$(sed -n 's/^prefork: listening on 127.0.0.1:\([0-9]*\)$/\1/p' "$1/err")
    step=asked && is_answered "$port" || return
    step="a worker killed" && kill -KILL "$(first_child "$supervisor")" && has "started, restart 1 of it$" || return
    step=SIGHUP && kill -HUP "$supervisor" && has "reload done after\|reload abandoned" || return
    cp "$program" "$1/app.next" && mv "$1/app.next" "$1/app"
    step=SIGUSR2 && kill -USR2 "$supervisor" && has "upgrade done after\|upgrade abandoned\|reload abandoned" || return
    step="asked again" && is_answered "$port" && within two_children "$supervisor" || return
    step=SIGTERM && kill -TERM "$supervisor" && within is_over
}

has() { # WORDS
    line_or_end() { grep -q "$1" "$directory/err" || ! is_alive; }
    within line_or_end "$1" && grep -q "$1" "$directory/err"
}

within() { # COMMAND...: before the deadline
    local end=$((SECONDS + deadline))
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.01
    done
}

is_alive() {
    local stat
    { read -r stat < "/proc/$session/stat"; } 2> /dev/null && [[ $stat != *") Z "* ]]
}
is_over() { ! is_alive; }

first_child() { # PID
    local children=()
    # The line has no end.
    { read -r -a children < "/proc/$1/task/$1/children" || true; } 2> /dev/null
    echo "${children[0]:-}"
}

two_children() { # PID
    local children=()
    { read -r -a children < "/proc/$1/task/$1/children" || true; } 2> /dev/null
    [ ${#children[@]} = 2 ] || is_over
}

is_answered() { # PORT
    local answer
    # The system has not told which it is.
    [ "$1" != 0 ] || return 0
    { exec 3<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null || return
    read -r -t "$deadline" answer <&3
    exec 3>&-
    [[ $answer == serves-1* ]]
}

judge() { # DIRECTORY STATUS
    local last
    last=$(tail -n 1 "$1/err")
    # Between two runs, calls may change places with those that the loader makes of the next binary.
    if grep -q "error while loading shared libraries" "$1/err"; then return; fi
    if grep -q panicked "$1/err" "$1/out"; then
        problem="a panic"
    elif { [ -e "$1/app.sock" ] || [ -e "$1/.app.sock.prefork" ]; } && ! grep -q "is left behind: $text" "$1/err"; then
        problem="a file is left"
    elif [ "$2" = 0 ]; then
        [ "$step" = SIGTERM ] && grep -q "^prefork: stopped by SIGTERM" "$1/err" || problem="status 0 after: $step"
    elif [ "$2" -gt 2 ]; then
        problem="status $2 after: $step"
    elif ! [[ $last == "prefork: "* ]]; then
        problem="no reason for status $2"
    elif ! named "$last"; then
        problem="status $2 after: $step, and the last line does not say what failed"
    fi
}

# Whether a line has the text of the error that was injected, or the call.
named() { # LINE
    [[ $1 == *"$text"* ]] || [[ $1 == *"$call("* ]]
}

text_of() { # ERROR
    python3 -c 'import errno, os, sys; print(os.strerror(getattr(errno, sys.argv[1])))' "$1"
}

# Where the program's own calls are in a whole life: "call nth part nth-of-the-part" for each. What the loader and
# std do before main is not ours.
count() {
    local directory=$work/count
    call=none text=none
    life "$directory"
    [ -z "$problem" ] || { echo "FAILED  without any injection: $problem"; cat "$directory/err"; exit 1; }
    awk -F'(' '
        !/^[a-z]/ { next }
        { nth[$1]++ }
        /"\/proc\/self\/fd"/ && !part { part = execs ? "u" : "s" }
        part { own[part, $1]++; print $1, nth[$1], part, own[part, $1] }
        $1 == "execve" { execs = part != ""; part = "" }
    ' "$directory/trace" > "$work/calls"
    rm -rf "$directory"
}

wanted() {
    case ${1:-} in
        [b-z]*) echo "$@" ;;
        all)
            while read -r call nth _; do
                for error in $(errors "$call"); do echo "$call $error $nth"; done
            done < "$work/calls"
            ;;
        *)
            while read -r call error place; do
                # A life on another system may make fewer such calls.
                awk -v call="$call" -v place="$place" -v error="$error" \
                    '$1 == call && $3 $4 == place { print call, error, $2 }' "$work/calls"
            done < <(sample)
            ;;
    esac
}

check() { # CALL ERROR NTH
    local directory=$work/$1-$2-$3
    call=$1 text=$(text_of "$2")
    life "$directory" -e "trace=$1" -e "inject=$1:error=$2:when=$3"
    if [ -n "$problem" ]; then
        echo "FAILED  $1 $2 $3: $problem"
        { grep INJECTED "$directory/trace"; cat "$directory/err"; } | sed 's/^/        | /'
        touch "$work/failed"
    elif [ -n "${VERBOSE:-}" ]; then
        echo "ok      $1 $2 $3: $(tail -n 1 "$directory/err")"
    fi
    rm -rf "$directory"
}

count
wanted "$@" > "$work/wanted"
export -f life live has within is_alive is_over first_child two_children is_answered judge named text_of check
export work program deadline
# shellcheck disable=SC2016 # the shell that xargs starts expands them
xargs -r -L 1 -P "${JOBS:-$(nproc)}" bash -c 'check "$@"' check < "$work/wanted"
echo "$(wc -l < "$work/wanted") system calls were made to fail"
[ ! -e "$work/failed" ]
