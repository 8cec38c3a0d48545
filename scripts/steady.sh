#!/bin/sh
# Find flaky tests: run a command N times beside a busy loop for each core (`make steady`). usage: steady.sh N COMMAND…
# Failed runs leave their log in build/steady.
runs=$1 logs=build/steady failed=0 loops=
shift
unset MAKEFLAGS MAKELEVEL
rm -rf $logs && mkdir -p $logs || exit 1
for _ in $(seq "$(nproc)"); do
    # Ends by itself when this script has ended, however that happened.
    (while kill -0 $$; do i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; done) >/dev/null 2>&1 &
    loops="$loops $!"
done
trap 'kill $loops' EXIT
trap 'exit 143' INT TERM HUP
for run in $(seq "$runs"); do
    log=$logs/run-$run.log since=$(date +%s) said=passed
    "$@" >"$log" 2>&1 || said=FAILED
    echo "run $run: $said, $(($(date +%s) - since)) s"
    if [ $said = passed ]; then
        rm "$log"
    else
        failed=$((failed + 1))
        grep -E '^(FAILED|ERROR) ' "$log"
        echo "log: $log"
    fi
done
echo "$((runs - failed)) of $runs runs passed"
[ $failed -eq 0 ]
