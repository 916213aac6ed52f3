# A disposable server: systemd, sshd and an unprivileged user with sudo, and nothing a real server would not have.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      ca-certificates dbus iproute2 openssh-server procps python3 sudo systemd systemd-sysv \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
# Host keys made at install time would be the same on every host: each makes its own at its first start.
RUN rm -f /etc/ssh/ssh_host_* /etc/machine-id && touch /etc/machine-id \
 && printf '%s\n' '[Unit]' 'Description=SSH host key of this lab host' 'Before=ssh.service' \
      'ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key' \
      '[Service]' 'Type=oneshot' "ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key" \
      '[Install]' 'WantedBy=ssh.service' >/etc/systemd/system/lab-host-key.service \
 && systemctl enable lab-host-key.service ssh.service && (systemctl disable ssh.socket || true) \
 && systemctl mask systemd-modules-load.service
# All of the operator's connections come from one gateway address: a few refused logins must not lock the others out.
RUN if /usr/sbin/sshd -G -o PerSourcePenalties=no >/dev/null 2>&1; then \
      echo 'PerSourcePenalties no' >/etc/ssh/sshd_config.d/lab.conf; fi
RUN useradd --create-home --shell /bin/bash ops \
 && echo 'ops ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/ops && chmod 0440 /etc/sudoers.d/ops \
 && install -d -o ops -g ops -m 0700 /home/ops/.ssh
# On cgroup v2 Docker mounts the container's own tree read-only; systemd and the inner Docker must write there.
RUN printf '%s\n' '#!/bin/sh' 'mount -o remount,rw /sys/fs/cgroup 2>/dev/null' 'exec /sbin/init' >/usr/local/sbin/lab-init \
 && chmod 0755 /usr/local/sbin/lab-init
ENV DEBIAN_FRONTEND=
STOPSIGNAL SIGRTMIN+3
CMD ["/usr/local/sbin/lab-init"]
