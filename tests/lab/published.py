"""A registry with TLS and a password on a lab host, and a tiny image to publish there."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from conftest import CTL, LAB, ROOT, Box
from toy import Toy

HOST = "registry-1"
USER, PASSWORD = "reader", "Zm9ydHk-two/keys"
IDENTITY = "aWRlbnRpdHk-of-reader"
CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: /var/lib/docker-registry}}, delete: {{enabled: true}}}}
http: {{addr: ":5000", tls: {{certificate: {folder}/tls.crt, key: {folder}/tls.key}}}}
auth: {{htpasswd: {{realm: lab, path: {folder}/htpasswd}}}}
"""
TOKEN_CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: /var/lib/docker-registry}}}}
http: {{addr: ":5001", tls: {{certificate: {folder}/tls.crt, key: {folder}/tls.key}}}}
auth:
  token: {{realm: "https://{address}:5002/token", service: lab-service, issuer: lab, rootcertbundle: {folder}/ca.crt}}
"""
FOLDER = "/etc/docker/registry"
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY index.html ballast /www/
ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "8000", "-h", "/www"]
"""
COMPOSE = """\
services:
  web:
    image: "{{{{ images.web }}}}"
    pull_policy: never
    stop_grace_period: 1s
    ports: ["{{{{ address }}}}:{port}:8000"]
    healthcheck:
      test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, "http://127.0.0.1:8000/"]
      interval: 3s
      timeout: 3s
      retries: 2
      start_period: 10s
      start_interval: 300ms
"""


