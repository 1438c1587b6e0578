# Words for the suites written in bash. Source it: . "$(dirname "$0")/../lib.sh"
# Each check is a function; `check NAME` runs it in a subshell and prints its one line.

set -u
here=$(cd "$(dirname "$0")" && pwd)
bootstrap=${MILLRACE_BOOTSTRAP:?the address of a broker}
suite=${MILLRACE_SUITE_DIR:?a folder to install and build in}
# Topics and groups of this run: a broker that was used before is no obstacle.
run_id=$(date +%s%N | tail -c 10)

# check NAME [SECONDS]: runs the function NAME (dashes as underscores) with a time limit.
check() {
    local name=$1 seconds=${2:-60} said status
    said=$(timed "$seconds" "${name//-/_}" 2>&1)
    status=$?
    if [ $status -eq 0 ]; then
        echo "ok $name"
    else
        [ $status -eq 143 ] && said="no end within $seconds s; $said"
        echo "FAIL $name $(tail -n 5 <<<"$said" | tr '\n' ' ')"
    fi
}

# Runs a function in a process group of its own, ended after so many seconds.
timed() {
    local seconds=$1 job
    shift
    set -m
    (set -e; "$@") &
    job=$!
    set +m
    (sleep "$seconds"; kill -- -$job) >/dev/null 2>&1 &
    local watch=$!
    wait $job
    local status=$?
    kill $watch 2>/dev/null
    wait $watch 2>/dev/null
    return $status
}

# same WHAT WANTED FOUND
same() {
    [ "$2" = "$3" ] || { echo "$1: wanted '$2', found '$3'"; return 1; }
}

# contains WHAT PART TEXT
contains() {
    case $3 in *"$2"*) ;; *) echo "$1: no '$2' in '$3'"; return 1 ;; esac
}

# python_with FILE: makes a virtual environment with the pinned packages of FILE, once; its path is $venv.
python_with() {
    venv=$suite/venv
    if ! cmp -s "$1" "$venv/installed.txt"; then
        rm -rf "$venv"
        python3 -m venv "$venv" || return 1
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$1" || return 1
        cp "$1" "$venv/installed.txt"
    fi
}
