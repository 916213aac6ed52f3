"""Kind `container`: a service's containers as Docker knows them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from canaryctl.config.probes.parts import Retried


class Container(Retried):
    """The service's container runs, is healthy where it has a check, and is made from the release's image.

    `restarts` is how often Docker may have restarted it since it was made.
    """

    on_service: ClassVar[bool] = True
    kind: Literal["container"]
    restarts: Annotated[int, Field(ge=0)] = 0
