#!/usr/bin/env python
"""Makes the folder of the hub that deploy/compose.yaml runs. What is there already stays.

python setup.py HUB_YAML FOLDER    FOLDER/sandboxes.json is what `synchub sandbox` described

FOLDER/secrets is for the hub alone; FOLDER/shared is for the group of its user, which the other
parts are in. The sandboxes are told where to send webhooks each time, for they forget.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub import opening, settings
from hub.io import seal
from hub.opening import Folder

SECONDS_TO_WAIT = 60


def main(hub_yaml: Path, folder: Folder) -> None:
    """Do it. Raises `BadSettings`, and OSError where a sandbox does not answer."""
    described = description(folder.path / "sandboxes.json")
    kept(folder.path / opening.HUB, hub_yaml.read_text(), 0o644)
    found = folder.hub()
    rules = settings.render_rules(settings.default_rules(tuple(found.systems)))
    kept(folder.path / opening.RULES, rules, 0o644)
    make_secrets(folder.path, described)
    for name in found.systems:
        url = f"{found.public.url}/webhooks/{name}"
        opening.tell_sandbox(name, described[name], url)


def description(path: Path) -> dict[str, Any]:
    """What the sandboxes say of themselves, once they do."""
    end = time.monotonic() + SECONDS_TO_WAIT
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
    return opening.read_description(path)


def make_secrets(folder: Path, described: Mapping[str, Any]) -> None:
    """Credentials, new passwords and the master key; the passwords of others a second time."""
    own, shared = folder / "secrets", folder / "shared"
    own.mkdir(mode=0o700, exist_ok=True)
    shared.mkdir(mode=0o750, exist_ok=True)
    for name, one in described.items():
        settings.write_secrets(own / name, one["auth"])
    if not (folder / opening.MASTER).exists():
        seal.make_master(folder / opening.MASTER, os.urandom)
    password = kept(shared / "postgres", secrets.token_hex(32), 0o640)
    settings.write_secrets(own / "postgres", {"password": password})
    token = kept(own / "admin_token", secrets.token_hex(32), 0o600)
    kept(shared / "metrics_token", token, 0o640)
    kept(shared / "grafana", secrets.token_hex(16), 0o640)


def kept(path: Path, text: str, mode: int) -> str:
    """What the file holds: what it held, else this text."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.new")
        draft.touch(mode=mode)
        draft.write_text(text)
        draft.chmod(mode)  # whatever the umask is
        draft.rename(path)
    return path.read_text()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Folder(Path(sys.argv[2])))