@dataclass
class Registry:
    """The registry, with the files an operator has: `folder` holds ca.crt and docker's config.json.

    At port 5000 it asks for the password itself, at 5001 for a token.
    """

    folder: Path
    box: Box

    @property
    def name(self) -> str:
        """As it stands in references."""
        return f"{self.box.address}:5000"

    @property
    def by_token(self) -> str:
        """The same, asking for tokens."""
        return f"{self.box.address}:5001"

    @property
    def trusted(self) -> Path:
        """Where Docker looks for the authority that signed the registry's certificate, here and on hosts."""
        return Path(f"/etc/docker/certs.d/{self.name}")

    def install(self) -> None:
        """Bring the registry up on its host, empty; quick where it is there."""
        packages = "docker-registry busybox-static"
        self.box.run(
            f"dpkg -s {packages} >/dev/null 2>&1 || {{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive "
            f"apt-get install -y -qq --no-install-recommends {packages}; }}",
            timeout=300,
        )
        kept = f"test -e {FOLDER}/ca.crt && tar -C {FOLDER} -c ca.crt tls.crt tls.key | base64 || true"
        if found := self.box.run(kept).strip():  # another session may be using them
            subprocess.run(["tar", "-x"], cwd=self.folder, input=base64.b64decode(found), check=True)
        else:
            self._make_certificates()
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
        (self.folder / "htpasswd").write_text(f"{USER}:{hashed}\n")
        (self.folder / "config.yml").write_text(CONFIG.format(folder=FOLDER))
        (self.folder / "token.yml").write_text(TOKEN_CONFIG.format(folder=FOLDER, address=self.box.address))
        shutil.copy(Path(__file__).parent / "tokens.py", self.folder)
        for file in ("ca.crt", "tls.crt", "tls.key", "htpasswd", "config.yml", "token.yml", "tokens.py"):
            argv = ["docker", "cp", str(self.folder / file), f"{self.box.container}:{FOLDER}/{file}"]
            subprocess.run(argv, check=True, capture_output=True)
        words = f"5002 {FOLDER} {USER} '{PASSWORD}' {IDENTITY}"
        self.box.run(
            f"chown docker-registry {FOLDER}/tls.key {FOLDER}/htpasswd; "
            "systemctl stop docker-registry lab-tokens lab-registry 2>/dev/null; rm -rf /var/lib/docker-registry/*; "
            "systemctl start docker-registry; "
            f"systemd-run -q --collect --unit lab-tokens python3 {FOLDER}/tokens.py {words}; "
            f"systemd-run -q --collect --unit lab-registry docker-registry serve {FOLDER}/token.yml"
        )
        self.wait()
        self.log_in(PASSWORD)

    def stop(self) -> None:
        """Leave no registry running on this machine: the lab outlives the tests."""
        self.box.run("systemctl disable -q --now docker-registry; systemctl stop lab-tokens lab-registry", check=False)

    def wait(self) -> None:
        """Until it listens."""
        self.box.run(
            "for i in $(seq 100); do [ $(ss -ltnH | grep -cE ':500[012] ') = 3 ] && exit; sleep 0.1; done; exit 1"
        )

    def log_in(self, password: str, identity: str = "") -> None:
        """Write what `docker login` writes."""
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        by_token = {"auth": auth, **({"identitytoken": identity} if identity else {})}
        auths = {self.name: {"auth": auth}, self.by_token: by_token}
        (self.folder / "config.json").write_text(json.dumps({"auths": auths}))

    def build(self, name: str, ballast: int = 0) -> str:
        """An image that serves its name, in this machine's Docker as canaryctl-test-NAME:test; its id.

        `ballast` are bytes that do not compress.
        """
        context = self.folder / "context"
        context.mkdir(exist_ok=True)
        if not (context / "busybox").exists():
            argv = ["docker", "cp", f"{self.box.container}:/bin/busybox", str(context / "busybox")]
            subprocess.run(argv, check=True, capture_output=True)
        (context / "index.html").write_text(name)
        (context / "ballast").write_bytes(os.urandom(ballast))
        (context / "Dockerfile").write_text(DOCKERFILE)
        env = {**os.environ, "DOCKER_BUILDKIT": "0"}
        argv = ["docker", "build", "-q", "-t", f"canaryctl-test-{name}:test", str(context)]
        return subprocess.run(argv, check=True, capture_output=True, text=True, env=env).stdout.strip()

    def publish(self, image: str, reference: str) -> None:
        """Push an image; this machine's Docker trusts the registry for no longer than that."""
        self.trusted.mkdir(parents=True)
        try:
            shutil.copy(self.folder / "ca.crt", self.trusted / "ca.crt")
            subprocess.run(["docker", "tag", image, reference], check=True)
            argv = ["docker", "--config", str(self.folder), "push", reference]
            subprocess.run(argv, check=True, capture_output=True)
        finally:
            shutil.rmtree(self.trusted)
            subprocess.run(["docker", "rmi", reference], capture_output=True)

    def trust_on(self, host: Box) -> None:
        """What the owner of a host does once for a registry with its own authority."""
        ca, other = (self.folder / "ca.crt").read_text(), self.trusted.with_name(self.by_token)
        host.run(f"mkdir -p {self.trusted} && cat > {self.trusted}/ca.crt <<'END'\n{ca}END")
        host.run(f"cp -r {self.trusted} {other}")

    def distrust_on(self, host: Box) -> None:
        """Undo `trust_on`."""
        host.run(f"rm -rf {self.trusted} {self.trusted.with_name(self.by_token)}")

    def _make_certificates(self) -> None:
        address = self.box.address
        steps = (
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 99 -subj '/CN=Lab authority'",
            f"openssl req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr -subj '/CN={address}'",
            f"printf 'subjectAltName=IP:{address}' > san",
            "openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 99 -out tls.crt -extfile san",
        )
        done = subprocess.run(["sh", "-ec", "\n".join(steps)], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def host_up(lab_env: dict[str, str]) -> None:
    """Add the registry's host to the test lab."""
    argv = [CTL, "lab", "up", "--name", LAB, "--hosts", HOST]
    subprocess.run(argv, cwd=ROOT, env=lab_env, check=True, capture_output=True)


def tiny(toy: Toy, image: str) -> None:
    """Make a toy's service the tiny image's; `image` is its entry in stack.yml."""
    stack = (toy.folder / "stack.yml").read_text()
    toy.write("stack.yml", stack.replace('{tag: "ktrdr-backend:test"}', image))
    toy.write("compose.yml.j2", COMPOSE.format(port=toy.port))
