#!/bin/sh
# Runs the image's command as ktrdr. The image names no USER, so that one built on it can change any file.
set -eu
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=ktrdr --regid=ktrdr --init-groups -- "$@"
fi
exec "$@"
