#!/usr/bin/env bash
# Fuzzes every target for FUZZTIME each (10s), as many at a time as there are processors; FUZZ=REGEXP picks some. An input that
# fails is kept under the package's testdata/fuzz, where every later test run tries it again.
# Without FUZZ_GUIDED=1 (make test) nothing is instrumented: mutation is blind, but starts at once. Instrumenting takes minutes, most of
# them for SQLite (relay, relay/api, cmd).
set -euo pipefail
cd "$(dirname "$0")/.."

export FUZZTIME=${FUZZTIME:-10s}
if ! [[ $FUZZTIME =~ ^([0-9]+x|([0-9]+(\.[0-9]+)?(h|m|s|ms))+)$ ]]; then
  echo "FUZZTIME=$FUZZTIME is no time, such as 30s or 2m, and no number of inputs, such as 1000x" >&2
  exit 2
fi
wanted=${FUZZ:-.}
build=(go test -c -vet=off)
[ -z "${FUZZ_GUIDED:-}" ] || build+=(-fuzz .)
scratch=$(mktemp -d)
export scratch
trap 'rm -rf "$scratch"' EXIT

binary() { echo "$scratch/${1//\//_}.test"; }

# fuzz FOLDER TARGET runs one target on one processor.
fuzz() {
  local name=$1/$2 log=$scratch/${1//\//_}.$2.log
  # Go sometimes reports the end of the time itself as a failure; one of an input says where that is written.
  if (cd "$1" && "$(binary "$1")" -test.run '^$' -test.timeout 0 -test.parallel 1 -test.fuzz "^$2\$" -test.fuzztime "$FUZZTIME" -test.fuzzcachedir "$scratch/cache/$1") >"$log" 2>&1 ||
    { grep -q 'context deadline exceeded' "$log" && ! grep -q -e 'Failing input' -e 'panic' -e 'seed#' "$log"; }; then
    printf '%-40s %s\n' "$name" "$(grep -o 'execs: [0-9]*' "$log" | tail -n 1)"
  else
    printf '%-40s FAILED\n' "$name"
    cat "$log"
    return 1
  fi
}
export -f binary fuzz

# Each line: folder and target.
targets=$(git grep --untracked -o -E 'func Fuzz[A-Za-z0-9_]+' -- '*_test.go' |
  sed -E 's,/[^/]*:func , ,' | sort | while read -r folder target; do
  if [[ $folder/$target =~ $wanted ]]; then echo "$folder $target"; fi
done)
if [ -z "$targets" ]; then
  echo "no fuzz target matches $wanted" >&2
  exit 1
fi
for folder in $(cut -d ' ' -f 1 <<<"$targets" | uniq); do
  "${build[@]}" -o "$(binary "$folder")" "./$folder"
done
failed=0
xargs -P "$(nproc)" -L 1 bash -c 'fuzz "$0" "$1"' <<<"$targets" || failed=1
echo "$(wc -l <<<"$targets") targets for $FUZZTIME each$([ $failed -eq 0 ] || echo ', some FAILED')"
exit $failed
