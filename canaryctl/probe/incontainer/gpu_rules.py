"""The rules of a gpu check: from what a container could do and what its host tells to faults and figures. Pure.

Standard library only, for it also runs where nothing of canaryctl is installed (scripts/gpu-acceptance).
"""

from __future__ import annotations

from typing import Any

XID_WORDS = {
    31: "a program touched memory that is not its own",
    48: "double-bit ECC error",
    63: "rows remapped",
    64: "row remapping failed",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    94: "contained ECC error",
    95: "uncontained ECC error",
    119: "the GPU's system processor timed out",
}


def judge_gpu(
    found: dict[str, Any], host: dict[str, Any], devices: int, before: dict[str, Any], slower_than: float
) -> dict[str, Any]:
    """{"faults": [...], "remarks": [...], "figures": {name: number}, "gpus": [uuid], "simulated": bool}.

    Args:
        found: what the program in the container found.
        host: what its host tells: `gpus`, `gpu`, `xids`, `kernel_log`.
        devices: how many the container must see at least.
        before: "gpus" and "figures" of this host's last good run; empty where there is none.
        slower_than: the share of these that a figure may fall to.
    """
    simulated = bool(host["gpu"].get("simulated"))
    faults = container_faults(found, devices, simulated) + torch_faults(found, devices, simulated)
    remarks = remarks_on(found, simulated)
    gpus = gpus_of(found, host)
    if host["gpu"].get("state") == "lost":
        faults.append("the host has lost a GPU: " + str(host["gpu"].get("says")))
    elif host["gpu"].get("state") != "ok":
        faults.append("the host has no GPU that works: " + (host["gpu"].get("says") or str(host["gpu"].get("state"))))
    if not faults and len(gpus) < devices:
        faults.append(f"of the host's GPUs the container names {len(gpus)}, {devices} are expected")
    for gpu in gpus:
        faults += hardware_faults(gpu)
        remarks += hardware_remarks(gpu)
    faults += xid_faults(host.get("xids") or [])
    if str(host.get("kernel_log", "")).startswith("unreadable"):
        remarks.append("Xid errors could not be looked for, the kernel log is " + str(host["kernel_log"]))
    figures = figures_of(found)
    uuids = [gpu["uuid"] for gpu in gpus]
    if not simulated and before.get("gpus") == uuids:
        faults += slow(figures, before.get("figures") or {}, slower_than)
    return {"faults": faults, "remarks": remarks, "figures": figures, "gpus": uuids, "simulated": simulated}


def container_faults(found: dict[str, Any], devices: int, simulated: bool) -> list[str]:
    """What the container lacks: a driver capability, libcuda, devices, or memory that keeps what is copied to it."""
    faults = missing_capabilities(found)
    cuda, smi = found.get("libcuda") or {}, found.get("smi") or {}
    listed = smi.get("gpus") or []
    if "error" in smi:
        faults.append("nvidia-smi in the container: " + smi["error"])
    elif "gpus" in smi and len(listed) < devices:
        faults.append(f"nvidia-smi in the container lists {len(listed)} GPUs, {devices} are expected")
    elif smi.get("missing") and not faults and (simulated or found.get("python") is None):
        faults.append("there is no nvidia-smi in the container: it was started without a GPU")
    if found.get("python") is None:
        return faults
    if cuda.get("kind") == "missing":
        if not simulated and not faults:
            nodes = "" if found.get("nodes") else ", nor any /dev/nvidia*: it was started without a GPU"
            faults.append("there is no libcuda.so.1 in the container" + nodes)
    elif "error" in cuda:
        faults.append("libcuda: " + cuda["error"])
    elif len(cuda.get("devices", [])) < devices:
        faults.append(f"libcuda sees {len(cuda.get('devices', []))} GPUs, {devices} are expected")
    for one in cuda.get("devices", []):
        which = f"GPU {one.get('index')} ({one.get('name')})"
        if "error" in one:
            faults.append(which + ": " + one["error"])
        elif one.get("equal") is not True:
            faults.append(which + ": what was copied to its memory and back is not what was sent")
    if not faults and not cuda.get("devices"):
        cpu = found.get("cpu") or {"error": "nothing was computed"}
        if "error" in cpu:
            faults.append("the CPU in the GPU's place: " + cpu["error"])
        elif cpu.get("equal") is not True:
            faults.append("what the CPU computed is wrong")
    return faults


def missing_capabilities(found: dict[str, Any]) -> list[str]:
    given = (found.get("environment") or {}).get("NVIDIA_DRIVER_CAPABILITIES")
    if not given or "all" in given.split(","):
        return []
    lost = {"compute": "libcuda", "utility": "nvidia-smi"}
    return [
        f"NVIDIA_DRIVER_CAPABILITIES is '{given}' and lacks {name}: the container has no {thing}"
        for name, thing in lost.items()
        if name not in given.split(",")
    ]


def torch_faults(found: dict[str, Any], devices: int, simulated: bool) -> list[str]:
    torch = found.get("torch") or {}
    if not torch or torch.get("missing"):
        return []
    if "error" in torch:
        return ["torch is in the image and cannot be used: " + torch["error"]]
    faults = []
    if not torch["devices"] and not simulated:
        build = "is a build without CUDA" if not torch.get("cuda") else "(CUDA " + torch["cuda"] + ") finds no device"
        faults.append("torch " + torch["version"] + " sees no GPU: it " + build)
    elif len(torch["devices"]) < devices and not simulated:
        faults.append(f"torch {torch['version']} sees {len(torch['devices'])} GPUs, {devices} are expected")
    for one in torch["devices"] + ([torch["cpu"]] if torch.get("cpu") else []):
        if "error" in one and "equal" not in one:
            faults.append("torch: " + str(one["error"]))
        elif not one["equal"]:
            faults.append(f"torch on {one['device']} multiplies wrongly (off by {one['error']})")
    return faults


