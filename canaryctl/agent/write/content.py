"""What containerd's content store holds, where Docker keeps images there (the default from Docker 29 on).

Docker's API does not say which packed layers it has, so the store is read: blobs named by their sha256 under
`io.containerd.content.v1.content`, manifests and image configurations among them (OCI image specification).
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from canaryctl.agent.read.docker import Docker, DockerError

CONTENT = "io.containerd.content.v1.content"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
LARGEST = 4 << 20  # bytes of a manifest or configuration (OCI distribution specification)


class Content:
    """The store's folder; `path` is '' where it cannot be found or read."""

    def __init__(self, docker_root: str) -> None:
        # Docker's own containerd, and the system's.
        places = (os.path.join(docker_root, "containerd/daemon", CONTENT), os.path.join("/var/lib/containerd", CONTENT))
        self.path = next((place for place in places if os.access(place + "/blobs/sha256", os.R_OK | os.X_OK)), "")

    def place(self, digest: str) -> str:
        if not DIGEST.match(digest):  # whoever built an image wrote its manifest
            raise OSError("not a digest: " + digest)
        return os.path.join(self.path, "blobs", *digest.split(":", 1))

    def has(self, descriptor: dict[str, Any]) -> bool:
        """Whether the blob is there, whole."""
        try:
            return bool(os.stat(self.place(descriptor["digest"])).st_size == descriptor["size"])
        except OSError:
            return False

    def document(self, digest: str) -> dict[str, Any]:
        """A manifest, index or configuration; empty where there is none."""
        try:
            with open(self.place(digest), "rb") as file:
                found = json.loads(file.read(LARGEST))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def layers(self, daemon: Docker) -> dict[str, dict[str, Any]]:
        """Diff id -> descriptor of the packed layer, for every layer of every image that is there as it was packed."""
        found: dict[str, dict[str, Any]] = {}
        if not self.path:
            return found
        try:
            waiting = [entry["Id"] for entry in daemon.get("/images/json?all=1")]
        except DockerError:
            return found
        seen = set()
        while waiting:
            digest = waiting.pop()
            if digest in seen:
                continue
            seen.add(digest)
            try:
                waiting += self.look_at(digest, found)
            except (AttributeError, KeyError, TypeError):
                continue  # no document of the form: that image's layers are sent
        return found

    def look_at(self, digest: str, found: dict[str, dict[str, Any]]) -> list[str]:
        """Add the layers of a manifest to `found`; the digests that an index names."""
        document = self.document(digest)
        packed = document.get("layers", ())
        config = self.document(document.get("config", {}).get("digest", ""))
        diffs = config.get("rootfs", {}).get("diff_ids", ())
        if len(packed) == len(diffs):
            found.update((diff, layer) for diff, layer in zip(diffs, packed) if self.has(layer))
        return [entry["digest"] for entry in document.get("manifests", ())]
