"""The HTTP API."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Annotated, Any, Literal

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from ktrdr import operations, prices, strategies, tokens
from ktrdr.backend import registry
from ktrdr.database import complaint, connect
from ktrdr.peer import PeerError, call
from ktrdr.settings import Settings

LOG = logging.getLogger("ktrdr.backend")


class Registration(BaseModel):
    worker_type: Literal["backtesting", "training"]
    endpoint: Annotated[str, Field(pattern=r"^http://[^/\s]+$")]
    gpu: bool = False


Tag = Annotated[str, Field(max_length=200)]


class Training(BaseModel):
    symbols: Annotated[list[str], Field(min_length=1)]
    timeframes: Annotated[list[str], Field(min_length=1)]
    strategy_name: str
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    tag: Tag | None = None


class Backtest(BaseModel):
    strategy_name: str
    symbol: str
    timeframe: str
    start_date: date
    end_date: date
    initial_capital: Annotated[float, Field(gt=0)] = 100_000.0
    tag: Tag | None = None


def create(settings: Settings) -> FastAPI:
    """The application over one database."""
    db = connect(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stopping = threading.Event()
        watcher = threading.Thread(target=registry.watch, args=(db, stopping), daemon=True)
        watcher.start()
        yield
        stopping.set()

    app = FastAPI(title="ktrdr", lifespan=lifespan)

    @app.exception_handler(sa.exc.SQLAlchemyError)
    def no_database(_: Request, failed: Exception) -> JSONResponse:
        return JSONResponse({"detail": complaint(db, settings) or f"the database refused: {failed}"}, status_code=503)

    @app.exception_handler(strategies.UnknownStrategy)
    @app.exception_handler(prices.NoPrices)
    def wrong_request(_: Request, wrong: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(wrong)}, status_code=400)

    @app.get("/api/v1/health")
    def health(response: Response) -> dict[str, str]:
        detail = complaint(db, settings)
        response.status_code = 503 if detail else 200
        return {"status": "unhealthy", "detail": detail} if detail else {"status": "healthy"}

    @app.get("/api/v1/workers")
    def workers() -> list[dict[str, Any]]:
        return registry.listing(db)

    @app.post("/api/v1/workers/register")
    def register(body: Registration, authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        try:
            tokens.verify(authorization, settings.jwt_secret)
        except tokens.TokenError as wrong:
            raise HTTPException(401, str(wrong)) from wrong
        return {"success": True, "status": registry.register(db, body.endpoint, body.worker_type, body.gpu)}

    @app.get("/api/v1/strategies")
    def list_strategies() -> dict[str, Any]:
        return {"success": True, "strategies": strategies.describe(settings.strategies)}

    def start(kind: str, parameters: dict[str, Any]) -> str:
        identity = operations.create(db, kind, parameters)
        if not registry.dispatch(db, settings, identity, kind):
            operations.update(db, identity, status="failed", error="no worker took it")
            raise HTTPException(503, f"no {kind} worker can be reached; registered: {registry.listing(db)}")
        LOG.info("%s started: %s", identity, parameters)
        return identity

    @app.post("/api/v1/trainings/start")
    def start_training(body: Training) -> dict[str, Any]:
        strategies.load(settings.strategies, body.strategy_name)
        for symbol in body.symbols:
            for timeframe in body.timeframes:
                prices.load(settings.prices, symbol, timeframe)
        return {"success": True, "task_id": start("training", body.model_dump(mode="json"))}

    @app.post("/api/v1/backtests/start")
    def start_backtest(body: Backtest) -> dict[str, Any]:
        strategies.load(settings.strategies, body.strategy_name)
        prices.load(settings.prices, body.symbol, body.timeframe, body.start_date, body.end_date)
        return {"success": True, "operation_id": start("backtesting", body.model_dump(mode="json"))}

    def find(identity: str) -> dict[str, Any]:
        if (row := operations.get(db, identity)) is None:
            raise HTTPException(404, f"unknown operation '{identity}'")
        return row

    @app.get("/api/v1/operations")
    def list_operations(unfinished: bool = False) -> dict[str, Any]:
        return {"success": True, "data": operations.listing(db, unfinished=unfinished)}

    @app.get("/api/v1/operations/{identity}")
    def get_operation(identity: str) -> dict[str, Any]:
        return {"success": True, "data": find(identity)}

    @app.delete("/api/v1/operations/{identity}")
    def cancel_operation(identity: str) -> dict[str, Any]:
        row = find(identity)
        if not operations.update(db, identity, status="cancelled"):
            status = find(identity)["status"]
            if status != "cancelled":
                raise HTTPException(409, f"operation '{identity}' is {status} already")
        elif row["endpoint"]:
            # The worker notices by itself when it next reports; telling it only makes that sooner.
            try:
                token = tokens.issue("backend", settings.jwt_secret)
                call("DELETE", f"{row['endpoint']}/operations/{identity}", token=token)
            except PeerError as failed:
                LOG.warning("the worker of %s was not told of its end: %s", identity, failed)
        return {"success": True, "data": find(identity)}

    return app


def serve(settings: Settings) -> None:
    """Run until stopped."""
    uvicorn.run(
        create(settings), host="0.0.0.0", port=8000, access_log=False, log_config=None, timeout_graceful_shutdown=5
    )
