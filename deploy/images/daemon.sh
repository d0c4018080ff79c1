#!/bin/sh
# A Docker daemon of its own, where none answers: `daemon.sh start FOLDER` and `daemon.sh stop FOLDER`.
#
# `start` prints DOCKER_HOST=… for the caller, or nothing if a daemon answers already. It says in one sentence why it
# can't, and ends with 1. Installs Docker, compose and debootstrap on Debian as root; ends only what it started.
set -eu
action=$1
folder=$2
socket="$folder/docker.sock"
install() {
  missing=""
  for pair in dockerd:docker.io docker-compose:docker-compose debootstrap:debootstrap; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
  done
  if docker compose version >/dev/null 2>&1; then missing=$(echo "$missing" | sed 's/ docker-compose//'); fi
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ] || return 1
  # shellcheck disable=SC2086
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends iptables $missing; } >"$folder/install.log" 2>&1
}
case $action in
  start)
    mkdir -p "$folder"
    if docker version >/dev/null 2>&1; then exit 0; fi
    [ "$(id -u)" = 0 ] || { echo "No Docker daemon answers, and only root can start one." >&2; exit 1; }
    install || { echo "No Docker daemon answers, and Docker can't be installed here (Debian and root only)." >&2; exit 1; }
    setsid dockerd --host "unix://$socket" --data-root "$folder/data" --exec-root "$folder/exec" \
      --pidfile "$folder/docker.pid" >"$folder/dockerd.log" 2>&1 &
    tries=0
    until docker --host "unix://$socket" version >/dev/null 2>&1; do
      tries=$((tries + 1))
      if [ "$tries" -gt 60 ]; then
        "$0" stop "$folder"
        echo "A Docker daemon can't be started here: $(tail -n 1 "$folder/dockerd.log")" >&2
        exit 1
      fi
      sleep 0.5
    done
    echo "DOCKER_HOST=unix://$socket"
    ;;
  stop)
    [ -s "$folder/docker.pid" ] || exit 0
    pid=$(cat "$folder/docker.pid")
    kill "$pid" 2>/dev/null || true
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 60 ]; do
      tries=$((tries + 1))
      sleep 0.5
    done
    rm -rf "$folder/data"
    ;;
esac
