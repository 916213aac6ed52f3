"""Kind `tcp`: a port that accepts connections."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from canaryctl.config.probes.parts import Retried


class Tcp(Retried):
    """A port that accepts connections."""

    kind: Literal["tcp"]
    port: Annotated[int, Field(gt=0, lt=65536)]
    address: str = "{{ address }}"
