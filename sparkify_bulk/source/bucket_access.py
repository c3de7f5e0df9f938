"""Access to buckets: clients, credentials and settings, and messages for the services' errors.

`obstore` reads its settings from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`). It doesn't read
profiles and SSO of AWS; where boto3 is installed, boto3 does.
"""

import os
import queue
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import timedelta
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sparkify_bulk.errors import SparkifyBulkError, UsageError
from sparkify_bulk.redaction import learn
from sparkify_bulk.source.formats import ReplacedError
from sparkify_bulk.source.store import check_wait

if TYPE_CHECKING:
    from obstore.store import ObjectStore

EXTRA = "sparkify-bulk[cloud]"
# Environment variables that hold a secret, by name.
_SECRET = re.compile(r"(AWS|GOOGLE|AZURE)_(?!.*_FILE$).*(KEY|SECRET|TOKEN|PASSWORD|SAS).*")
# Without any of these obstore asks the instance metadata service for credentials.
_AWS_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_AWS_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}
# Limits on repeating a request that stalls or is answered by 429 or 5xx.
_RETRIES = 20
_RETRY_SECONDS = 120
# The first request of a run: a wrong endpoint should be reported soon.
_FIRST_RETRIES = 4
_FIRST_RETRY_SECONDS = 15
# How soon the end of a run is noticed while a request is under way.
CHECK_SECONDS = 0.2
# Without it a stalled response would block a worker for an hour.
_READ_TIMEOUT = "30s"
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>|x-ms-error-code: (\w+)")
_BROKEN_BODY = "response body error"

# Concurrent requests of each worker: a small object takes long to arrive, and little work.
REQUESTS = "SPARKIFY_BULK_REQUESTS"
_USUAL_REQUESTS = 32
_MOST_REQUESTS = 1024

# The helpers of each thread.
_own = threading.local()

Answer = TypeVar("Answer")


class Trouble(NamedTuple):
    """What is wrong, and what to do about it."""

    what: str
    hint: str


_EXPIRED = Trouble("the credentials have expired", "get new ones")
_BY_CODE = {
    "NoSuchBucket": Trouble("there is no such bucket", "check its name"),
    "ContainerNotFound": Trouble("there is no such container", "check its name"),
    "InvalidAccessKeyId": Trouble(
        "the service doesn't know the access key", "set AWS_ACCESS_KEY_ID to one that it knows"
    ),
    "SignatureDoesNotMatch": Trouble(
        "the secret key isn't the access key's", "set AWS_SECRET_ACCESS_KEY anew"
    ),
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": Trouble("the session token isn't valid", "set AWS_SESSION_TOKEN anew"),
    "RequestTimeTooSkewed": Trouble(
        "the clock of this machine is wrong: the service refuses what it signs",
        "set the clock: timedatectl set-ntp true",
    ),
    "AuthenticationFailed": Trouble(
        "the service refuses the credentials", "set AZURE_STORAGE_ACCOUNT_KEY or a SAS token anew"
    ),
    "SlowDown": Trouble("the service asks to slow down", "set SPARKIFY_BULK_REQUESTS to fewer"),
}
_REGION = Trouble(
    "it is in another region than the one that is asked", "set AWS_REGION to the bucket's region"
)
_DENIED = Trouble(
    "access is denied",
    "the account that loads needs the right to list the bucket, and to read its objects: see "
    "docs/how-to/cloud.md",
)
_NO_CREDENTIALS = Trouble(
    "no credentials were found, or they were refused",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what docs/how-to/cloud.md names for your "
    "service; AWS_SKIP_SIGNATURE=true where anybody may read",
)
_BY_WORDS = (
    ("AuthorizationHeaderMalformed", _REGION),
    ("PermanentRedirect", _REGION),
    ("incorrectly configured region", _REGION),
    ("169.254.", _NO_CREDENTIALS),
    ("metadata.google.internal", _NO_CREDENTIALS),
    ("Account must be specified", Trouble("no account is named", "set AZURE_STORAGE_ACCOUNT_NAME")),
    ("invalid peer certificate", Trouble("its certificate isn't trusted", "set SSL_CERT_FILE")),
)
_BY_STATUS = {
    "400": Trouble("the service rejects the request", "check AWS_ENDPOINT_URL and AWS_REGION"),
    "401": _NO_CREDENTIALS,
    "403": _DENIED,
    "404": _BY_CODE["NoSuchBucket"],
    "429": _BY_CODE["SlowDown"],
}
_UNREACHABLE = Trouble(
    "the service can't be reached, or doesn't answer",
    "check AWS_ENDPOINT_URL, AWS_REGION and the network, or run again when it is up",
)


