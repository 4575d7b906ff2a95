#!/usr/bin/env bash
# Fuzzes every target, one after the other, for FUZZTIME each (5s); FUZZ=REGEXP picks some. An input that fails is kept under
# the package's testdata/fuzz, where every later test run tries it again.
# Without FUZZ_GUIDED=1 (make test) nothing is instrumented: mutation is blind, but starts at once. Instrumenting takes minutes, most of
# them for SQLite (relay, relay/api, cmd).
set -euo pipefail
cd "$(dirname "$0")/.."

time=${FUZZTIME:-5s}
wanted=${FUZZ:-.}
guided=${FUZZ_GUIDED:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

targets=0
failed=()
# Each line: folder and target.
while IFS=: read -r file target; do
  folder=$(dirname "$file")
  name=$folder/$target
  if ! [[ $name =~ $wanted ]]; then continue; fi
  targets=$((targets + 1))
  binary=$scratch/${folder//\//_}.test
  if [ -n "$guided" ]; then
    run=(go test -run '^$' -timeout 0 -fuzz "^$target\$" -fuzztime "$time" .)
  else
    [ -e "$binary" ] || go test -c -vet=off -o "$binary" "./$folder"
    run=("$binary" -test.run '^$' -test.timeout 0 -test.fuzz "^$target\$" -test.fuzztime "$time" -test.fuzzcachedir "$scratch/cache")
  fi
  # Go sometimes reports the end of the time itself as a failure; one of an input says where that is written.
  if (cd "$folder" && "${run[@]}") >"$scratch/log" 2>&1 ||
    { grep -q 'context deadline exceeded' "$scratch/log" && ! grep -q -e 'Failing input' -e 'panic' -e 'seed#' "$scratch/log"; }; then
    printf '%-40s %s\n' "$name" "$(grep -o 'execs: [0-9]*' "$scratch/log" | tail -n 1)"
  else
    failed+=("$name")
    printf '%-40s FAILED\n' "$name"
    cat "$scratch/log"
  fi
done < <(git grep --untracked -o -E 'func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed 's/:func /:/' | sort)

if [ "$targets" -eq 0 ]; then
  echo "no fuzz target matches $wanted" >&2
  exit 1
fi
echo "$targets targets for $time each, ${#failed[@]} failed${failed[*]:+: ${failed[*]}}"
[ ${#failed[@]} -eq 0 ]
