# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event log gets no password, even where a group policy has the arguments of every command logged.

The policy is the engine's own, set in the registry of the node; what the engine then gives to the event log is kept by
recorder.ps1.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks import powershell
from tests.lab import certificates, layout
from tests.node.engine import CODE, Engine
from tests.node.window import RUN, dump_spec

RECORDER = Path(__file__).with_name("recorder.ps1")
MODULES = layout.ROOT / "plugins" / "modules"
# Of this engine; Windows PowerShell has a key of its own.
POLICY = r"SOFTWARE\Policies\Microsoft\PowerShellCore\ModuleLogging"
PRINT = "\n[Console]::Out.WriteLine((ConvertTo-Json -Depth 2 -InputObject @($recorded.ToArray())))"


def test_the_secrets_are_encrypted_without_a_record(tmp_path: Path) -> None:
    recipient = certificates.write_operator(tmp_path, "operator")
    secret = secrets.token_hex(12)
    told = json.loads(
        powershell.run(Path(__file__).with_name("encrypt.ps1"), layout.ROOT / "plugins", recipient.certificate, secret)
    )
    # The recorder works: before the module began its work the engine has told it everything.
    assert secret in told["before"]
    assert secret not in told["during"]
    opened = subprocess.run(
        [
            "openssl",
            "cms",
            "-decrypt",
            "-inform",
            "PEM",
            "-inkey",
            str(recipient.key),
            "-recip",
            str(recipient.certificate),
        ],
        input=told["message"].encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert opened.stdout.decode() == secret


@pytest.fixture(scope="module")
def logged(engine: Engine) -> Iterator[Engine]:
    """The engine, with a policy that logs every module."""
    engine.path(r"C:\scripts").mkdir(exist_ok=True)
    engine.path(r"C:\scripts\recorder.ps1").write_text(RECORDER.read_text(encoding="utf-8"), encoding="utf-8")
    engine.run(rf"""
        $key = [Microsoft.Win32.Registry]::LocalMachine.CreateSubKey('{POLICY}')
        $key.SetValue('EnableModuleLogging', 1)
        $names = $key.CreateSubKey('ModuleNames')
        $names.SetValue('*', '*')
        $names.Dispose()
        $key.Dispose()""")
    yield engine
    engine.run(rf"[Microsoft.Win32.Registry]::LocalMachine.DeleteSubKeyTree('{POLICY}')")


def recorded(engine: Engine, script: str) -> list[str]:
    """What the engine gives to the event log while a script runs, which nothing of ours is loaded for."""
    file = engine.path(r"C:\scripts\recorded.ps1")
    file.write_text(
        r". ([scriptblock]::Create([IO.File]::ReadAllText('C:\scripts\recorder.ps1')))" + f"\n{script}{PRINT}",
        encoding="utf-8",
    )
    printed = engine.command(rf"& ([scriptblock]::Create([IO.File]::ReadAllText('C:\scripts\{file.name}')))", 120)
    lines: list[str] = json.loads(printed[printed.index("[") :])
    return lines


@pytest.mark.wine
@pytest.mark.long
def test_the_policy_has_every_argument_recorded(logged: Engine) -> None:
    assert any(
        "a password" in line
        for line in recorded(logged, """$null = ConvertFrom-Json -InputObject '{"a": "a password"}'""")
    )


def spec(password: str, name: str) -> dict[str, object]:
    """What a dump by mongodump is told; its tool ends at once and dumps nothing."""
    arguments = ["-NoProfile", "-Command", "exit"]
    return {**dump_spec(name), "dumps": [{"config": f"password: {password}\n", "arguments": arguments}]}


@pytest.mark.wine
@pytest.mark.long
def test_a_job_that_is_told_a_password_has_it_recorded_nowhere(logged: Engine) -> None:
    password = secrets.token_hex(12)
    folder = logged.path(r"C:\jobs\recorded")
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(spec(password, "recorded-job")), encoding="utf-8")
    lines = recorded(
        logged,
        rf"& ([scriptblock]::Create([IO.File]::ReadAllText('{CODE}\job_host.ps1'))) "
        rf"'C:\jobs\recorded' '{CODE}' 'dump_job'",
    )
    assert json.loads((folder / "result.json").read_text(encoding="utf-8"))["state"] == "succeeded"
    # What comes before the spec is read is recorded.
    assert any(line.startswith("CommandInvocation(Import-Module)") for line in lines)
    assert [line for line in lines if password in line] == []


