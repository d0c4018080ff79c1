#!/bin/sh
# A Docker daemon of its own, where none answers: `daemon.sh start FOLDER` and `daemon.sh stop FOLDER`.
#
# `start` prints DOCKER_HOST=… for the caller, or nothing if a daemon answers already. It says in one sentence why it
# can't, and ends with 1. Installs Docker, compose and debootstrap on Debian as root. Everything that the daemon keeps
# is in FOLDER; `stop` ends only what `start` started, with its containers, and leaves FOLDER empty but for its log.
set -eu
action=$1
folder=$2
socket="$folder/docker.sock"
need_mb=8000

fail() {
  echo "$1" >&2
  exit 1
}

install() {
  missing=""
  for pair in dockerd:docker.io iptables:iptables debootstrap:debootstrap; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
  done
  docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null 2>&1 || missing="$missing docker-compose"
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 || return 1
  # Runlevel 1: the package's own daemon is not wanted.
  # shellcheck disable=SC2086
  { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing; } >"$folder/install.log" 2>&1 </dev/null
}

case $action in
  start)
    mkdir -p "$folder"
    if docker version >/dev/null 2>&1; then exit 0; fi
    [ "$(id -u)" = 0 ] || fail "No Docker daemon answers, and only root can start one."
    [ "$(df -Pm "$folder" | awk 'END {print $4}')" -ge "$need_mb" ] \
      || fail "No Docker daemon answers, and one started here would need $need_mb MB of room in $folder."
    install || fail "No Docker daemon answers, and Docker can't be installed here: $(tail -n 1 "$folder/install.log" 2>/dev/null || echo "this is no Debian")."
    setsid dockerd --host "unix://$socket" --data-root "$folder/data" --exec-root "$folder/exec" \
      --pidfile "$folder/docker.pid" >"$folder/dockerd.log" 2>&1 </dev/null &
    pid=$!
    tries=0
    until docker --host "unix://$socket" version >/dev/null 2>&1; do
      tries=$((tries + 1))
      if [ "$tries" -gt 120 ] || ! kill -0 "$pid" 2>/dev/null; then
        "$0" stop "$folder"
        fail "No Docker daemon answers, and none can be started here: $(tail -n 1 "$folder/dockerd.log")"
      fi
      sleep 0.5
    done
    echo "DOCKER_HOST=unix://$socket"
    ;;
  stop)
    [ -s "$folder/docker.pid" ] || exit 0
    pid=$(cat "$folder/docker.pid")
    # Whatever a test that was ended left behind.
    left=$(timeout 20 docker --host "unix://$socket" ps --all --quiet 2>/dev/null || true)
    # shellcheck disable=SC2086
    [ -z "$left" ] || timeout 60 docker --host "unix://$socket" rm --force --volumes $left >/dev/null 2>&1 || true
    kill "$pid" 2>/dev/null || true
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 60 ]; do
      tries=$((tries + 1))
      sleep 0.5
    done
    [ "$tries" -lt 60 ] || kill -9 "$pid" 2>/dev/null || true
    # Its network namespaces stay mounted, and what is mounted can't be removed.
    awk -v below="$folder/" 'index($2, below) == 1 {print $2}' /proc/mounts | sort -r | while read -r mounted; do
      umount "$mounted" 2>/dev/null || true
    done
    rm -rf "$folder/data" "$folder/exec" "$folder/docker.pid" "$socket" 2>/dev/null || true
    ;;
  *)
    fail "Say daemon.sh start FOLDER, or daemon.sh stop FOLDER."
    ;;
esac
