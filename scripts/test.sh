#!/usr/bin/env bash
# Checks everything and ends with a summary. Every part runs even if an earlier one failed, so that one run tells all;
# a part that cannot run has failed.
set -euo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0
summary=""

# part NAME COMMAND... runs one part and keeps its result for the summary.
part() {
  local name=$1 start=$SECONDS result
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then
    result=ok
    passed=$((passed + 1))
  else
    result=FAILED
    failed=$((failed + 1))
  fi
  summary+=$(printf '%-7s %4ds  %s' "$result" "$((SECONDS - start))" "$name")$'\n'
}

# generated shows that the committed generated files are what their sources make.
generated() {
  local before after
  before=$(git status --porcelain; git diff)
  make --no-print-directory generate || return 1
  after=$(git status --porcelain; git diff)
  if [ "$before" != "$after" ]; then
    echo "generated files were out of date; commit what 'make generate' wrote:" >&2
    git status --porcelain >&2
    return 1
  fi
}

# go_tests runs all Go tests with the race detector. Vet ran as a linter already.
go_tests() {
  CGO_ENABLED=1 go test -race -vet=off -timeout 10m ./...
}

# simulator plays its seeds and hunts planted bugs without the race detector, under which only few seeds were played.
simulator() {
  go test -count=1 -vet=off -timeout 20m -v ./internal/sim | grep -v '^=== '
}

# memory counts a hint's allocations and what stalled pages take, which cannot be done with the race detector.
memory() {
  go test -count=1 -vet=off -run '_allocations$|CostsNoMemory$' ./realtime ./relay ./internal/app
}

# browser_tests drives the built binary in Chromium.
browser_tests() {
  make --no-print-directory build || return 1
  (cd web/browsertest && DOLLR_RELAY_BIN="$PWD/../../bin/dollr-relay" npm test --silent)
}

part "setup: linter" scripts/setup.sh lint
part "setup: Debian packages" scripts/setup.sh system
part "setup: npm packages" scripts/setup.sh npm
part "generated files" generated
part "lint, vet, format" scripts/golangci-lint.sh run ./...
part "known vulnerabilities" scripts/vuln.sh if-reachable
part "Go tests, race detector" go_tests
part "memory of hints and pages" memory
part "simulator, planted bugs" simulator
part "fuzzing" scripts/fuzz.sh
part "browser tests" browser_tests

printf '\n== summary\n%s\n%d passed, %d failed\n' "$summary" "$passed" "$failed"
[ "$failed" -eq 0 ]
