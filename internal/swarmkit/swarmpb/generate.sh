#!/bin/sh
# Generates the Go code from swarm.proto. Needs Debian's protobuf-compiler; the
# plugin is pinned in go.mod.
set -eu
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT
go build -o "$plugins/" google.golang.org/protobuf/cmd/protoc-gen-go
PATH="$plugins:$PATH" protoc --go_out=. --go_opt=paths=source_relative swarm.proto
