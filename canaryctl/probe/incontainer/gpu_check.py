"""What a program in this container can do with a GPU: libcuda by ctypes, nvidia-smi, and torch where it is there.

Reads nothing, writes one JSON document: what was tried and what came of it. Whether that is good is judged elsewhere.
Without libcuda the same work is done on the CPU, so that a simulated GPU has something to compute with.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from typing import Any

COPIED = 64 << 20  # bytes of a timed copy
COMPARED = 1 << 20  # bytes that are copied there and back and compared
MATRIX = 2048  # side of the timed product of matrices
SMI_DEADLINE = 10.0  # seconds
CUDA_WORDS = {
    3: "not initialised",
    34: "a stub library, not the driver's",
    100: "no CUDA device",
    101: "invalid device",
    2: "out of GPU memory",
    214: "an uncorrectable ECC error",
    304: "the operating system refused: the device nodes are not there or not allowed",
    802: "system not ready: the fabric manager does not run",
    803: "driver and libcuda do not fit together",
    804: "forward compatibility on hardware that does not allow it",
    999: "unknown error",
}


class CudaError(Exception):
    """A call of libcuda that failed, in words."""


def check(quick: bool) -> dict[str, Any]:
    """Everything; with `quick` only whether the devices are there."""
    found: dict[str, Any] = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "environment": environment(),
        "nodes": sorted(name for name in os.listdir("/dev") if name.startswith("nvidia")),
        "libcuda": attempt(lambda: about_libcuda(quick)),
        "smi": about_smi(),
    }
    if not quick:
        found["torch"] = attempt(about_torch)
        if not found["libcuda"].get("devices"):
            found["cpu"] = attempt(compute_on_cpu)
    return found


def attempt(ask: Any) -> dict[str, Any]:
    """What was found, or {"error": why not}."""
    try:
        return dict(ask())
    except Exception as error:
        return {"error": str(error) or type(error).__name__, "kind": type(error).__name__}


def environment() -> dict[str, str]:
    """NVIDIA_* as the container's first process has it: what Docker adds at the start is not in `docker exec`."""
    values = {}
    try:
        with open("/proc/1/environ", "rb") as file:
            lines = file.read().decode("utf-8", "replace").split("\0")
    except OSError:
        lines = []
    for name, value in [tuple(line.split("=", 1)) for line in lines if "=" in line] + list(os.environ.items()):
        if name in ("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_VISIBLE_DEVICES"):
            values[name] = value
    return values


