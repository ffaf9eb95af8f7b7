#!/bin/sh
# Writes what compose.yaml asks for into secrets/, each fresh and random; what is there already stays as it is.
set -eu
cd "$(dirname "$0")"
# The folder keeps others on this machine out; containers read the files as users of their own.
mkdir -p secrets
chmod 700 secrets
umask 022
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
write() { [ -e "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"; }
write api_key "$(random)"
write postgres_password "$(random)"
write database_url "postgresql://mlops:$(cat secrets/postgres_password)@database/mlops"
write valkey.conf "requirepass $(random)"
write redis_url "redis://:$(sed -n 's/^requirepass //p' secrets/valkey.conf)@valkey:6379/0"
# Until a key for Prometheus alone is put here.
write metrics_key "$(cat secrets/api_key)"
write grafana_password "$(random)"
