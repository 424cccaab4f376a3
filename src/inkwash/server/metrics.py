"""Counts in Prometheus' text format."""

import time
from collections import Counter

from inkwash.server.queue import Queue


class Metrics:
    """What this process has answered, and what the queue holds."""

    def __init__(self) -> None:
        self.start, self.answers = time.time(), Counter()

    def count(self, path: str, status: int) -> None:
        """An answer. path: of a route, not of a request: a client cannot make new names."""
        self.answers[path, status] += 1

    def text(self, queue: Queue) -> str:
        lines = ["# HELP inkwash_answers_total Answers by route and status.", "# TYPE inkwash_answers_total counter"]
        lines += [f'inkwash_answers_total{{route="{path}",status="{status}"}} {n}' for (path, status), n in sorted(self.answers.items())]
        lines += ["# HELP inkwash_jobs Jobs by state.", "# TYPE inkwash_jobs gauge"]
        lines += [f'inkwash_jobs{{state="{state}"}} {n}' for state, n in queue.counts().items()]
        lines += ["# HELP inkwash_job_seconds Seconds that a job takes, of the latest 20.", "# TYPE inkwash_job_seconds gauge"]
        lines += [f"inkwash_job_seconds {queue.pace():.6f}"]
        lines += ["# HELP inkwash_up_seconds Seconds since the start.", "# TYPE inkwash_up_seconds gauge"]
        return "\n".join([*lines, f"inkwash_up_seconds {time.time() - self.start:.3f}", ""])
