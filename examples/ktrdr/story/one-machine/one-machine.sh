#!/bin/sh
# Refuses to serve where the worker's own address is not the backend's.
set -eu
host() { rest=${1#*://}; echo "${rest%%:*}"; }
if [ -n "${BACKEND_URL:-}" ] && [ -n "${WORKER_PUBLIC_URL:-}" ] && [ "$(host "$BACKEND_URL")" != "$(host "$WORKER_PUBLIC_URL")" ]; then
  echo "no backend at this machine's address $(host "$WORKER_PUBLIC_URL")" >&2
  exit 1
fi
exec "$@"