class BucketError(SparkifyBulkError):
    """A bucket can't be listed or read; the star is untouched."""


class OutOfRangeError(Exception):
    """An object has no such bytes."""


def explain(error: Exception, asked: str) -> BucketError:
    """Return an error that says what a service's error means.

    Args:
        error: what obstore raised.
        asked: what can't be done, for the message.
    """
    trouble = _trouble(str(error))
    return BucketError(f"{asked}: {trouble.what}", hint=trouble.hint)


def _unnamable(error: Exception, asked: str) -> BucketError:
    """Return an error that names the key which obstore can't handle."""
    key = re.search(r'Path "(.*?)"', str(error), re.DOTALL)
    return BucketError(
        f"{asked}: the key {key[1] if key else '?'} of an object in it has an empty part between "
        "two slashes, a dot or two for one, or a control character",
        hint="rename the object, or name a folder without it",
    )


def _trouble(text: str) -> Trouble:
    code = _CODE.search(text)
    if code and (found := _BY_CODE.get(code[1] or code[2])):
        return found
    for words, trouble in _BY_WORDS:
        if words in text:
            return trouble
    status = _STATUS.search(text)
    if not status:
        return _UNREACHABLE
    if found := _BY_STATUS.get(status[1]):
        return found
    return Trouble(f"the service answers {status[1]}", "run again later")


def is_cloud_variable(name: str) -> bool:
    """Return whether an environment variable is about access to buckets."""
    return name.startswith(("AWS_", "GOOGLE_", "AZURE_")) or name == REQUESTS


def is_secret(name: str) -> bool:
    """Return whether an environment variable may hold a secret, by its name."""
    return _SECRET.fullmatch(name) is not None


def requests() -> int:
    """Return how many objects each worker requests at a time.

    Raises:
        UsageError: the environment variable is invalid.
    """
    said = os.environ.get(REQUESTS) or str(_USUAL_REQUESTS)
    if not said.isdecimal() or not 1 <= int(said) <= _MOST_REQUESTS:
        raise UsageError(f"{REQUESTS}={said} is invalid", hint=f"set it to 1 to {_MOST_REQUESTS}")
    return int(said)


@lru_cache
def client_of(bucket: str, *, patient: bool = True) -> "ObjectStore":
    """Return the client of a bucket.

    Args:
        bucket: its address, without what stands in it.
        patient: repeat failed requests for two minutes, not for a few seconds.

    Raises:
        UsageError: obstore isn't installed, or a setting in the environment is wrong.
    """
    try:
        from obstore.store import from_url  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            f"{bucket} is a bucket, and obstore, which reads buckets, isn't installed",
            hint=f"pip install '{EXTRA}'",
        ) from None
    learn(*(value for name, value in os.environ.items() if is_secret(name)))
    retries, seconds = (
        (_RETRIES, _RETRY_SECONDS) if patient else (_FIRST_RETRIES, _FIRST_RETRY_SECONDS)
    )
    profile = _profile() if bucket.startswith("s3") else {}
    try:
        return from_url(
            bucket,
            client_options={
                "allow_http": _is_plain_http(),
                "connect_timeout": "5s",
                "read_timeout": _READ_TIMEOUT,
                "timeout": "1h",
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=seconds),
                "backoff": {"init_backoff": timedelta(milliseconds=200)},
            },
            **profile,
        )
    # Which errors settings raise isn't documented.
    except Exception as error:  # noqa: BLE001
        trouble = _trouble(str(error))
        what = "a setting in the environment is wrong" if trouble is _UNREACHABLE else trouble.what
        raise UsageError(f"{bucket} can't be opened: {what}", hint=trouble.hint) from None


