"""The processes of one job: their connection, and the checks before JAX connects them."""

import ipaddress
import re
import socket

from jaxlqr.core.limits import check_count, shown

_MOST_PROCESSES = 100_000
# Letters, digits, dots and hyphens, or an address of IPv6 in brackets; JAX ends the process for some other texts.
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,400})")


def join(coordinator: str | None, count: int | None, number: int | None, *, bind: str | None = None) -> None:
    """Connect this process with the others of the job; nothing without a coordinator.

    Process 0 listens. The protocol of JAX has no authentication and no encryption: any program that can open a
    connection to the port can join the job. So process 0 binds the loopback address, unless ``bind`` gives another one.

    Arguments:
        coordinator: HOST:PORT of process 0.
        count, number: number of processes, and the number of this process; by default JAX reads them from the cluster.
        bind: address of this machine that process 0 binds, such as an address in a private network, or 0.0.0.0 for all;
            the port is the one of ``coordinator``.

    Raises:
        ValueError: when an argument is malformed, the host is not known, the port cannot be bound, or the coordinator
            is another machine and ``bind`` is not given.
    """
    if coordinator is None:
        if count is not None or number is not None or bind is not None:
            raise ValueError("num_processes, process_id and coordinator_bind belong to a coordinator; give it, too.")
        return
    if (count is None) != (number is None) or (count is not None and not 0 <= (number or 0) < count):
        raise ValueError(
            f"process_id must lie below num_processes, got {shown(number)} of {shown(count)}; give both or neither."
        )
    if count is not None:
        check_count(count, "num_processes", 1, _MOST_PROCESSES)
    host, port = _parsed(coordinator, "coordinator")
    addresses = _resolved(host)
    loopback = all(ipaddress.ip_address(address).is_loopback for address in addresses)
    if bind is None and not loopback and number in (None, 0):
        raise ValueError(
            f"coordinator_bind must be given where the coordinator is no loopback address, got {coordinator} alone; "
            "give the address that process 0 binds on a network that you trust: the protocol has no authentication."
        )
    if bind is not None:
        bound = _parsed(f"{bind}:{port}", "coordinator_bind")[0]
    else:
        bound = addresses[0] if ":" not in addresses[0] else f"[{addresses[0]}]"
    if number == 0:
        _check_free(bound, port)
    import jax

    jax.distributed.initialize(coordinator, count, number, coordinator_bind_address=f"{bound}:{port}")


def agree(sha256: str) -> tuple[int, int]:
    """Number of processes and this one's, after all of them agreed on what to compute."""
    import jax
    import numpy as np
    from jax.experimental.multihost_utils import assert_equal

    try:
        assert_equal(np.frombuffer(bytes.fromhex(sha256), np.uint8), "the processes have different sweep files")
    except AssertionError as error:
        raise ValueError(f"{str(error).splitlines()[0]}; start them all with the same one.") from None
    # From here on each process works alone: the loss of one must not end the others.
    jax.distributed.shutdown()
    return jax.process_count(), jax.process_index()


def _parsed(text: str, name: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} must be HOST:PORT, such as 127.0.0.1:8000, got {shown(text)!r}.")
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise ValueError(f"{name} must have a port from 1 to 65535, got {shown(port)}.")
    return match["host"], port


def _resolved(host: str) -> list[str]:
    """Addresses of a host; IPv4 addresses first."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for labels that are too long
        raise ValueError(f"coordinator must name a host, but {host} cannot be found; check its name.") from None
    return [str(address[0]).split("%")[0] for _, _, _, _, address in sorted(found, key=lambda entry: entry[0])]


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port of a job that just ended will do
            trial.bind((host.strip("[]"), port))
    except OSError as error:
        raise ValueError(
            f"the coordinator cannot bind {host}:{port}: {error.strerror or error}; choose another port or address."
        ) from None
