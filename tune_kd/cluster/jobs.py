"""A cluster's jobs server, with its errors put into words."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from tune_kd import names
from tune_kd.cluster.address import jobs_server
from tune_kd.errors import InputError, TuneKDError, did_you_mean

POLL_SECONDS = 1.0
LOST_SECONDS = 600.0
"""How long a server that was there may be away, as it is when a laptop sleeps."""
STOP_SECONDS = 120
"""How long a search that is stopped may take to write down where it is."""

T = TypeVar("T")


class Jobs:
    def __init__(self, address: str) -> None:
        self._address = address
        self._client = self._asked(lambda: JobSubmissionClient(jobs_server(address)))

    def find(self, name: str) -> JobDetails | None:
        return next((job for job in self.all() if job.submission_id == name), None)

    def get(self, name: str) -> JobDetails:
        every = self.all()
        job = next((job for job in every if job.submission_id == name), None)
        if job is None:
            known = sorted(str(each.submission_id) for each in every if each.submission_id)
            raise InputError(
                f"{name}: no such search at {self._address}.{did_you_mean(name, known)} "
                f"Submitted there: {', '.join(known) or 'none'}."
            )
        return job

    def all(self) -> list[JobDetails]:
        return self._asked(self._client.list_jobs)

    def submit(self, name: str, command: str, folder: Path, environment: dict[str, str], about: dict[str, str]) -> None:
        # An interrupt instead of Ray's SIGTERM and three seconds: a search that is stopped writes down where it is.
        stopping = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
        runtime = {"working_dir": str(folder), "env_vars": environment | stopping}
        self._asked(
            lambda: self._client.submit_job(entrypoint=command, submission_id=name, runtime_env=runtime, metadata=about)
        )

    def forget(self, name: str) -> None:
        self._asked(lambda: self._client.delete_job(name))

    def stop(self, name: str) -> JobDetails:
        """Asks the job to stop and waits until it has."""
        self._asked(lambda: self._client.stop_job(name))
        while not (job := self.get(name)).status.is_terminal():
            time.sleep(POLL_SECONDS)
        return job

    def log(self, name: str) -> str:
        return self._asked(lambda: self._client.get_job_logs(name))

    def follow(self, name: str, write: Callable[[str], object], say: Callable[[str], object]) -> JobDetails:
        """Writes the job's log as it grows, until the job has ended. A lost connection is taken up again."""
        told, lost = 0, 0.0
        while True:
            try:
                # In this order: a log that is read after the end is whole.
                job, log = self._client.get_job_info(name), self._client.get_job_logs(name)
            except (requests.ConnectionError, requests.Timeout) as error:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > LOST_SECONDS:
                    raise self._unreachable(error) from error
                say(f"the connection to {self._address} is lost; trying again")
                time.sleep(10 * POLL_SECONDS)
                continue
            lost = 0.0
            write(log[told:])
            told = len(log)
            if job.status.is_terminal():
                return job
            time.sleep(POLL_SECONDS)

    def _asked(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except AuthenticationError as error:
            raise self._refused(error) from error
        except (ConnectionError, requests.RequestException) as error:
            raise self._unreachable(error) from error
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            if reason.startswith("Version check"):
                raise self._unreachable(error) from error
            raise TuneKDError(f"--submit {self._address}: the jobs server says: {reason}") from error

    def _unreachable(self, error: Exception) -> InputError:
        reason = str(error).strip().partition("\n")[0]
        return InputError(
            f"--submit {self._address}: no jobs server of Ray answers there ({reason}). Give the address of Ray's "
            "dashboard, usually http://HEAD:8265, and not the one that --address takes (port 6379)."
        )

    def _refused(self, error: Exception) -> InputError:
        given = "the token given is not the cluster's" if "invalid" in str(error).lower() else "it asks for a token"
        return InputError(
            f"--submit {self._address}: the cluster refuses the connection: {given}. Set RAY_AUTH_MODE=token, and the "
            "token in RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token. On the "
            "head node `ray get-auth-token` prints it."
        )


def exit_code(job: JobDetails) -> int:
    """The code of the job's own command; 130 for one that was stopped, 1 for one that never began."""
    if job.status == JobStatus.SUCCEEDED:
        return 0
    if job.status == JobStatus.STOPPED:
        return names.INTERRUPTED
    code = job.driver_exit_code
    if code is None:
        return 1
    return 128 - code if code < 0 else int(code)
