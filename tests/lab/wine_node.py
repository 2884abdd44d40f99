# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Windows machine out of Wine: made from nothing, switched on and off, and programs run in it.

alteryx_install.py makes the Alteryx Server in it."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from . import alteryx_install, cache, engine, layout, native_build, wine_registry
from .fleet_roles import Role

SERVICE = alteryx_install.SERVICE
LABCTL = r"C:\AlteryxLab\bin\labctl.exe"
BOOT_SECONDS = 90
FULL_FOLDERS = "full-drive.txt"  # as in native/full_drive.c
STUCK_FOLDERS = "stuck-folders.txt"
HUNG_FOLDERS = "hung-folders.txt"
REGISTERED = "node.json"  # written last by create: its presence means a complete node

# Created in every new prefix and never changed afterwards, so nodes share them by hard links, which reduces 700 MB to
# 30.
SHARED_SUFFIXES = (".dll", ".nls", ".sys", ".drv", ".ocx", ".cpl", ".acm", ".tlb", ".ax")


@dataclass(frozen=True)
class Ports:
    """Loopback ports of a node: nodes of one lab share the address."""

    mongo: int
    service: int
    scheduler: int


def create(folder: Path, name: str, role: Role, ports: Ports) -> None:
    """From nothing to a registered, seeded, stopped node; one that exists is left alone but for its ports, which
    need it switched off."""
    identity = json.dumps({"name": name, "role": role, **asdict(ports)})
    registered = folder / REGISTERED
    if registered.exists() and registered.read_text(encoding="utf-8") == identity:
        return
    if not registered.exists():
        power_off(folder)  # what a creation that was broken off may have left running
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        new_prefix(folder)
        _put_lab_programs(folder)
        alteryx_install.install(folder, role, seed_folder=_seeded())
    elif is_on(folder):
        raise RuntimeError(f"{folder.name}: switch it off before giving it other ports")
    alteryx_install.set_ports(folder, role, mongo=ports.mongo, service=ports.service)
    wine_registry.merge(
        layout.prefix(folder) / "system.reg",
        {r"Software\AlteryxLab": {"SchedulerPort": ports.scheduler, "NodeName": name}},
    )
    registered.write_text(identity, encoding="utf-8")


