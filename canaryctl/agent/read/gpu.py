"""GPUs as the kernel, NVIDIA's driver and its container toolkit tell of them; none of these is taken for granted.

A driver that is broken makes nvidia-smi fail, say nothing for minutes, or tell of some GPUs and not of others: every
question has its deadline, and what was said is kept beside what was understood.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from canaryctl.agent.read.gpuxml import parse_smi_xml
from canaryctl.agent.read.processes import Program, find_program
from canaryctl.agent.read.system import read_text

LAB_MARKER = "/etc/canaryctl-lab"
SMI_DEADLINE = 10.0  # seconds for all of nvidia-smi's answers; a driver that must first load takes a few
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
# Fields that every driver of the last years knows: one unknown field fails the whole query.
CSV_FIELDS = (
    *("index", "name", "uuid", "memory.total", "memory.used", "memory.free", "driver_version", "temperature.gpu"),
    *("pcie.link.gen.current", "pcie.link.gen.max", "pcie.link.width.current", "pcie.link.width.max", "pci.bus_id"),
)
LOST_WORDS = ("unable to determine the device handle", "gpu is lost", "fallen off the bus")
NO_DRIVER_WORDS = (
    "couldn't communicate with the nvidia driver",
    "driver not loaded",
    "driver/library version mismatch",
)


def start_gpu_programs() -> dict[str, Program]:
    """The questions that take long, asked at once."""
    asked = {}
    smi, toolkit = find_program("nvidia-smi"), find_program("nvidia-ctk")
    if smi:
        asked["xml"] = Program(smi, "-q", "-x")
        # Not in the XML, and not known to old drivers.
        asked["capability"] = Program(smi, "--query-gpu=uuid,compute_cap", "--format=csv,noheader,nounits")
    if toolkit:
        asked["toolkit"] = Program(toolkit, "--version")
    return asked


def about_gpus(asked: dict[str, Program], errors: dict[str, str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Each GPU that the driver tells of, and what is true of all of them."""
    ends = time.monotonic() + SMI_DEADLINE
    pci, nvidiactl = about_pci_gpus(), os.path.exists("/dev/nvidiactl")
    found, complaint = ask_smi(asked, ends)
    gpus = found["gpus"]
    add_capabilities(gpus, asked, ends)
    add_mig_uuids(gpus, ends)
    for process in [process for gpu in gpus for process in gpu["processes"]]:
        process["container"] = container_of(process["pid"])
    state = gpu_state(gpus, complaint, bool(pci) or nvidiactl, "xml" in asked)
    if complaint:
        errors["gpus"] = complaint
    module = kernel_module()
    driver = found["driver"] or (module if state == "ok" else None)
    known = {gpu["pci"]["address"] for gpu in gpus}
    toolkit = find_program("nvidia-ctk")
    return gpus, {
        "simulated": os.path.exists(LAB_MARKER) and bool(gpus or "xml" in asked),  # a lab host has no real one
        "state": state,
        "says": complaint,
        "driver": driver,
        "kernel_module": module,
        "cuda": found["cuda"],
        "toolkit": toolkit or None,
        "toolkit_version": toolkit_version(asked, ends),
        "hook": bool(find_program("nvidia-container-runtime-hook")),
        "nvidiactl": nvidiactl,
        "pci": pci,
        "missing": [one["address"] for one in pci if known and one["address"] not in known],
        "cdi": about_cdi(driver),
    }


def ask_smi(asked: dict[str, Program], ends: float) -> tuple[dict[str, Any], str]:
    """What nvidia-smi tells, and its complaint where it tells less than all."""
    nothing: dict[str, Any] = {"driver": None, "cuda": None, "gpus": []}
    if "xml" not in asked:
        return nothing, ""
    code, output = asked["xml"].finish(left(ends))
    if code is None:
        return nothing, asked["xml"].late
    try:
        found = parse_smi_xml(output)
        if found["gpus"]:
            return found, complaint_in(output) if code else ""
    except ValueError:
        pass
    # An old driver, or one that is broken: the plain table fails with clearer words.
    table = Program(asked["xml"].name, "--query-gpu=" + ",".join(CSV_FIELDS), "--format=csv,noheader,nounits")
    code, text = table.finish(left(ends))
    if code is None:
        return nothing, table.late
    gpus = parse_smi_csv(text)
    driver = gpus[0]["driver"] if gpus else None
    return {"driver": driver, "cuda": None, "gpus": gpus}, complaint_in(text) if code or not gpus else ""


def left(ends: float) -> float:
    return max(ends - time.monotonic(), 0.2)


def complaint_in(output: str) -> str:
    """The lines that are no data, on one line."""
    lines = [
        line.strip() for line in re.sub(r"<nvidia_smi_log>.*</nvidia_smi_log>", "", output, flags=re.S).splitlines()
    ]
    plain = [line for line in lines if line and not line.startswith("<") and line.count(",") < len(CSV_FIELDS) - 1]
    return " ".join(plain)[-400:] or "nvidia-smi failed without a word"


def gpu_state(gpus: list[dict[str, Any]], complaint: str, has_device: bool, has_smi: bool) -> str:
    """none, ok, no-driver, lost (some GPU no longer answers) or unanswered (late, or words we do not know)."""
    words = complaint.lower()
    if any(word in words for word in LOST_WORDS):
        return "lost"
    if gpus:
        return "ok"
    if not has_smi:
        return "no-driver" if has_device else "none"
    if any(word in words for word in NO_DRIVER_WORDS):
        return "no-driver"
    if "no devices were found" in words:
        return "lost" if has_device else "none"
    return "unanswered"


