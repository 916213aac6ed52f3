"""Run documents as deploys leave them: a baseline, the candidate after it, and one that failed on three hosts."""

from __future__ import annotations

from typing import Any

from canaryctl.evidence.compare import compare
from canaryctl.evidence.document import new_document

HEALTHY = '{"status":"healthy"}'
ATTACK = "</script><script>console.error('ran')</script><img src=x onerror=\"console.error('ran')\">"


def exchange(
    what: str = "request", url: str = "/api/v1/health", body: str = HEALTHY, ms: float = 4.2, **more: Any
) -> dict[str, Any]:
    known = {"host": "canary-1", "what": what, "method": "GET", "url": f"http://10.87.0.10:18000{url}", "at": 0.001}
    return {**known, "ms": ms, "status": 200, "sent": "", "body": body, "truncated": False, "error": "", "times": 1} | (
        more
    )


def probe(
    name: str, verdict: str, reason: str, seconds: float, *exchanges: dict[str, Any], **more: Any
) -> dict[str, Any]:
    times = sorted(one["ms"] for one in exchanges)
    latency = {"n": len(times), "p50": times[(len(times) - 1) // 2], "max": times[-1]} if times else None
    known = {"name": name, "kind": "http", "verdict": verdict, "reason": reason, "blame": None, "attempts": 1}
    return {**known, "seconds": seconds, "exchanges": list(exchanges), "latency": latency} | more


def image(identity: str, name: str, *layers: tuple[int, str]) -> dict[str, Any]:
    return {
        "id": "sha256:" + identity * 64,
        "tag": f"canaryctl/ktrdr/{name}:sha256-{identity * 12}",
        "size": sum(size for size, _ in layers),
        "layers": [{"size": size, "created_by": by} for size, by in layers],
    }


BASE = (120_000_000, "/bin/sh -c #(nop) ADD file:1f3c in / ")
PYTHON = (62_000_000, "RUN /bin/sh -c apt-get install -y python3 python3-venv # buildkit")
TORCH = (640_000_000, "|1 TORCH=cpu /bin/sh -c pip install torch==2.6.0+cpu numpy pandas")
APP = (1_400_000, "COPY ktrdr /app/ktrdr # buildkit")
IMAGES = {
    "backend": image("a", "backend", BASE, PYTHON, (13_000_000, "RUN pip install fastapi sqlalchemy psycopg"), APP),
    "worker_cpu": image("b", "worker_cpu", BASE, PYTHON, TORCH, (93_000_000, "RUN pip install alembic"), APP),
    "worker_gpu": image("c", "worker_gpu", BASE, PYTHON, TORCH, (94_000_000, "RUN pip install fastapi alembic"), APP),
    "db": image("d", "db", BASE, (190_000_000, "RUN apt-get install -y postgresql-17")),
}
VARIANTS = {
    "split": {"backend": "backend", "backtest-worker": "worker_cpu", "training-worker": "worker_cpu", "db": "db"},
    "monolithic": {
        **{"backend": "worker_gpu", "backtest-worker": "worker_gpu", "training-worker": "worker_gpu", "db": "db"}
    },
}
MEMORY = {
    "split": {"backend": 71e6, "backtest-worker": 63e6, "training-worker": 241e6, "db": 38e6},
    "monolithic": {"backend": 182e6, "backtest-worker": 181e6, "training-worker": 246e6, "db": 37e6},
}


def deployed(variant: str, minute: int = 15, **more: Any) -> dict[str, Any]:
    """A deploy of the example on one host that passed."""
    run = f"20261124T08{minute}30Z-deploy-5c1f"
    at = f"2026-11-24T08:{minute}:"
    slower = 1.0 if variant == "split" else 1.4
    services = VARIANTS[variant]
    stages = [("provision", 0.4, 16.2), ("push", 17.0, 22.9), ("render", 40.4, 0.6), ("migrate", 42.0, 5.8)]
    stages += [("start", 48.6, 6.4 * slower), ("collect", 59.3, 0.1)]
    known = {
        "id": run,
        "command": "deploy",
        "environment": "canary",
        "stack": "ktrdr",
        "variant": variant,
        "started": at + "00Z",
        "finished": at + "59.5Z",
        "seconds": 59.5,
        "operator": "ops@bastion",
        "directory": f"runs/canary/{run}",
        "changed_from": at + "00.4Z",
        "changed_until": at + "57.4Z",
        "verdict": "passed",
        "exit_code": 0,
        "release": {
            "id": ("ab" if variant == "split" else "cd") * 32,
            "images": {name: IMAGES[name] for name in sorted(set(services.values()))},
            "services": services,
            "migration": "0002",
        },
        "plan": {
            "changes": [
                {"host": "canary-1", "stage": "push", "what": name, "reason": "not on the host"}
                for name in sorted(set(services.values()))
            ]
            + [{"host": "canary-1", "stage": "migrate", "what": "the database", "reason": "it has no revision"}]
            + [{"host": "canary-1", "stage": "start", "what": name, "reason": "is not there"} for name in services]
        },
        "stages": [
            {"name": name, "host": "canary-1", "status": "changed" if name != "collect" else "ok", "seconds": seconds}
            | {"started": f"{at}{start:09.6f}Z"}
            for name, start, seconds in stages
        ],
        "migrations": {"before": "", "after": "0002"},
        "contracts": [
            {"image": name, "check": check, "verdict": "passed", "found": found}
            for name, check, found in [
                ("backend", "module fastapi present", "0.115.6"),
                ("backend", "module torch absent", "not there"),
                ("worker_cpu", "module torch present", "2.6.0+cpu"),
                ("worker_cpu", "python3 -m alembic --version", "alembic 1.14.0"),
            ]
            if name in services.values()
        ],
        "probes": [
            probe("Backend Health", "passed", "status 200 in 14 ms", 0.017 * slower, exchange(ms=14.2 * slower)),
            probe(
                "Workers Registered",
                "passed",
                "1 backtesting, 1 training, each reachable where it registered",
                0.02,
                exchange(url="/api/v1/workers", body='[{"worker_type":"backtesting"},{"worker_type":"training"}]'),
                exchange("endpoint", "/health"),
                kind="registered",
            ),
            probe(
                "Training Lifecycle",
                "passed",
                "completed in 1.6 s",
                1.6 * slower,
                exchange("start", "/api/v1/trainings/start", '{"success":true,"task_id":"op_training_63b6"}', 31.0)
                | {"method": "POST", "sent": '{"symbols":["EURUSD"],"strategy_name":"v3_minimal"}'},
                exchange("status", "/api/v1/operations/op_training_63b6", '{"data":{"status":"completed"}}', 9.1),
                kind="lifecycle",
            ),
            probe("Backtest Lifecycle", "passed", "completed in 0.9 s", 0.9, exchange(ms=8.8), kind="lifecycle"),
        ],
        "probed_from": at + "57.5Z",
        "probed_until": at + "59.2Z",
        "containers": [
            {
                "host": "canary-1",
                "service": service,
                "name": f"ktrdr-canary-{service}-1",
                "image": IMAGES[name]["tag"],
                "image_id": IMAGES[name]["id"],
                "state": "running",
                "health": "healthy",
                "started": at + "49.1Z",
                "healthy_seconds": round((0.9 if service == "db" else 2.1) * slower, 3),
                "restarts": 0,
                "memory_bytes": int(MEMORY[variant][service]),
                "oom_killed": False,
            }
            for service, name in services.items()
        ],
        "logs": {
            "canary-1": {
                service: {
                    "lines": [f"08:{minute}:45.69{n} INFO Application startup complete." for n in range(9)],
                    "patterns": [
                        {"pattern": "INFO uvicorn.error Started server process [#]", "level": "info", "count": 1}
                        | {"example": "INFO uvicorn.error Started server process [6]"}
                    ],
                }
                for service in services
            }
        },
        "notes": ["gpu-training-worker is optional and left out: its group has no host here"],
        "left_alone": ["containers of others: postgres-prod, grafana"],
    }
    return new_document(**(known | more))


def candidate() -> dict[str, Any]:
    """The split variant after its baseline, with their comparison."""
    baseline, run = deployed("monolithic", 14, role="baseline"), deployed("split", role="candidate")
    run["logs"]["canary-1"]["backend"]["patterns"].insert(
        0,
        {"pattern": "WARNING ktrdr.registry worker unreachable: http://#:#/health: …", "level": "warning", "count": 2}
        | {"example": "WARNING ktrdr.registry worker unreachable: http://10.87.0.10:15003/health: closed"},
    )
    return {**run, "baseline": baseline["id"], "comparison": compare(baseline, run)}


def failed() -> dict[str, Any]:
    """A deploy over three hosts in which about everything went wrong, and every text tries to run as a program."""
    hosts = ("fleet-core", "fleet-cpu-a-rather-long-name", "fleet-gpu")
    at = "2026-11-24T08:15:"
    run = deployed("split", environment="fleet", verdict="failed", exit_code=1, simulated=True)
    traceback = (
        'Traceback (most recent call last):\n  File "/app/worker.py", line 3, in <module>\n    import torch\n'
        f"ModuleNotFoundError: No module named 'torch' {ATTACK}"
    )
    stages = [(h, "push", 1.0 + n, 20.0 + 4 * n, "changed") for n, h in enumerate(hosts)]
    stages += [(h, "render", 34.0, 0.7, "changed") for h in hosts]
    stages += [(hosts[0], "start", 36.0, 6.1, "changed"), (hosts[1], "start", 36.0, 18.0, "failed")]
    return run | {
        "stages": [
            {"name": name, "host": host, "status": status, "seconds": seconds, "started": f"{at}{start:09.6f}Z"}
            | ({"message": f"backtest-worker is unhealthy {ATTACK}"} if status == "failed" else {})
            for host, name, start, seconds, status in stages
        ],
        "probes": [
            run["probes"][0],
            probe(
                "Workers Registered",
                "failed",
                f"0 of 1 backtesting: nothing has registered {ATTACK}",
                12.4,
                exchange(url="/api/v1/workers", body=f"<html>{ATTACK}</html>", ms=1240.5, status=502),
                exchange("endpoint", "/health", "", 5000.0, status=None, error=f"refused {ATTACK}", times=24),
                kind="registered",
                blame="system",
                attempts=25,
                exchanges_in_all=26,
                exchanges_file="probes/02-workers-registered.json",
            ),
            probe(
                "Training Lifecycle",
                "inconclusive",
                "the strategy 'neuro_mean_reversion' does not exist; valid: v3_minimal, v3_single_indicator",
                0.1,
                exchange("start", "/api/v1/trainings/start", '{"detail":"unknown strategy"}', 12.0, status=400),
                kind="lifecycle",
                blame="probe",
            ),
            probe("Backtest Lifecycle", "skipped", "Workers Registered did not pass", 0.0, kind="lifecycle"),
            probe("Front Page", "passed", "status 200", 3.1, exchange(ms=7.0), attempts=4, flaky=True),
            probe("Docs", "failed", "status 404", 0.1, exchange(ms=3.0, status=404), gates=False, blame="system"),
        ],
        "contracts": [
            *run["contracts"],
            {"image": "worker_cpu", "check": "module torch present", "verdict": "failed", "found": f"torch: {ATTACK}"},
            {"image": "elsewhere", "check": "user nonroot", "verdict": "skipped", "found": "no host has it"},
        ],
        "metrics": [
            {"name": "health latency", "verdict": "passed", "statistic": "p95", "value": 14.2, "unit": "ms", "n": 40}
            | {"bound": {"at_most": 50}, "baseline": 12.9, "reason": "", "gates": True, "source": "Backend Health"},
            {"name": "errors", "verdict": "inconclusive", "statistic": "p99", "value": None, "unit": "ms", "n": 4}
            | {"bound": {"at_most": 80}, "baseline": None, "reason": f"4 samples, 100 are needed {ATTACK}"}
            | {"gates": True, "source": "Docs"},
        ],
        "error": {"what": f"start failed: {ATTACK}", "where": "fleet-cpu", "hint": "see ansible/ in the evidence"},
        "warnings": [{"what": f"old kernel {ATTACK}", "where": "fleet-gpu", "hint": "update it"}],
        "logs": {
            hosts[1]: {
                "backtest-worker": {
                    "lines": ["08:15:40.1 starting", *traceback.splitlines()],
                    "patterns": [
                        {"pattern": "ModuleNotFoundError: …", "level": "traceback", "count": 3, "example": traceback},
                        {"pattern": f"ERROR {ATTACK}", "level": "error", "count": 2, "example": ATTACK},
                    ],
                }
            }
        },
        "notes": [f"a note {ATTACK}"],
    }
