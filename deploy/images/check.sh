#!/usr/bin/env bash
# Everything about containers in one go: a daemon where none answers, base images, images, and their tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$(mktemp -d /tmp/hustings-docker-XXXXXX)
if said=$(deploy/images/daemon.sh start "$folder" 2>"$folder/why"); then
  trap 'deploy/images/daemon.sh stop "$folder"' EXIT
  if [ -n "$said" ]; then export "${said?}"; fi
  make base-images || echo "The base images could not be made; those of a registry are tried."
  make images
  make containers
else
  echo "Containers: $(cat "$folder/why") Their tests are skipped."
  exit 1
fi
