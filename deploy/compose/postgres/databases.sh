#!/bin/sh
# Makes or repairs the roles and databases of the services named as arguments, with the passwords in /run/secrets.
set -eu
PGPASSWORD=$(cat /run/secrets/postgres_password)
export PGPASSWORD PGHOST=postgres PGUSER=postgres PGDATABASE=postgres
for SERVICE in "$@"; do
  export SERVICE
  psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --set service="$SERVICE" --file /compose/database.sql
  echo "The database of $SERVICE is there."
done
