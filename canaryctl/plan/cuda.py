"""Which NVIDIA driver an image's CUDA needs at least. Pure.

The table is NVIDIA's for CUDA minor version compatibility (from CUDA 11 on, any driver of the major release will do):
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, and for older toolkits table 3 of
https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/. What the table cannot see: a program that compiles PTX when it
runs needs the driver of its own minor release.
"""

from __future__ import annotations

from canaryctl.config.versions import version_of

# Major release -> least driver, on Linux.
_BY_MAJOR = {11: "450.80.02", 12: "525.60.13", 13: "580"}
# Before CUDA 11 every minor release had a driver of its own.
_BY_MINOR = {
    (10, 2): "440.33",
    (10, 1): "418.39",
    (10, 0): "410.48",
    (9, 2): "396.26",
    (9, 1): "390.46",
    (9, 0): "384.81",
}


def minimum_driver(cuda: str) -> str:
    """The least driver version for a CUDA version such as `12.4`; '' where the table does not say."""
    version = version_of(cuda)
    return _BY_MAJOR.get(version.major) or _BY_MINOR.get((version.major, version.minor), "")


def driver_is_enough(driver: str, cuda: str) -> bool:
    """Whether a driver runs programs made with a CUDA version; True where the table does not know that version."""
    return version_of(driver) >= version_of(minimum_driver(cuda) or "0")