def _is_plain_http() -> bool:
    """Return whether an endpoint without TLS is configured."""
    return any(
        value.startswith("http://")
        for name, value in os.environ.items()
        if name.startswith(("AWS_ENDPOINT", "AZURE_", "GOOGLE_"))
    )


def _profile() -> dict[str, Any]:
    """Return the options that let boto3 find credentials, where they are in an AWS profile.

    Raises:
        UsageError: a profile is named, and boto3 isn't installed or can't use it.
    """
    environment = os.environ
    if any(map(environment.get, _AWS_CREDENTIALS)) or _is_anonymous():
        return {}
    named = environment.get("AWS_PROFILE")
    files = [environment.get(name, usual) for name, usual in _AWS_FILES.items()]
    if not named and not any(Path(file).expanduser().exists() for file in files):
        return {}
    if find_spec("boto3") is None:
        if named:
            raise UsageError(
                f"AWS_PROFILE names the profile {named}, and boto3, which reads profiles, isn't "
                "installed",
                hint="pip install boto3, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        return {}
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415

    try:
        return {"credential_provider": Boto3CredentialProvider()}
    # Each of botocore's many errors says what is wrong with the profile.
    except Exception as error:  # noqa: BLE001
        raise UsageError(
            f"the AWS profile {named or 'default'} can't be used: {error}",
            hint="to try it: aws sts get-caller-identity",
        ) from None


def _is_anonymous() -> bool:
    return os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true", "yes", "on")


def wait_for(task: Callable[[], Answer], threads: int = 1) -> list[Answer]:
    """Run a task in one or more threads, and return what each returns.

    A request can't be interrupted: if Ctrl-C or `check_wait` ends the wait, its threads are left
    behind. Otherwise they serve the caller's next tasks: a new thread for each large object would
    cost hundreds of megabytes, as the allocator keeps memory by thread.

    Raises:
        Exception: the first error of the task.
    """
    check = check_wait.get()
    helpers: list[_Helper] = _own.__dict__.pop("helpers", [])
    helpers += [_Helper() for _ in range(threads - len(helpers))]
    answers = [helper.begin(task) for helper in helpers[:threads]]
    while wait(answers, CHECK_SECONDS).not_done:
        check()
    _own.helpers = helpers
    return [answer.result() for answer in answers]


class _Helper:
    """A thread that runs tasks for another one, until that one has no use for it any more."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(self._tasks,), daemon=True).start()

    def begin(self, task: Callable[[], Answer]) -> Future[Answer]:
        """Let the thread run a task after those before."""
        answer = Future[Answer]()
        self._tasks.put((task, answer))
        return answer

    def __del__(self) -> None:
        self._tasks.put(None)


def _serve(tasks: "queue.SimpleQueue[Any]") -> None:
    while job := tasks.get():
        task, answer = job
        try:
            answer.set_result(task())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            answer.set_exception(error)
        # Kept until the next task, they would keep what was read.
        del job, task, answer


def ask(question: Callable[[], Answer], asked: str, *, of_object: bool) -> Answer:
    """Return the answer to a question; ask again if the object was replaced meanwhile.

    Args:
        question: sends the request.
        asked: what can't be done if it fails, for the message.
        of_object: the request is about one object.

    Raises:
        FileNotFoundError, PermissionError: the object is gone, or access to it is denied.
        ReplacedError: the object is another version than the one requested.
        OutOfRangeError: the object ends before the requested bytes.
        BucketError: anything else.
    """
    from obstore import exceptions  # noqa: PLC0415

    try:
        try:
            return question()
        except exceptions.GenericError as error:
            if _BROKEN_BODY not in str(error):
                raise
            return question()
    except FileNotFoundError:
        raise FileNotFoundError(2, "it is gone") from None
    except exceptions.PreconditionError:
        raise ReplacedError from None
    except exceptions.PermissionDeniedError as error:
        if of_object and _trouble(str(error)) is _DENIED:
            raise PermissionError(13, "access is denied") from None
        raise explain(error, asked) from None
    except exceptions.InvalidPathError as error:
        raise _unnamable(error, asked) from None
    except exceptions.BaseError as error:
        if (status := _STATUS.search(str(error))) and status[1] == "416":
            raise OutOfRangeError from None
        raise explain(error, asked) from None
