#!/bin/bash
# hrt and hrt-bench with pipes as files, and with streams and disks that are closed or full: a picture or a sentence,
# never half a file. /dev/full and ulimit -f make the full disks.
set -u
hrt=$1 bench=$2 bundle=$3 composite=$4 mask=$5
export HARMONYRT_MODULES=$6
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

case_() { # what, expected exit code, words that stderr must hold, then a line of bash
    local code
    bash -c "$4" 2>stderr
    code=$?
    if [ $code -ne "$2" ] || { [ -n "$3" ] && ! grep -qF -- "$3" stderr; }; then
        echo "FAILED $1: exit code $code, expected $2 and '$3'; stderr:" && cat stderr
        failed=1
    fi
}
same() { # what, file
    cmp -s expected.png "$2" || { echo "FAILED $1: $2 is not the expected picture" && failed=1; }
}
absent() { # what, files that must not be there
    local name
    for name in "${@:2}" .hrt-*; do
        [ ! -e "$name" ] || { echo "FAILED $1: $name is there" && failed=1; }
    done
}

export H="$hrt $bundle" C=$composite M=$mask
case_ "a picture" 0 "opened" '$H $C $M expected.png'
case_ "the composite from a pipe" 0 "opened" '$H <(cat $C) $M pipe.png'
same "the composite from a pipe" pipe.png
case_ "the mask from /dev/stdin" 0 "opened" 'cat $M | $H $C /dev/stdin stdin.png'
same "the mask from /dev/stdin" stdin.png
mkfifo fifo.png
case_ "a named pipe as output" 0 "opened" 'cat fifo.png > fromfifo.png & $H $C $M fifo.png; code=$?; wait; exit $code'
same "a named pipe as output" fromfifo.png
[ -p fifo.png ] || { echo "FAILED: the named pipe became a file" && failed=1; }
mkdir there && ln -s there/target.png link.png
case_ "a link as output" 0 "opened" '$H $C $M link.png'
same "a link as output" there/target.png
[ -L link.png ] || { echo "FAILED: the link became a file" && failed=1; }
long=$(printf 'n%.0s' $(seq 251)).png
case_ "a name of 255 bytes" 0 "opened" "\$H \$C \$M $long"
same "a name of 255 bytes" "$long"
case_ "all streams closed" 0 "" '$H $C $M closed.png <&- >&- 2>&-'
same "all streams closed" closed.png
case_ "stderr on a full disk" 0 "" '$H $C $M fullerr.png 2>/dev/full'
same "stderr on a full disk" fullerr.png
case_ "a reader of stderr that leaves" 0 "" '{ $H $C $M left.png; echo $? >code; } 2>&1 | true; exit $(cat code)'
same "a reader of stderr that leaves" left.png

cp expected.png old.png
case_ "no room for the picture" 1 "old.png cannot be written: File too large" '(ulimit -f 1; $H $C $M old.png)'
same "what was there stays" old.png
case_ "no room for a JPEG" 1 "cannot be written: File too large" '(ulimit -f 1; $H $C $M full.jpg)'
absent "no room" full.jpg
case_ "no folder" 2 "nowhere/o.png cannot be written: No such file" '$H $C $M nowhere/o.png'
case_ "a wrong suffix" 2 "has no suffix" '$H $C $M o.xyz'
case_ "an empty file" 2 "is empty" '$H <(true) $M o.png'
case_ "a folder as composite" 2 "Is a directory" '$H . $M o.png'
absent "refusals" o.png o.xyz

case_ "a lost version" 1 "stdout is lost" "$hrt --version >/dev/full"
case_ "a lost help" 1 "stdout is lost (it is closed)" "$bench --help >&-"
case_ "a lost run" 1 "stdout is lost" "$bench $bundle --picture 16x16 --seconds 0.01 --json - >/dev/full"
case_ "no room for a run" 1 "run.json cannot be written" "(ulimit -f 1; $bench $bundle --picture 16x16 --seconds 0.3 --json run.json)"
absent "no room for a run" run.json
case_ "a bundle that is missing" 2 "nowhere" "$bench nowhere"
for wrong in "--threads two" "--threads 0" "--steps -1" "--seed 1.5" "--seconds soon" "--seconds 0" "--picture 16" "--picture 0x16" \
    "--picture 16x16x16" "--sessions 1,many" "--sessions 1000" "--json"; do
    case_ "hrt-bench $wrong" 2 "hrt-bench: ${wrong%% *}" "$bench $bundle $wrong"
done
case_ "an unknown option" 2 "there is no option --nothing" "$bench $bundle --nothing 1"
case_ "two bundles" 2 "one bundle is taken" "$bench $bundle another"
for wrong in "--threads two" "--strength 2" "--strength" "--seed -1"; do
    case_ "hrt $wrong" 2 "hrt: ${wrong%% *}" "\$H \$C \$M o.png $wrong"
done
absent "wrong options" o.png
exit $failed
