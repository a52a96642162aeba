# What the run scripts share: starting, waiting, asking, and ending what was started. Sourced by bash.
#
# LENO_BIN     folder of leno, leno-proxy and leno-control-plane; target/debug of the checkout when absent
# LENO_MODULES folder of the stage filters (cargo xtask guests)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${LENO_BIN:-$root/target/debug}
modules=${LENO_MODULES:-$root/target/wasm32-wasip1/guest}
work=$(mktemp -d)
pids=()

end() {
    local code=$?
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ "$code" -ne 0 ]; then
        for log in "$work"/*.log; do echo "---- ${log##*/}"; tail -n 30 "$log"; done >&2
    fi
    rm -rf "$work"
    exit "$code"
}
trap end EXIT

# start NAME COMMAND...: in the background; what it prints goes to a log that is shown when the script fails
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    pids+=($!)
}

# wait_for WHAT COMMAND...: until the command succeeds
wait_for() {
    local what=$1
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        for pid in "${pids[@]}"; do kill -0 "$pid" || { echo "a program has ended before: $what" >&2; exit 1; }; done
        sleep 0.2
    done
    echo "not in time: $what" >&2
    exit 1
}

get() { curl --silent --show-error --fail --noproxy '*' "$@"; }

# push FILTER: to the embedded registry
push() {
    local module="$modules/leno_filter_${1//-/_}.wasm"
    [ -f "$module" ] || { echo "$module is not there; run: cargo xtask guests" >&2; exit 1; }
    "$bin/leno" push "$module" "127.0.0.1:15014/filters/$1:v1" >>"$work/push.log" 2>&1
}

# programmed SUMMARY...: of all plugins, in the order of their names
programmed() {
    [ "$(get http://127.0.0.1:15014/status | grep -o '"summary":"[^"]*"' | cut -d'"' -f4 | tr '\n' ',')" = "$(printf '%s,' "$@")" ]
}

control_plane() {
    [ -x "$bin/leno-control-plane" ] || { echo "$bin holds no programs; run: cargo build --workspace --bins" >&2; exit 1; }
    start control-plane "$bin/leno-control-plane" -f "$here/config" --state "$work/state"
    wait_for "the control plane is ready" get http://127.0.0.1:15014/ready
}

# ask TITLE FIELDS CURL-ARGUMENTS...: prints the status, and of headers and body the lines whose name is one of FIELDS
ask() {
    local title=$1 fields=$2
    shift 2
    echo "== $title"
    curl --silent --show-error --noproxy '*' --include "$@" | tr -d '\r' |
        grep -E "^(HTTP/1.1 |[a-z0-9]+ [A-Z]+ /|($fields): )|^[A-Za-z ]+$" | sed 's/^HTTP\/1.1 \([0-9]*\).*/\1/'
}

# compare FILE: what was printed with what is expected
compare() {
    diff -u "$here/expected" "$1" || { echo "the output differs from $here/expected" >&2; exit 1; }
    echo "as expected"
}