def remarks_on(found: dict[str, Any], simulated: bool) -> list[str]:
    remarks = []
    if found.get("python") is None:
        remarks.append("the image has no Python: only nvidia-smi was asked")
    elif simulated and (found.get("libcuda") or {}).get("kind") == "missing":
        by_torch = " with torch" if (found.get("torch") or {}).get("cpu") else ""
        remarks.append("there is no libcuda, the CPU computed" + by_torch)
    return remarks


def gpus_of(found: dict[str, Any], host: dict[str, Any]) -> list[dict[str, Any]]:
    """The host's GPUs that the container has, as nvidia-smi or libcuda in it tell."""
    listed = {one.get("uuid") for one in (found.get("smi") or {}).get("gpus") or []}
    listed |= {one.get("address") for one in (found.get("libcuda") or {}).get("devices") or []}
    return [gpu for gpu in host.get("gpus") or [] if gpu["uuid"] in listed or gpu["pci"].get("address") in listed]


def hardware_faults(gpu: dict[str, Any]) -> list[str]:
    which, pci = f"GPU {gpu['index']}", gpu["pci"]
    faults = []
    if gpu["ecc"].get("volatile_uncorrected"):
        count = gpu["ecc"]["volatile_uncorrected"]
        faults.append(f"{which}: {count} uncorrected ECC errors since the driver started")
    if gpu["rows"].get("failed"):
        faults.append(which + ": row remapping has failed, the memory has no spare rows left: replace the GPU")
    if gpu["rows"].get("pending"):
        faults.append(which + ": bad rows of its memory wait to be remapped: reset the GPU")
    if pci.get("width") and pci.get("width_max") and pci["width"] < pci["width_max"]:
        faults.append(f"{which}: PCIe runs on {pci['width']} of {pci['width_max']} lanes")
    return faults


def hardware_remarks(gpu: dict[str, Any]) -> list[str]:
    which, pci = f"GPU {gpu['index']}", gpu["pci"]
    remarks = [which + " is throttled: " + ", ".join(gpu["throttled"])] if gpu.get("throttled") else []
    if pci.get("generation") and pci.get("generation_max") and pci["generation"] < pci["generation_max"]:
        # An idle GPU saves power so; only under load it would be a fault.
        remarks.append(f"{which}: PCIe generation {pci['generation']} of {pci['generation_max']} when idle")
    return remarks


def xid_faults(xids: list[dict[str, Any]]) -> list[str]:
    """One fault a number, with how often and the kernel's own words of the last."""
    faults = []
    for number in sorted({xid["number"] for xid in xids}):
        these = [xid for xid in xids if xid["number"] == number]
        meaning = f" ({XID_WORDS[number]})" if number in XID_WORDS else ""
        times = "" if len(these) == 1 else f" {len(these)} times"
        last = these[-1]
        faults.append(f"Xid {number}{meaning}{times} on {last['device']} since the deploy: {last['text']}")
    return faults


def figures_of(found: dict[str, Any]) -> dict[str, float]:
    figures = {}
    for one in (found.get("libcuda") or {}).get("devices") or []:
        if one.get("copy_gb_s"):
            figures[f"GPU {one['index']} copy GB/s"] = one["copy_gb_s"]
    torch = found.get("torch") or {}
    for one in (torch.get("devices") or []) + ([torch["cpu"]] if torch.get("cpu") else []):
        if one.get("product_gflop_s"):
            name = str(one["device"]).replace("cuda:", "GPU ").replace("cpu", "CPU")
            figures[name + " product GFLOP/s"] = one["product_gflop_s"]
    return figures


def slow(figures: dict[str, float], before: dict[str, float], slower_than: float) -> list[str]:
    return [
        f"{name}: {value}, and {before[name]} in this host's last good run "
        f"({100 * value / before[name]:.0f} %, at least {100 * slower_than:.0f} % are expected)"
        for name, value in figures.items()
        if before.get(name) and value < slower_than * before[name]
    ]


def lost_devices(before: dict[str, Any], after: dict[str, Any], cgroup_driver: str) -> list[str]:
    """What a container that runs has lost by a reload of systemd's units."""

    def count(found: dict[str, Any]) -> int:
        listed = len((found.get("smi") or {}).get("gpus") or [])
        return max(listed, len((found.get("libcuda") or {}).get("devices") or []))

    had, has = count(before), count(after)
    if has >= had:
        return []
    words = (after.get("smi") or {}).get("error") or (after.get("libcuda") or {}).get("error") or ""
    return [
        f"the running container lost {had - has} of {had} GPUs when systemd reloaded its units (cgroup driver "
        f"{cgroup_driver or 'unknown'}){': ' + words if words else ''}; it happens again with every reload: give the "
        "devices through CDI, or have Docker use the cgroup driver cgroupfs"
    ]


def in_words(judged: dict[str, Any], found: dict[str, Any], host: dict[str, Any]) -> str:
    """The reason of a verdict, one line; it says so where the GPU is simulated."""
    label = "simulated: " if judged["simulated"] else ""
    if judged["faults"]:
        return label + "; ".join(judged["faults"])
    gpus = gpus_of(found, host)
    names = ", ".join(f"{gpu['name']} (driver {gpu['driver']})" for gpu in gpus) or "no GPU"
    figures = [f"{name} {value}" for name, value in judged["figures"].items()]
    return label + "; ".join([names, *figures, *judged["remarks"]])
