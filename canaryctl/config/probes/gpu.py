"""Kind `gpu`: what a service's container can do with its GPUs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from canaryctl.config.probes.parts import Retried, Seconds


class Gpu(Retried):
    """The container sees its GPUs, computes on them, and they are sound.

    `devices`: how many it must see at least, one by default. `slower_than`: the share of this host's last good figures
    that a figure may fall to. With `during` it only watches, while that lifecycle runs, for a process of the container
    on a GPU. `after_daemon_reload`: whether the devices are still there once systemd was made to reload its units.
    """

    on_service: ClassVar[bool] = True
    kind: Literal["gpu"]
    timeout: Seconds = 120.0
    devices: Annotated[int, Field(ge=1)] = 1
    slower_than: Annotated[float, Field(gt=0, lt=1)] = 0.7
    during: str | None = None
    after_daemon_reload: bool = False

    @model_validator(mode="after")
    def _watches_or_checks(self) -> Gpu:
        if self.during and self.soak:
            raise ValueError("a soak does not repeat the lifecycle that a probe with 'during' watches")
        if self.during and self.after_daemon_reload:
            raise ValueError("a probe with 'during' only watches: make another one for 'after_daemon_reload'")
        return self
