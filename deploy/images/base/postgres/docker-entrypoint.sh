#!/bin/sh
# Makes the data directory at the first start, then becomes the server. Variables as in the image that this one
# stands in for: POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE, POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS.
set -eu
[ "$1" = postgres ] || exec "$@"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user=${POSTGRES_USER:-postgres}
  database=${POSTGRES_DB:-$user}
  password=${POSTGRES_PASSWORD:-}
  [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || password=$(cat "$POSTGRES_PASSWORD_FILE")
  [ -n "$password" ] || { echo "Set POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD." >&2; exit 1; }
  file=$(mktemp)
  printf '%s\n' "$password" > "$file"
  # Several words on purpose.
  # shellcheck disable=SC2086
  initdb -U "$user" --pwfile="$file" --auth-local=trust --auth-host=scram-sha-256 --no-instructions \
    ${POSTGRES_INITDB_ARGS:-} >/dev/null
  rm "$file"
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  if [ "$database" != postgres ]; then
    echo "CREATE DATABASE \"$database\"" | postgres --single -D "$PGDATA" postgres >/dev/null
  fi
fi
shift
exec postgres -c listen_addresses='*' "$@"
