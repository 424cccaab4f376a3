"""Errors as clients of the Images API expect them: {"error": {"message", "type", "param", "code"}}."""

from typing import Any

from inkwash.core.errors import InkwashError

TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 403: "invalid_request_error", 404: "invalid_request_error",
         405: "invalid_request_error", 409: "invalid_request_error", 413: "invalid_request_error", 415: "invalid_request_error",
         429: "rate_limit_error", 500: "server_error", 503: "server_error"}  # fmt: skip


class ApiError(InkwashError):
    """What a request is answered with instead. param: the field it is about. headers: of the answer."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, headers or {}

    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None = None, code: str | None = "invalid_value") -> ApiError:
    """Something in a request that cannot be."""
    return ApiError(400, message, code, param)


def broken(message: str) -> ApiError:
    """A job that failed through no fault of who asked; the same request would fail again."""
    return ApiError(500, message, "job_failed", headers={"x-should-retry": "false"})