def boot(folder: Path) -> None:
    """Switch the node on; returns once AlteryxService is Running, or, where it is not meant to be, once the
    service manager answers."""
    report = folder / "boot.json"
    report.unlink(missing_ok=True)
    # The process that keeps the wineserver alive; it says when the service runs. Its output goes to a file, not to a
    # pipe: everything the new wineserver starts inherits it and would hold a pipe open for ever.
    with report.open("wb") as stream:
        keeper = subprocess.Popen(
            wine_command(folder, LABCTL, "keepalive", SERVICE, str(BOOT_SECONDS if _meant_to_run(folder) else 1)),
            env=environment(folder),
            cwd=layout.drive(folder, "c"),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    limit = time.monotonic() + BOOT_SECONDS + 30
    while not (line := report.read_bytes()).endswith(b"\n"):
        if keeper.poll() is not None or time.monotonic() > limit:
            power_off(folder)
            raise RuntimeError(f"{folder.name}: the node did not boot")
        time.sleep(0.05)
    state = json.loads(line)["state"]
    if state != "Running" and _meant_to_run(folder):
        raise RuntimeError(f"{folder.name}: {SERVICE} is {state} after boot")


def shutdown(folder: Path) -> None:
    """Stop the service cleanly, then switch the node off; a node that is already off is not an error."""
    if is_on(folder):
        try:
            run(folder, LABCTL, "stop", SERVICE, "30", timeout=60)
        except (RuntimeError, subprocess.TimeoutExpired):
            pass  # a node that does not answer any more is switched off all the same
    power_off(folder)


def power_off(folder: Path) -> None:
    """End every process of the node at once, as a power cut does."""
    if layout.prefix(folder).is_dir():
        for option in ("-k", "-w"):
            subprocess.run(
                [_program("wineserver"), option],
                env=environment(folder),
                timeout=60,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )


def is_on(folder: Path) -> bool:
    """Whether a wineserver serves this node."""
    if not layout.prefix(folder).is_dir():
        return False
    return (
        subprocess.run(
            [_program("wineserver"), "-k0"],
            env=environment(folder),
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ).returncode
        == 0
    )


def environment(folder: Path) -> dict[str, str]:
    """Environment of a process of this node. Little of ours: Wine hands all of it on to Windows programs."""
    library = folder / native_build.FULL_DRIVE
    # The loader takes a blank or a colon for the end of a path.
    preload = {"LD_PRELOAD": str(library)} if library.exists() and not {" ", ":"} & set(str(library)) else {}
    return _environment(layout.prefix(folder)) | preload


def list_folders(folder: Path, name: str, *folders: Path) -> None:
    """Let the drive be full (FULL_FOLDERS) or hang (HUNG_FOLDERS) for these folders of the host; without any, none."""
    listed = folder / name
    if not folders:
        listed.unlink(missing_ok=True)
        return
    if "LD_PRELOAD" not in environment(folder):
        raise RuntimeError(f"{folder}: the processes of this node do not load {native_build.FULL_DRIVE}")
    draft = listed.with_suffix(f".{os.getpid()}")
    draft.write_text("".join(f"{path.resolve()}\n" for path in folders), encoding="utf-8")
    draft.replace(listed)


def wine_command(folder: Path, *argv: str) -> list[str]:
    """The host's command line for a Windows program and its arguments."""
    del folder  # the prefix is chosen by the environment
    return [_program("wine"), *argv]


def run(folder: Path, *argv: str, timeout: float = 60, stdin: str = "") -> str:
    """Run a program of the node to its end and return its standard output; RuntimeError if it fails."""
    done = subprocess.run(
        wine_command(folder, *argv),
        env=environment(folder),
        cwd=layout.drive(folder, "c"),
        input=stdin.encode(),
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{folder.name}: {argv[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
        )
    return done.stdout.decode("utf-8", "replace")


def _environment(prefix: Path) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "USER", "LOGNAME", "TZ") if key in os.environ}
    return kept | {
        "WINEPREFIX": str(prefix),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINELOADER": _program("wine"),
        # No menu entries in the desktop of the user who runs the lab.
        "WINEDLLOVERRIDES": "winemenubuilder.exe=d",
        "LC_ALL": "C.UTF-8",  # file names are UTF-8 whatever the caller's locale
    }


def _program(name: str) -> str:
    # Debian's /usr/bin/wine is a script that talks about 32-bit support on standard error; behind it is this one.
    for candidate in [f"/usr/lib/wine/{name}64", "wine64"] if name == "wine" else [name]:
        found = shutil.which(candidate)
        if found:
            return found
    found = shutil.which(name)
    if not found:
        raise RuntimeError(f"{name} is missing: apt-get install wine wine64")
    return found


def _meant_to_run(folder: Path) -> bool:
    """Whether the service must be Running after a boot: it starts automatically, and is not configured to fail."""
    behaviour = layout.behaviour_file(folder)
    if behaviour.exists() and {"start=hang", "start=fail"} & set(behaviour.read_text(encoding="ascii").splitlines()):
        return False
    return (
        wine_registry.value(
            layout.prefix(folder) / "system.reg", rf"System\CurrentControlSet\Services\{SERVICE}", "Start"
        )
        == "dword:00000002"
    )


def new_prefix(folder: Path) -> None:
    """A prefix of the node's own, with the drives C: and D:, without anything of ours in it."""
    prefix = layout.prefix(folder)
    template = _template()
    shutil.copytree(template, prefix, symlinks=True, copy_function=_copy_or_link)
    (folder / "c").symlink_to("prefix/drive_c")
    (folder / "d").mkdir()
    (prefix / "dosdevices" / "d:").symlink_to("../../d")
    _label(folder / "c", "System", 0xA17E0001)
    _label(folder / "d", "Data", 0xA17E0002)
    wine_registry.merge(prefix / "system.reg", {r"Software\Microsoft\Cryptography": {"MachineGuid": str(uuid.uuid4())}})


def _label(drive: Path, label: str, serial: int) -> None:
    # Both drives are on one file system of the host. By these two files Wine distinguishes them nevertheless.
    (drive / ".windows-label").write_text(f"{label}\n", encoding="ascii")
    (drive / ".windows-serial").write_text(f"{serial:08x}\n", encoding="ascii")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _copy_or_link(source: str, target: str) -> None:
    if source.endswith(SHARED_SUFFIXES):
        _link(source, target)
    else:
        shutil.copy2(source, target)


def put_powershell(folder: Path) -> None:
    """The lab PowerShell, in the place of Windows' own, behind a launcher that can be told to misbehave."""
    programs, home = native_build.programs(), folder / "c" / "pwsh-win-x64"
    # Not a link to the cache, because the cache is outside every drive of the node and has no Windows path.
    shutil.copytree(engine.windows_pwsh(), home, copy_function=_link)
    windows = folder / "c" / "windows" / "system32" / "WindowsPowerShell" / "v1.0" / "powershell.exe"
    for shell in (windows, home / "pwsh.exe"):  # Ansible starts what runs asynchronously by the second name
        _put(programs / native_build.POWERSHELL, shell)
    lab = folder / "c" / "AlteryxLab"
    _put(programs / native_build.ENGINE_HOOK, lab / "bin" / native_build.ENGINE_HOOK)
    layout.COMPILED.mkdir(parents=True, exist_ok=True)
    (lab / "compiled").symlink_to(layout.COMPILED)
    wine_registry.merge(layout.prefix(folder) / "system.reg", {r"Software\LabPwsh": {"Home": r"C:\pwsh-win-x64"}})


def _put_lab_programs(folder: Path) -> None:
    programs = native_build.programs()
    _put(programs / native_build.FULL_DRIVE, folder / native_build.FULL_DRIVE)
    lab = folder / "c" / "AlteryxLab" / "bin"
    lab.mkdir(parents=True)
    for name in ("labhost.exe", "labctl.exe", "conhost.exe"):
        _put(programs / name, lab / name)
    for name in ("schtasks.exe", "whoami.exe"):
        _put(programs / name, folder / "c" / "windows" / "system32" / name)
    put_powershell(folder)


def _put(program: Path, target: Path) -> None:
    """Copy a program; what is in its place may be a link to a file that others use."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy2(program, target)


def _template() -> Path:
    """A prefix as Wine makes it, once per version of Wine: making one takes 6 to 10 s."""
    version = subprocess.run(
        [_program("wine"), "--version"], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()

    def fill(draft: Path) -> None:
        # Wine would offer to download a .NET and an HTML engine. (Here only: a real .NET needs the built-in
        # mscoree to load its libraries.)
        env = _environment(draft) | {"WINEDLLOVERRIDES": "mscoree,mshtml=;winemenubuilder.exe=d"}
        subprocess.run(
            [_program("wine"), "wineboot", "-i"],
            env=env,
            timeout=180,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for option in ("-k", "-w"):  # the registry is on disk once the server has ended
            subprocess.run([_program("wineserver"), option], env=env, timeout=60, check=False, stdin=subprocess.DEVNULL)
        for device in (draft / "dosdevices").iterdir():
            if device.name != "c:":  # no z:, no serial ports: a node sees nothing of the host
                device.unlink()
        for entry in (draft / "drive_c" / "users").glob("*/*"):
            if entry.is_symlink():  # Wine points Documents and the like at the home folder of the user who runs it
                entry.unlink()
                entry.mkdir()
        wine_registry.merge(
            draft / "system.reg",
            {
                r"Software\Wine\Drives": {"c:": "hd", "d:": "hd"},
                # A crash must end the program at once, with its exit code; Wine's debugger would print pages and take
                # seconds.
                r"Software\Microsoft\Windows NT\CurrentVersion\AeDebug": {
                    "Auto": "1",
                    "Debugger": r"C:\windows\system32\cmd.exe /c rem",
                },
                # With SDL, the driver of input devices asks for new ones a thousand times a second.
                r"System\CurrentControlSet\Services\winebus": {"Enable SDL": 0},
            },
        )
        wine_registry.merge(
            draft / "user.reg",
            {
                r"Software\Wine": {"Version": "win10"},
                # A native program in place of a built-in one is used once it is named here.
                r"Software\Wine\DllOverrides": {
                    **dict.fromkeys(("schtasks.exe", "whoami.exe", "powershell.exe"), "native"),
                    native_build.SYMBOLS.removesuffix(".dll"): "native,builtin",  # native beside mongod.exe alone
                },
            },
        )

    return cache.folder(f"prefix-{cache.digest(version, inspect.getsource(_template))}", fill)


def _seeded() -> Path:
    """A data folder of the embedded database, filled once: mongod.exe takes seconds to start, and every node
    begins with the same data."""

    def fill(draft: Path) -> None:
        with tempfile.TemporaryDirectory(dir=layout.CACHE, prefix=".seeding-", ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary)
            new_prefix(folder)
            alteryx_install.put_database_programs(folder)
            try:
                alteryx_install.make_seed(
                    folder,
                    lambda *argv: subprocess.Popen(
                        wine_command(folder, *argv),
                        env=environment(folder),
                        cwd=layout.drive(folder, "c"),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    ),
                    draft,
                )
            finally:
                power_off(folder)

    return cache.folder(f"seed-{alteryx_install.seed_digest()}", fill)
