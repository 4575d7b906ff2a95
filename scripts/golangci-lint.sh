#!/usr/bin/env bash
# Runs the installed golangci-lint, wherever `go install` put it.
set -euo pipefail
bin=$(go env GOBIN)
exec "${bin:-$(go env GOPATH)/bin}/golangci-lint" "$@"
