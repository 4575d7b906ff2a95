#!/usr/bin/env bash
# Builds what a release consists of into dist/ (or $OUT): for each target an archive with the static binary and a bill of
# materials (CycloneDX), and SHA256SUMS over all of them. The same commit and Go version give the same bytes, wherever the
# source lies and whenever it is built.
#
#   scripts/release.sh [VERSION]                      VERSION: the tag of this commit
#   TARGETS="linux/amd64" scripts/release.sh v1.2.3   only some targets
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-$(git describe --tags --always --dirty)}
commit=${COMMIT:-$(git rev-parse --short=12 HEAD)}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} # the time of everything in the archives
targets=${TARGETS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}
out=$(mkdir -p "${OUT:-dist}" && cd "${OUT:-dist}" && pwd)

# What a developer's environment may say must not change the result.
unset GOFLAGS GOAMD64 GOARM64 GOEXPERIMENT
export CGO_ENABLED=0 LC_ALL=C TZ=UTC

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/sbom" ./scripts/sbom
rm -f "$out"/dollr-relay_*.tar.gz "$out"/dollr-relay_*.cdx.json "$out"/SHA256SUMS

for target in $targets; do
  name=dollr-relay_${version}_${target%/*}_${target#*/}
  folder=$work/$name
  mkdir -p "$folder"
  # -trimpath: no path of this machine. -buildvcs=false: the commit is linked below, so that a build without .git is the same.
  GOOS=${target%/*} GOARCH=${target#*/} go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X main.linkedVersion=$version -X main.linkedCommit=$commit" \
    -o "$folder/dollr-relay" ./cmd/dollr-relay
  install -m 644 LICENSE README.md docs/deploy/dollr-relay.service "$folder"
  chmod 755 "$folder" "$folder/dollr-relay"
  tar --format=ustar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -C "$work" -c "$name" | gzip -9n >"$out/$name.tar.gz"
  "$work/sbom" "$folder/dollr-relay" "$version" >"$out/$name.cdx.json"
  echo "$name"
done

cd "$out"
sha256sum dollr-relay_*.tar.gz dollr-relay_*.cdx.json >SHA256SUMS
