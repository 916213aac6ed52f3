# Runs the Python program on stdin as root where that is needed and possible. Joined to one line before it is sent.
# Arguments: python, canary root, mode (always|never|auto), "password" when the first line of stdin is one.
py=$1; root=$2; mode=$3; pw=; why=; export LC_ALL=C;
if [ "$4" = password ]; then IFS= read -r pw; fi;
command -v "$py" >/dev/null 2>&1 || { echo "no $py on this host" >&2; exit 127; };
# Docker and the canary root (or where it would be made) are ours to use without sudo.
usable() {
  d=$root; while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done; [ -w "${d:-/}" ] || return 1;
  for s in "${DOCKER_HOST#unix://}" /var/run/docker.sock "$XDG_RUNTIME_DIR/docker.sock" "/run/user/$(id -u)/docker.sock";
  do if [ -S "$s" ] && [ -w "$s" ]; then return 0; fi; done;
  return 1;
};
if [ "$(id -u)" = 0 ] || [ "$mode" = never ]; then exec "$py" -IS - none ""; fi;
if [ "$mode" = auto ] && usable; then exec "$py" -IS - none ""; fi;
if why=$(sudo -n true </dev/null 2>&1); then exec sudo -n "$py" -IS - sudo ""; fi;
# The password is tried alone first: a wrong one must fail once, not eat the program as further guesses.
if [ -n "$pw" ] && why=$(printf "%s\n" "$pw" | sudo -k -S -p "" true 2>&1);
then { printf "%s\n" "$pw"; cat; } | sudo -k -S -p "" "$py" -IS - sudo ""; exit $?; fi;
exec "$py" -IS - refused "$why"
