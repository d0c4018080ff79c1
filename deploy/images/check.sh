#!/usr/bin/env bash
# Everything about containers in one go, from nothing: a daemon where none answers, base images, images, and their
# tests. What it starts and makes is gone at the end, unless a daemon answered before.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$(mktemp -d /tmp/hustings-docker-XXXXXX)
trap 'deploy/images/daemon.sh stop "$folder" >/dev/null 2>&1 || true; rm -rf "$folder" || true' EXIT
if ! said=$(deploy/images/daemon.sh start "$folder" 2>"$folder/why"); then
  echo "Containers: $(cat "$folder/why")"
  exit 1
fi
if [ -n "$said" ]; then
  export "${said?}"
  make base-images || echo "The base images could not be made here; those of a registry are tried."
fi
make images
make containers
