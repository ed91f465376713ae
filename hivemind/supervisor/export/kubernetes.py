"""A hive for Kubernetes: a Deployment for each node, a Job for one that may end, and nothing secret. Pure.

Pods are alike, and numbers are not: each takes one that is free, and where none is it stands by until one is
(``--of``). So a Deployment is enough for many copies; a StatefulSet would hold on to a pod whose machine is gone. For
the same reason no more pods than copies may be there while a Deployment is rolled: one more would only stand by.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from ...settings import HIVE
from .files import File
from .image import FOLDER, USER
from .workloads import ALIVE, PROBE_FILE, PROBE_TIMEOUT, READY, REDIS_VARIABLE, STARTING, Hive, Workload
from .yaml import Value, yaml

FILE = "kubernetes.yaml"
LONGEST_NAME = 46  # characters; a pod's has seventeen more, and is its host name, of which there are 63
FOR_EVER = 2**31 - 1
OFTEN, SELDOM = 2, 5  # seconds between two questions while a pod starts, and later
MISSED = 2  # failed questions after which a pod is killed, or gets no work

Object = dict[str, Value]


def kubernetes(hive: Hive, image: str) -> list[File]:
    """The objects of a hive, to be applied with kubectl. ``image`` is what its containers run."""
    names = dns_names([f"{hive.name}-{each.name}" for each in hive.workloads])
    objects = [_object(hive, each, names[f"{hive.name}-{each.name}"], image) for each in hive.workloads]
    return [File(FILE, _said_first(hive, image) + "".join(f"\n---\n{yaml(each)}" for each in objects))]


def dns_names(names: Sequence[str]) -> dict[str, str]:
    """For each name one that Kubernetes takes; those that would be the same, or are too long, end with a hash."""
    plain = {name: re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names}
    taken = list(plain.values())
    return {
        name: found if len(found) <= LONGEST_NAME and taken.count(found) == 1 else _with_hash(found, name)
        for name, found in plain.items()
    }


def _with_hash(plain: str, name: str) -> str:
    return f"{plain[: LONGEST_NAME - 9].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def secret_of(hive: Hive, what: str) -> str:
    """The name of the Secret with the hive's ``redis`` URL, or with its ``env``."""
    return dns_names([f"{hive.name}-{what}"])[f"{hive.name}-{what}"]


def _said_first(hive: Hive, image: str) -> str:
    lines = [
        f"The hive {hive.name} on Kubernetes, written by `hived export kubernetes`; docs/export.md tells more.",
        f"1. Build the image {image} with the Dockerfile that --out writes, and push it where the cluster finds it.",
        "2. Say where Redis is:",
        f"     kubectl create secret generic {secret_of(hive, 'redis')} --from-literal=url=redis://...",
    ]
    if hidden := [f"{each.name}.{name}" for each in hive.workloads for name in each.hidden]:
        lines += [
            "   and what else is secret:",
            f"     kubectl create secret generic {secret_of(hive, 'env')} "
            + " ".join(f"--from-literal={key}=..." for key in hidden),
        ]
    lines += [
        f"3. kubectl apply -f {FILE}",
        f"The page: kubectl port-forward deployment/{dns_names([f'{hive.name}-root'])[f'{hive.name}-root']} 9476",
    ]
    return "".join(f"# {line}\n" for line in lines)


def _object(hive: Hive, work: Workload, name: str, image: str) -> Object:
    labels: Object = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": dns_names([hive.name])[hive.name]}
    about: Object = {"name": name, "labels": labels}
    pod = _pod(hive, work, image)
    if work.restart == "always":
        spec: Object = {
            "replicas": work.copies,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {"metadata": {"labels": labels}, "spec": {**pod, **_spread(work, labels)}},
        }
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec}
    is_tried_again = work.restart == "on-failure"
    job: Object = {
        "parallelism": work.copies,
        "completions": max(1, work.copies),
        "backoffLimit": FOR_EVER if is_tried_again else 0,
        "template": {
            "metadata": {"labels": labels},
            "spec": {"restartPolicy": "OnFailure" if is_tried_again else "Never", **pod},
        },
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": job}


def _spread(work: Workload, labels: Mapping[str, Value]) -> Object:
    """Several copies are for when a machine dies: not all on one, where that can be."""
    if work.copies < 2:
        return {}
    where: Object = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    return {"topologySpreadConstraints": [where]}


def _pod(hive: Hive, work: Workload, image: str) -> Object:
    container: Object = {
        "name": "root" if work.is_root else "node",
        "image": image,
        "workingDir": FOLDER,
        "command": ["python"],
        "args": [*work.any_of],
        "env": _env(hive, work),
        "startupProbe": _probe(ALIVE, OFTEN, STARTING // OFTEN),
        "livenessProbe": {**_probe(ALIVE, SELDOM, MISSED), "terminationGracePeriodSeconds": 1},
        "readinessProbe": _probe(READY, SELDOM, 1),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "terminationGracePeriodSeconds": hive.grace,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }


def _probe(question: Sequence[str], period: int, failures: int) -> Object:
    return {
        "exec": {"command": ["python", *question]},
        "periodSeconds": period,
        "timeoutSeconds": PROBE_TIMEOUT,
        "failureThreshold": failures,
    }


def _env(hive: Hive, work: Workload) -> list[Value]:
    plain = {HIVE: FOLDER, "HIVEMIND_PROBE": PROBE_FILE, **work.env}
    found: list[Value] = [{"name": name, "value": _literally(value)} for name, value in plain.items()]
    found.append(_from_secret(REDIS_VARIABLE, secret_of(hive, "redis"), "url"))
    return [*found, *(_from_secret(name, secret_of(hive, "env"), f"{work.name}.{name}") for name in work.hidden)]


def _literally(value: str) -> str:
    """Kubernetes puts variables in where it reads ``$(NAME)``."""
    return value.replace("$(", "$$(")


def _from_secret(variable: str, secret: str, key: str) -> Object:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
