"""Images to one host: save here, load there, verify, and only then tag."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from canaryctl.deliver.docker import save
from canaryctl.errors import ApplyError
from canaryctl.observe import Connection
from canaryctl.plan.release import ImageFact, content_tag


@dataclass(frozen=True)
class Delivery:
    """What one host was sent. `bytes` is what crossed the wire, before SSH."""

    images: tuple[str, ...]
    bytes: int


def push_images(
    connection: Connection,
    stack: str,
    images: Sequence[ImageFact],
    *,
    docker: str,
    on_bytes: Callable[[int], None],
    timeout: float = 3600,
) -> Delivery:
    """Bring `images` to a host so that each carries its content-addressed tag and is exactly what is here.

    Args:
        docker: the docker command as it works on that host, e.g. `docker` or `sudo -n docker`.
        on_bytes: called with the bytes sent so far.
        timeout: seconds for the transfer and its unpacking.

    Raises:
        ApplyError: the host refused an image, or what arrived is not what was sent.
    """
    lacking = [image for image in images if _identity_there(connection, docker, image) is None]
    sent = 0
    if lacking:

        def chunks() -> Iterator[bytes]:
            nonlocal sent
            for chunk in save([image.id for image in lacking]):
                yield chunk
                sent += len(chunk)
                on_bytes(sent)

        done = connection.stream(f"{docker} load -q", chunks(), timeout=timeout)
        if done.code != 0:
            words = done.stderr.decode(errors="replace").strip()[-600:]
            raise ApplyError(
                f"docker load failed: {words or f'exit {done.code}'}",
                hint="room on the host? see: canaryctl collect",
                stage="push",
                host=connection.host,
            )
    for image in images:
        _verify_and_tag(connection, docker, stack, image)
    return Delivery(images=tuple(image.name for image in lacking), bytes=sent)


def _identity_there(connection: Connection, docker: str, image: ImageFact) -> str | None:
    done = connection.run(f"{docker} image inspect {shlex.quote(image.id)} --format '{{{{.Id}}}}'", timeout=60)
    return done.stdout.decode().strip() if done.code == 0 else None


def _verify_and_tag(connection: Connection, docker: str, stack: str, image: ImageFact) -> None:
    """The tag is the promise that the content is right, so it comes last."""
    wanted = shlex.quote(image.id)
    done = connection.run(f"{docker} image inspect {wanted} --format '{{{{json .RootFS.Layers}}}}'", timeout=60)
    if done.code != 0:
        raise ApplyError(
            f"image {image.name} ({image.id}) is not there after the transfer",
            hint="push again; if it stays so, look at the host's Docker log",
            stage="push",
            host=connection.host,
        )
    layers = tuple(json.loads(done.stdout) or ())
    if layers != image.layers:
        raise ApplyError(
            f"image {image.name} arrived with other layers than it has here",
            hint="push again; the image was not tagged and will not be used",
            stage="push",
            host=connection.host,
        )
    tag = content_tag(stack, image)
    done = connection.run(f"{docker} tag {wanted} {shlex.quote(tag)}", timeout=60)
    if done.code != 0:
        raise ApplyError(
            f"image {image.name} could not be tagged {tag}: {done.stderr.decode(errors='replace').strip()}",
            hint="look at the host's Docker log",
            stage="push",
            host=connection.host,
        )
