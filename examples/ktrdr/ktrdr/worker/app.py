"""A worker's HTTP side, and its registration with the backend."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import sqlalchemy as sa
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel

from ktrdr import operations, tokens
from ktrdr.database import connect
from ktrdr.peer import PeerError, call
from ktrdr.settings import Settings
from ktrdr.worker.runner import Runner, Work

LOG = logging.getLogger("ktrdr.worker")
REGISTER_EVERY = 2.0  # seconds


class Order(BaseModel):
    operation_id: str


def create(settings: Settings, work: Work) -> FastAPI:
    """The application around one runner."""
    db = connect(settings)
    runner = Runner(db, work)
    stopping = threading.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threads = [
            threading.Thread(target=runner.run, daemon=True),
            threading.Thread(target=_register, args=(settings, db, runner, stopping), daemon=True),
        ]
        for thread in threads:
            thread.start()
        yield
        stopping.set()
        await asyncio.to_thread(runner.stop, 20.0)

    app = FastAPI(title=f"ktrdr {settings.worker_type} worker", lifespan=lifespan)

    def from_backend(authorization: Annotated[str | None, Header()] = None) -> None:
        try:
            tokens.verify(authorization, settings.jwt_secret)
        except tokens.TokenError as wrong:
            raise HTTPException(401, str(wrong)) from wrong

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {
            "status": "healthy",
            "worker_type": settings.worker_type,
            "busy": runner.busy,
            "gpu": settings.worker_gpu,
        }

    @app.post("/operations", status_code=202, dependencies=[Depends(from_backend)])
    def take(order: Order) -> dict[str, bool]:
        runner.take(order.operation_id)
        return {"success": True}

    @app.delete("/operations/{identity}", dependencies=[Depends(from_backend)])
    def cancel(identity: str) -> dict[str, bool]:
        runner.cancel(identity)
        return {"success": True}

    return app


def _register(settings: Settings, db: sa.Engine, runner: Runner, stopping: threading.Event) -> None:
    """Register again and again: a backend or database that lost us, or was not there yet, knows us within seconds."""
    body = {"endpoint": settings.worker_url, "worker_type": settings.worker_type, "gpu": settings.worker_gpu}
    said, resumed = "", False
    while not stopping.is_set():
        try:
            if not resumed:
                for identity in operations.unfinished(db, settings.worker_url):
                    runner.take(identity)
                resumed = True
            token = tokens.issue("worker", settings.jwt_secret)
            status = call("POST", f"{settings.backend_url}/api/v1/workers/register", token=token, body=body)["status"]
            state = f"registered at {settings.backend_url} as {settings.worker_url}, which it finds {status}"
            state = state.replace("busy", "available")
        except (PeerError, sa.exc.SQLAlchemyError) as failed:
            state = f"not registered: {str(getattr(failed, 'orig', failed)).splitlines()[0]}"
        if state != said:
            LOG.info(state)
            said = state
        stopping.wait(REGISTER_EVERY)


def serve(settings: Settings) -> None:
    """Load what the work needs, so that no operation waits for it, then run until stopped."""
    if settings.worker_type == "training":
        from ktrdr.worker import training

        training.warm_up()
        work = training.work
    else:
        from ktrdr.worker import backtesting

        work = backtesting.work
    uvicorn.run(
        create(settings, partial(work, settings)),
        host="0.0.0.0",
        port=settings.worker_port,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
    )
