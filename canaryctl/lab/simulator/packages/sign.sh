#!/bin/sh
# Sign the repository with the key that comes as a tar on standard input (key.private.asc; made here where there is
# none), and write repository/, key.asc and key.private.asc as a tar to standard output.
set -eu
umask 077
export GNUPGHOME=/tmp/gnupg
mkdir -p "$GNUPGHOME" /tmp/out
cd /tmp/out
tar -x
if [ -e key.private.asc ]; then
  gpg --batch --quiet --import key.private.asc
else
  gpg --batch --quiet --passphrase '' --quick-gen-key 'canaryctl lab: GPU simulator packages' ed25519 sign never
  gpg --batch --quiet --armor --export-secret-keys >key.private.asc
fi
gpg --batch --quiet --armor --export >key.asc
cp -r /repository repository
gpg --batch --quiet --yes --clearsign --output repository/InRelease repository/Release
chmod -R a+rX repository key.asc
tar -c .
