"""nvidia-smi's XML (`-q -x`), of drivers old and new, as one shape."""

from __future__ import annotations

import re
from typing import Any

# Reasons that say something about the hardware or its surroundings; idling and a chosen clock do not.
THROTTLES = {
    "hw_slowdown": "hardware slowdown",
    "hw_thermal_slowdown": "hardware thermal slowdown",
    "hw_power_brake_slowdown": "power brake",
    "sw_thermal_slowdown": "software thermal slowdown",
    "sw_power_cap": "power cap",
}


def parse_smi_xml(output: str) -> dict[str, Any]:
    """{"driver", "cuda", "gpus"}. Raises ValueError where the text holds no such document."""
    import xml.etree.ElementTree as ElementTree  # hosts without a GPU need not load it

    match = re.search(r"<nvidia_smi_log>.*</nvidia_smi_log>", output, flags=re.S)
    if not match:
        raise ValueError("no nvidia_smi_log in it")
    try:
        root = ElementTree.fromstring(match.group(0))  # noqa: S314  the driver's own, without its DTD
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None
    driver = text_at(root, "driver_version")
    gpus = [parse_gpu(index, gpu, driver) for index, gpu in enumerate(root.findall("gpu"))]
    return {"driver": driver or None, "cuda": text_at(root, "cuda_version") or None, "gpus": gpus}


def parse_gpu(index: int, gpu: Any, driver: str) -> dict[str, Any]:
    link = "pci/pci_gpu_link_info"
    domain, _, rest = (gpu.get("id") or text_at(gpu, "pci/pci_bus_id")).lower().partition(":")
    return {
        "index": index,
        "name": text_at(gpu, "product_name"),
        "uuid": text_at(gpu, "uuid"),
        "driver": driver,
        "memory": size_at(gpu, "fb_memory_usage/total"),
        "memory_used": size_at(gpu, "fb_memory_usage/used"),
        "memory_free": size_at(gpu, "fb_memory_usage/free"),
        "temperature": number_at(gpu, "temperature/gpu_temp"),
        "compute_capability": "",
        "throttled": throttles_of(gpu),
        "ecc": {
            "mode": text_at(gpu, "ecc_mode/current_ecc"),
            "volatile_uncorrected": uncorrected(gpu, "volatile"),
            "aggregate_uncorrected": uncorrected(gpu, "aggregate"),
        },
        "rows": {
            "remapped": number_at(gpu, "remapped_rows/remapped_row_unc"),
            "pending": yes_at(gpu, "remapped_rows/remapped_row_pending"),
            "failed": yes_at(gpu, "remapped_rows/remapped_row_failure"),
        },
        "pci": {
            "address": domain[-4:] + ":" + rest,
            "generation": number_at(gpu, link + "/pcie_gen/current_link_gen"),
            "generation_max": number_at(gpu, link + "/pcie_gen/max_link_gen"),
            "width": number_at(gpu, link + "/link_widths/current_link_width"),
            "width_max": number_at(gpu, link + "/link_widths/max_link_width"),
        },
        "mig": {
            "mode": text_at(gpu, "mig_mode/current_mig"),
            "instances": [parse_mig(one) for one in gpu.findall("mig_devices/mig_device")],
        },
        "processes": [parse_process(one) for one in gpu.findall("processes/process_info")],
    }


def text_at(node: Any, path: str) -> str:
    text = (node.findtext(path) or "").strip()
    return "" if text in ("N/A", "[N/A]", "None", "Requested functionality has been deprecated") else text


def number_at(node: Any, path: str) -> int | None:
    match = re.match(r"-?\d{1,18}", text_at(node, path))
    return int(match.group(0)) if match else None


def size_at(node: Any, path: str) -> int | None:
    found = number_at(node, path)
    return None if found is None else found << 20


def yes_at(node: Any, path: str) -> bool | None:
    text = text_at(node, path)
    return text == "Yes" if text in ("Yes", "No") else None


def throttles_of(gpu: Any) -> list[str]:
    """Newer drivers say `clocks_event_reasons` for what was `clocks_throttle_reasons`."""
    active = []
    for kind in ("clocks_event_reason", "clocks_throttle_reason"):
        for name, words in THROTTLES.items():
            if text_at(gpu, f"{kind}s/{kind}_{name}") == "Active":
                active.append(words)
    return active


def uncorrected(gpu: Any, which: str) -> int | None:
    """The sum over all memories; old drivers have one `total` under `double_bit`."""
    section = gpu.find("ecc_errors/" + which)
    if section is None:
        return None
    counts = [number_at(section, node.tag) for node in section if "uncorrectable" in node.tag]
    counts.append(number_at(section, "double_bit/total"))
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def parse_mig(node: Any) -> dict[str, Any]:
    return {
        "index": number_at(node, "index"),
        "gpu_instance": number_at(node, "gpu_instance_id"),
        "compute_instance": number_at(node, "compute_instance_id"),
        "memory": size_at(node, "fb_memory_usage/total"),
        "uuid": text_at(node, "uuid"),
        "profile": "",
    }


def parse_process(node: Any) -> dict[str, Any]:
    return {
        "pid": number_at(node, "pid") or 0,
        "type": text_at(node, "type"),
        "name": text_at(node, "process_name"),
        "memory": size_at(node, "used_memory"),
        "container": "",
    }