class Cuda:
    """libcuda, each call checked."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libcuda.so.1")

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, name)(*arguments)
        if code:
            raise CudaError(f"{name}: {CUDA_WORDS.get(code, 'error')} ({code})")

    def number(self, name: str, *arguments: Any) -> int:
        value = ctypes.c_int()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value


def about_libcuda(quick: bool) -> dict[str, Any]:
    try:
        cuda = Cuda()
    except OSError as error:
        return {"error": str(error), "kind": "missing"}
    cuda.call("cuInit", 0)
    version = cuda.number("cuDriverGetVersion")
    found: dict[str, Any] = {"version": f"{version // 1000}.{version % 1000 // 10}", "devices": []}
    for index in range(cuda.number("cuDeviceGetCount")):
        found["devices"].append(about_device(cuda, index, quick))
    return found


def about_device(cuda: Cuda, index: int, quick: bool) -> dict[str, Any]:
    device = cuda.number("cuDeviceGet", index)
    name, address, memory = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32), ctypes.c_size_t()
    cuda.call("cuDeviceGetName", name, 256, device)
    cuda.call("cuDeviceGetPCIBusId", address, 32, device)
    cuda.call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    major, minor = (cuda.number("cuDeviceGetAttribute", which, device) for which in (75, 76))
    found: dict[str, Any] = {
        "index": index,
        "name": name.value.decode("utf-8", "replace"),
        "address": address.value.decode("ascii", "replace").lower(),
        "memory": memory.value,
        "compute_capability": f"{major}.{minor}",
    }
    if not quick:
        found.update(attempt(lambda: try_memory(cuda, device)))
    return found


def try_memory(cuda: Cuda, device: int) -> dict[str, Any]:
    """Allocate, copy there and back, compare, and time the way there."""
    context = ctypes.c_void_p()
    cuda.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        cuda.call("cuCtxSetCurrent", context)
        on_device, pinned = ctypes.c_uint64(), ctypes.c_void_p()
        cuda.call("cuMemAlloc_v2", ctypes.byref(on_device), ctypes.c_size_t(COPIED))
        try:
            sent = os.urandom(COMPARED)
            back = ctypes.create_string_buffer(COMPARED)
            cuda.call("cuMemcpyHtoD_v2", on_device, sent, ctypes.c_size_t(COMPARED))
            cuda.call("cuMemcpyDtoH_v2", back, on_device, ctypes.c_size_t(COMPARED))
            # Memory that may be paged out goes through a buffer of the driver's, which would be what is timed.
            cuda.call("cuMemAllocHost_v2", ctypes.byref(pinned), ctypes.c_size_t(COPIED))
            try:
                rate = best_rate(cuda, on_device, pinned)
            finally:
                cuda.call("cuMemFreeHost", pinned)
        finally:
            cuda.call("cuMemFree_v2", on_device)
    finally:
        cuda.call("cuDevicePrimaryCtxRelease_v2", device)
    return {"copied": True, "equal": back.raw == sent, "copy_gb_s": rate}


def best_rate(cuda: Cuda, on_device: Any, pinned: Any) -> float:
    """GB/s to the device, the best of a few: what disturbs only makes it slower."""
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        cuda.call("cuMemcpyHtoD_v2", on_device, pinned, ctypes.c_size_t(COPIED))
        cuda.call("cuCtxSynchronize")
        best = max(best, COPIED / (time.perf_counter() - began) / 1e9)
    return round(best, 2)


def about_smi() -> dict[str, Any]:
    """nvidia-smi as the container has it, if it does."""
    argv = ["nvidia-smi", "--query-gpu=name,uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SMI_DEADLINE,
            env=dict(os.environ, LC_ALL="C"),
        )
    except FileNotFoundError:
        return {"missing": True}
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    output = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        return {"error": output[-300:] or f"exit code {done.returncode}"}
    rows = [line.rpartition(",") for line in output.splitlines()]
    return {"gpus": [{"name": name.strip(), "uuid": uuid.strip()} for name, comma, uuid in rows if comma]}


def about_torch() -> dict[str, Any]:
    """Each device that torch sees multiplies, and the result is compared with the CPU's."""
    try:
        import torch
    except ImportError as error:
        # A torch that is there and does not import is the image's fault, and is told.
        return {"missing": True} if getattr(error, "name", "") == "torch" else {"error": str(error)}
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found: dict[str, Any] = {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "devices": [attempt(lambda index=index: multiply(torch, f"cuda:{index}")) for index in range(count)],
    }
    if not count:
        found["cpu"] = multiply(torch, "cpu")
    return found


def multiply(torch: Any, place: str) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    side = 512
    a, b = (torch.randn(side, side, generator=generator) for _ in range(2))
    expected, computed = a @ b, (a.to(place) @ b.to(place)).to("cpu")
    # TF32, where it is on, keeps ten bits of each number: an error of a tenth over sums of this size is none of ours.
    error = float((expected - computed).abs().max())
    if not error < 1e9:  # NaN and infinity, which are no JSON, too
        error = 1e9
    return {
        "device": place,
        "equal": error < 0.5,
        "error": round(error, 6),
        "product_gflop_s": product_rate(torch, place),
    }


def product_rate(torch: Any, place: str) -> float:
    """Billions of operations a second in a product of matrices, the best of a few."""
    side = MATRIX if place != "cpu" else MATRIX // 4
    a = torch.ones(side, side, device=place)
    best = 0.0
    for _ in range(4):
        began = time.perf_counter()
        b = a @ a
        float(b[0, 0])  # waits for the device
        best = max(best, 2 * side**3 / (time.perf_counter() - began) / 1e9)
    return round(best, 1)


def compute_on_cpu() -> dict[str, Any]:
    """The copy and a small product, without any device."""
    sent = os.urandom(COMPARED)
    back = ctypes.create_string_buffer(COMPARED)
    ctypes.memmove(back, sent, COMPARED)
    side = 48
    a = [[(row * 7 + column * 3) % 11 for column in range(side)] for row in range(side)]
    product = [[sum(x * y for x, y in zip(row, column)) for column in zip(*a)] for row in a]
    trace = sum(product[i][i] for i in range(side))
    expected = sum(a[i][j] * a[j][i] for i in range(side) for j in range(side))
    return {"equal": back.raw == sent and trace == expected}


def answer_gpu_check(quick: bool) -> None:
    # The program comes on standard input, for which Python puts the working directory first on its path.
    sys.path[:] = [path for path in sys.path if path]
    document = json.dumps(check(quick))
    sys.stdout.write("\n" + document + "\n")
    sys.stdout.flush()
    os._exit(0)  # torch takes seconds to leave in order
