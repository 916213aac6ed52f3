"""The half of release_install that runs beside Ansible: packs the release and reads the secrets."""

from __future__ import annotations

import base64
import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Up to this many bytes the release travels with the module itself, which saves three round trips.
EMBEDDED = 1 << 20


class ActionModule(ActionBase):
    """Pack, send, and let the module do the rest. Only what is big needs a place on the host, and makes its own."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        source = str(arguments.pop("source", "") or "")
        secrets_source = str(arguments.pop("secrets_source", "") or "")
        if not source or not (Path(source) / "compose.yml").is_file():
            raise AnsibleActionFail(f"no compose.yml in '{source}'; canaryctl renders a release there")
        if secrets_source:
            arguments["secrets"] = Path(secrets_source).read_bytes().decode()
        packed = pack(source)
        if len(packed) <= EMBEDDED:
            arguments["archive"] = base64.b64encode(packed).decode()
        try:
            if len(packed) > EMBEDDED:
                arguments["archive_path"] = self._send(packed)
            result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _send(self, packed: bytes) -> str:
        remote = self._connection._shell.join_path(self._make_tmp_path(), "release.tar.gz")
        with tempfile.NamedTemporaryFile() as local:
            local.write(packed)
            local.flush()
            self._transfer_file(local.name, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return str(remote)


def pack(source: str) -> bytes:
    """A directory as a tar, modes reduced to 'executable or not' and without owners, so that only content counts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(source, arcname=".", filter=_plain)
    return buffer.getvalue()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
