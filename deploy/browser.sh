#!/bin/sh
# The flow and accessibility tests drive a real Chromium and read topics with kcat. Use what is there; on Debian,
# install what is missing.
set -eu
missing=""
found=""
for name in "${HUSTINGS_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
  if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1; then found="$name"; break; fi
done
[ -n "$found" ] || missing="chromium"
command -v kcat >/dev/null 2>&1 || command -v kafkacat >/dev/null 2>&1 || missing="$missing kcat"
[ -n "$missing" ] || exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "Installing for the tests: $missing …"
  # shellcheck disable=SC2086
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  exit 0
fi
echo "The tests need:$(printf ' %s' $missing). Install it (Debian: apt-get install $missing); HUSTINGS_CHROMIUM may name a Chromium elsewhere." >&2
exit 1