# Just enough of Ansible for a module to run; what it is given is in a file, as Ansible's own code
# is not what is looked at.
ANSIBLE = r"""
$env:ALTERYX_OPS_FOLDER_TRUST = 'warn'
Add-Type -TypeDefinition @'
using System.Collections;
using System.Collections.Generic;
namespace Ansible.Basic
{
    public class AnsibleModule
    {
        public static Hashtable Given;
        public bool CheckMode;
        public string Tmpdir = "D:\\";
        public Dictionary<string, object> Params = new Dictionary<string, object>();
        public Hashtable Result = new Hashtable();
        public static string Said = "";
        public static AnsibleModule Create(object[] args, IDictionary spec, IDictionary[] fragments = null)
        {
            var module = new AnsibleModule();
            foreach (DictionaryEntry entry in Given) { module.Params[(string)entry.Key] = entry.Value; }
            return module;
        }
        public void ExitJson() { }
        public void FailJson(string message) { Said = message; }
    }
}
'@
$files = [IO.Directory]::GetFiles('C:\code', '*.psm1') + 'C:\scripts\NodeModule.psm1' + 'C:\scripts\NodeJob.psm1'
foreach ($file in $files) {
    $script = [scriptblock]::Create([IO.File]::ReadAllText($file))
    $name = [IO.Path]::GetFileNameWithoutExtension($file)
    New-Module -Name $name -ScriptBlock $script -ArgumentList 'C:\code' | Import-Module -Global
}
Import-NodeType -Name 'ProcessTable'
$told = [IO.File]::ReadAllText('C:\scripts\told.txt')
# This engine does not apply the policy to modules that New-Module makes; another may.
foreach ($each in @(Get-Module -All)) { $each.LogPipelineExecutionDetails = $true }
"""
INFO = r"""
[Ansible.Basic.AnsibleModule]::Given = @{ _tool = 'C:\pwsh-win-x64\pwsh.exe'; _probes = $told; timeout = 60 }
"""
START = rf"""
[Ansible.Basic.AnsibleModule]::Given = @{{
    run_id = '{RUN}'; _operation = 'start'; _job_id = '{RUN}-dump'; _spec = $told; _code = '{{}}'
}}
"""


@pytest.mark.wine
@pytest.mark.parametrize(
    ("module", "given", "said"), [("mongodb_info", INFO, ""), ("database_dump", START, "is on this node already")]
)
@pytest.mark.long
def test_a_module_that_is_told_a_password_has_it_recorded_nowhere(
    logged: Engine, module: str, given: str, said: str
) -> None:
    password = secrets.token_hex(12)
    dump = spec(password, "recorded-module")
    told = json.dumps(dump["dumps"] if module == "mongodb_info" else dump)
    logged.path(r"C:\scripts\told.txt").write_text(told, encoding="utf-8")
    # A start that goes no further than to be told.
    logged.path(rf"C:\ProgramData\AlteryxOps\jobs\{RUN}-dump").mkdir(parents=True, exist_ok=True)
    for name in ("NodeModule.psm1", "NodeJob.psm1"):
        logged.path(rf"C:\scripts\{name}").write_text(
            (MODULES.parent / "module_utils" / name).read_text(encoding="utf-8"), encoding="utf-8"
        )
    logged.path(rf"C:\scripts\{module}.ps1").write_text(
        (MODULES / f"{module}.ps1").read_text(encoding="utf-8"), encoding="utf-8"
    )
    call = rf"& ([scriptblock]::Create([IO.File]::ReadAllText('C:\scripts\{module}.ps1')))"
    lines = recorded(logged, f"{ANSIBLE}{given}{call}\n$recorded.Add('said: ' + [Ansible.Basic.AnsibleModule]::Said)")
    assert lines[-1].startswith("said: ")
    assert said in lines[-1] if said else lines[-1] == "said: "
    assert any(line.startswith("CommandInvocation(Invoke-NodeModule)") for line in lines)
    assert [line for line in lines if password in line] == []


@pytest.mark.wine
@pytest.mark.long
def test_a_node_names_the_policies_that_record(engine: Engine) -> None:
    engine.path(r"C:\scripts").mkdir(exist_ok=True)
    engine.path(r"C:\scripts\node_info.ps1").write_text(
        (MODULES / "node_info.ps1").read_text(encoding="utf-8"), encoding="utf-8"
    )
    policies = r"SOFTWARE\Policies\Microsoft\Windows\PowerShell"
    told = engine.run(rf"""
        $tree = [Management.Automation.Language.Parser]::ParseFile('C:\scripts\node_info.ps1', [ref]$null, [ref]$null)
        $isWanted = {{
            param($node)
            $node -is [Management.Automation.Language.FunctionDefinitionAst] -and $node.Name -eq 'Get-RecordingPolicy'
        }}
        . ([scriptblock]::Create($tree.Find($isWanted, $true).Extent.Text))
        "none: $(@(Get-RecordingPolicy) -join ' ')"
        $values = @{{
            ModuleLogging = 'EnableModuleLogging'
            Transcription = 'EnableTranscripting'
            ScriptBlockLogging = 'EnableScriptBlockInvocationLogging'
        }}
        foreach ($name in $values.Keys) {{
            $key = [Microsoft.Win32.Registry]::LocalMachine.CreateSubKey("{policies}\$name")
            $key.SetValue($values[$name], [int]($name -ne 'Transcription'))
            $key.Dispose()
        }}
        "some: $(@(Get-RecordingPolicy) -join ' ')"
        [Microsoft.Win32.Registry]::LocalMachine.DeleteSubKeyTree('{policies}')""")
    assert told.splitlines() == ["none: ", "some: ModuleLogging ScriptBlockInvocationLogging"]
