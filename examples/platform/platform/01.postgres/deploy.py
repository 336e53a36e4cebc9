"""PostgreSQL, the database of every service that needs one."""

from invoke import task

from libs.deployer import Deployer

deployer = Deployer(__file__)


@task
def sync(_c):  # type: ignore[no-untyped-def]
    """Bring the service to the state described here."""
    deployer.sync()


@task
def status(_c):  # type: ignore[no-untyped-def]
    """Say whether it is deployed as described."""
    deployer.status()
