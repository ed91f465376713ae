"""The image in which containers run a hive's nodes: one for all of them, each container with a command of its own."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from ... import __version__
from ...settings import HIVE
from .files import File
from .workloads import REDIS_VARIABLE, Hive

DOCKERFILE = "Dockerfile"
FOLDER = "/hive"  # of the hive, in the image
USER = 10001  # not root, and nobody of the host
_NOT_IN_IT = ("**/__pycache__", "**/*.pyc", "**/.git", "**/.venv", "venv", "var", "log", "logs", ".env", "**/*.env")


def default_image(hive: Hive) -> str:
    """What the image is called if nobody says."""
    return f"{re.sub(r'[^a-z0-9]+', '-', hive.name.lower()).strip('-')}:latest"


def image_files(hive: Hive, image: str, requirements: bool, folder: str = ".") -> list[File]:
    """The Dockerfile, and what has to stay out of the image. ``requirements``: the hive has a requirements.txt.
    ``folder`` is where they are written, as seen from the hive's folder.
    """
    return [
        File(DOCKERFILE, _dockerfile(hive, image, requirements, Path(folder, DOCKERFILE)), is_main=False),
        File(f"{DOCKERFILE}.dockerignore", "".join(f"{each}\n" for each in _NOT_IN_IT), is_main=False),
    ]


def _dockerfile(hive: Hive, image: str, requirements: bool, path: Path) -> str:
    nodes = [each.name for each in hive.workloads if not each.is_root]
    build = shlex.join(["docker", "build", "-f", str(path), "-t", image, "."])
    run = shlex.join(["docker", "run", "-e", REDIS_VARIABLE, image, nodes[0] if nodes else "NODE"])
    more = "COPY requirements.txt .\nRUN pip install --no-cache-dir -r requirements.txt\n" if requirements else ""
    return f"""\
# The image of the hive {hive.name}: its files, and what they need. It is built in the hive's folder:
#   {build}
# A container runs one command, by default one copy of a node, which is named:
#   {run}

FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim
ARG HIVEMIND=hivemind-net=={__version__}
RUN pip install --no-cache-dir "$HIVEMIND"
WORKDIR {FOLDER}
{more}COPY . .
RUN python -m compileall -q .
ENV {HIVE}={FOLDER} PYTHONUNBUFFERED=1 HOME=/tmp
USER {USER}
ENTRYPOINT ["python", "-m", "hivemind.node"]
"""