def parse_smi_csv(output: str) -> list[dict[str, Any]]:
    """The table of CSV_FIELDS without header and units; sizes become bytes."""
    found = []
    for line in output.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) != len(CSV_FIELDS) or not is_number(values[0]):
            continue
        row = dict(zip(CSV_FIELDS, values))

        def number(name: str, scale: int = 1, row: dict[str, str] = row) -> int | None:
            return int(row[name]) * scale if is_number(row[name]) else None

        found.append(
            {
                "index": int(row["index"]),
                "name": row["name"],
                "uuid": row["uuid"],
                "driver": row["driver_version"],
                "memory": number("memory.total", 1 << 20),
                "memory_used": number("memory.used", 1 << 20),
                "memory_free": number("memory.free", 1 << 20),
                "temperature": number("temperature.gpu"),
                "compute_capability": "",
                "throttled": [],
                "ecc": {"mode": "", "volatile_uncorrected": None, "aggregate_uncorrected": None},
                "rows": {"remapped": None, "pending": None, "failed": None},
                "pci": {
                    "address": pci_address(row["pci.bus_id"]),
                    "generation": number("pcie.link.gen.current"),
                    "generation_max": number("pcie.link.gen.max"),
                    "width": number("pcie.link.width.current"),
                    "width_max": number("pcie.link.width.max"),
                },
                "mig": {"mode": "", "instances": []},
                "processes": [],
            }
        )
    return found


def is_number(text: str) -> bool:
    """Whether `int` reads it: isdigit takes a superscript two, and int refuses thousands of digits."""
    return text.isdecimal() and len(text) < 20


def pci_address(text: str) -> str:
    """As the kernel writes it: nvidia-smi has four more digits of domain, in capitals."""
    domain, _, rest = text.lower().partition(":")
    return domain[-4:] + ":" + rest


def add_capabilities(gpus: list[dict[str, Any]], asked: dict[str, Program], ends: float) -> None:
    if "capability" not in asked:
        return
    code, output = asked["capability"].finish(left(ends))
    lines = [line.split(",") for line in output.splitlines()] if code == 0 else []
    known = {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}
    for gpu in gpus:
        capability = known.get(gpu["uuid"], "")
        gpu["compute_capability"] = capability if re.match(r"\d+\.\d+$", capability) else ""


def add_mig_uuids(gpus: list[dict[str, Any]], ends: float) -> None:
    """The XML of most drivers numbers MIG instances without their UUIDs; the list has them."""
    smi = find_program("nvidia-smi")
    if smi and any(gpu["mig"]["instances"] for gpu in gpus):
        code, output = Program(smi, "-L").finish(left(ends))
        if code == 0:
            name_mig_instances(gpus, output)


def name_mig_instances(gpus: list[dict[str, Any]], listed: str) -> None:
    by_uuid = {gpu["uuid"]: gpu for gpu in gpus}
    current: dict[str, Any] | None = None
    for line in listed.splitlines():
        gpu = re.match(r"GPU \d+: .*\(UUID: (GPU-[^)]+)\)", line)
        instance = re.match(r"\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)]+)\)", line)
        if gpu:
            current = by_uuid.get(gpu.group(1))
        elif instance and current:
            for one in current["mig"]["instances"]:
                if one["index"] == int(instance.group(2)):
                    one.update(profile=instance.group(1), uuid=instance.group(3))


def toolkit_version(asked: dict[str, Program], ends: float) -> str:
    if "toolkit" not in asked:
        return ""
    code, output = asked["toolkit"].finish(left(ends))
    match = re.search(r"version\s+v?(\d[\w.~+-]*)", output)
    return match.group(1) if code == 0 and match else ""


def kernel_module() -> str:
    """Version of the driver's module where one is loaded, whatever programs are installed."""
    path = "/proc/driver/nvidia/version"
    match = re.search(r"Kernel Module\D*(\d+\.\d[\d.]*)", read_text(path)) if os.path.exists(path) else None
    return match.group(1) if match else ""


def container_of(pid: int) -> str:
    """Id of the container that a process is in, '' for none: the last one on its way down the control groups."""
    try:
        ids = re.findall(r"[0-9a-f]{64}", read_text(f"/proc/{pid}/cgroup"))
    except OSError:
        return ""  # it has ended
    return str(ids[-1]) if ids else ""


def about_cdi(driver: str | None) -> list[dict[str, Any]]:
    """CDI specifications of NVIDIA's devices. Stale: written for another driver than the one that runs."""
    found = []
    for folder in CDI_FOLDERS:
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            path = folder + "/" + name
            text = read_text(path) if name.endswith((".yaml", ".yml", ".json")) else ""
            if "nvidia.com/gpu" in text:
                found.append(dict(parse_cdi(text, driver), path=path))
    return found


def parse_cdi(text: str, driver: str | None) -> dict[str, Any]:
    """By pattern: a host has no YAML parser, and the toolkit writes these files in one form."""
    names = re.findall(r"^\s*(?:-\s*)?\"?name\"?:\s*\"?([\w:.-]+)\"?,?\s*$", text, flags=re.M)
    version = re.search(r"\.so\.(\d{3}\.\d+(?:\.\d+)?)\b", text)
    made_for = version.group(1) if version else ""
    return {
        "devices": ["nvidia.com/gpu=" + name for name in names],
        "driver": made_for,
        "stale": bool(made_for and driver and made_for != driver),
    }


def about_pci_gpus() -> list[dict[str, str]]:
    """NVIDIA display controllers as the kernel lists them, driver or no driver."""
    found = []
    base = "/sys/bus/pci/devices"
    for address in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        where = base + "/" + address
        if read_text(where + "/vendor").strip() == "0x10de" and read_text(where + "/class").startswith("0x03"):
            found.append({"address": address, "device": read_text(where + "/device").strip()})
    return found
