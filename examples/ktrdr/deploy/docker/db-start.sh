#!/bin/sh
# Starts PostgreSQL: makes the cluster and the database once, and sets the password each time, so that a rotated secret
# takes effect with the next start. Before the server listens nobody can use the old one.
set -eu
: "${DB_PASSWORD:?is not set}"
data=/var/lib/postgresql/17

# Unfinished clusters are made anew: `ready` is written last.
if [ ! -e "$data/ready" ]; then
    rm -rf "$data"
    initdb --pgdata="$data" --username=postgres --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 >/dev/null
    echo 'host all ktrdr all scram-sha-256' >> "$data/pg_hba.conf"
    printf '%s\n' 'CREATE ROLE ktrdr LOGIN' 'CREATE DATABASE ktrdr OWNER ktrdr' |
        postgres --single -D "$data" postgres >/dev/null
    touch "$data/ready"
fi
quoted=$(printf '%s' "$DB_PASSWORD" | sed "s/'/''/g")
printf "ALTER ROLE ktrdr PASSWORD '%s'\n" "$quoted" | postgres --single -D "$data" postgres >/dev/null
unset DB_PASSWORD quoted

exec postgres -D "$data" -c listen_addresses='*' -c jit=off
