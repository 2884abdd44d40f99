#!powershell

# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeModule
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeDisk
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeExchange
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.AlteryxNode
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeMongodump
#AnsibleRequires -PowerShell ansible_collections.alteryx_ops.server_backup.plugins.module_utils.NodeSchedule

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$spec = @{
    options = @{
        # Written by `make docs` from node_info.yml.
        service_name = @{ type = 'str'; default = 'AlteryxService' }
        folders = @{ type = 'list'; elements = 'str'; default = @() }
        room = @{ type = 'dict'; default = @{} }
        mongodump = @{ type = 'str'; default = '' }
        health_url = @{ type = 'str'; default = '' }
    }
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

$maximumSettingsBytes = 10MB

function Get-Settings {
    # One settings file as section -> element -> text; secrets never leave the node. Decisions about the values are
    # made on the control node.
    param([string] $Path)
    $answer = @{ path = $Path; exists = [IO.File]::Exists($Path); error = ''; sections = @{} }
    if (-not $answer.exists) { return $answer }
    $length = (New-Object System.IO.FileInfo $Path).Length
    if ($length -gt $maximumSettingsBytes) {
        $answer.error = "it has $length bytes, more than the $maximumSettingsBytes that are read"
        return $answer
    }
    $settings = New-Object System.Xml.XmlReaderSettings
    $settings.DtdProcessing = [Xml.DtdProcessing]::Prohibit
    $settings.XmlResolver = $null
    try {
        $stream = Open-SharedFile -Path $Path
        try {
            $reader = [Xml.XmlReader]::Create($stream, $settings)
            $document = New-Object System.Xml.XmlDocument
            $document.XmlResolver = $null
            $document.Load($reader)
        }
        finally { $stream.Dispose() }
        if ($document.DocumentElement.Name -cne 'SystemSettings') {
            $answer.error = "its root element is $($document.DocumentElement.Name), not SystemSettings"
            return $answer
        }
        foreach ($section in $document.DocumentElement.ChildNodes) {
            if ($section.NodeType -ne 'Element') { continue }
            if (-not $answer.sections.ContainsKey($section.Name)) { $answer.sections[$section.Name] = @{} }
            foreach ($element in $section.ChildNodes) {
                if ($element.NodeType -ne 'Element') { continue }
                $value = [string]$element.InnerText
                $isSecret = $element.Name -match 'Encrypted$|Password|Secret' -and $value
                # Connection strings may contain a password in clear text.
                $shown = if ($isSecret) { '(redacted)' } else { Hide-Secret -Text $value }
                $answer.sections[$section.Name][$element.Name] = $shown
            }
        }
    }
    catch {
        $cause = $_.Exception
        while ($null -ne $cause.InnerException) { $cause = $cause.InnerException }
        $answer.error = $cause.Message
    }
    $answer
}

function Get-FolderFact {
    # Facts about a folder to which this collection will write. If it does not exist, its nearest existing parent shows
    # whether it can be created.
    param([string] $Path)
    $fact = @{
        # The comparison is case-sensitive, because in a Turkish locale ignoring case maps I to another letter.
        path = $Path; absolute = ($Path -cmatch '^[A-Za-z]:\\')
        drive_exists = $false; exists = $false; is_file = $false
        free_bytes = [long]0; volume = ''; link = ''
    }
    if ($fact.absolute) {
        $fact.drive_exists = [IO.Directory]::Exists($Path.Substring(0, 3))
        # The space of the folder's own volume, because a volume may be mounted in a folder.
        if ($fact.drive_exists) {
            $fact.free_bytes = [long](Get-FreeByte -Path $Path)
            $fact.volume = Get-FolderVolume -Path $Path
            $fact.link = Get-FolderLink -Path $Path
        }
        $fact.exists = [IO.Directory]::Exists($Path)
        $fact.is_file = [IO.File]::Exists($Path)
    }
    $fact
}

function Get-WindowsVersion {
    # From the registry, because the version that Windows reports to a program depends on how the program was started,
    # and because WMI may not answer.
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SOFTWARE\Microsoft\Windows NT\CurrentVersion')
    if ($null -eq $key) { return '' }
    try {
        $names = @('CurrentMajorVersionNumber', 'CurrentMinorVersionNumber', 'CurrentBuildNumber')
        ($names | ForEach-Object { [string]$key.GetValue($_, '0') }) -join '.'
    }
    finally { $key.Dispose() }
}

function Get-MachineId {
    # Windows Setup writes a new one. It is only used for a warning, so it may be unknown.
    $view = [Microsoft.Win32.RegistryView]::Registry64
    $machine = [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive]::LocalMachine, $view)
    try {
        $key = $machine.OpenSubKey('SOFTWARE\Microsoft\Cryptography')
        if ($null -eq $key) { return '' }
        try { [string]$key.GetValue('MachineGuid', '') } finally { $key.Dispose() }
    }
    catch {
        Write-Verbose -Message "MachineGuid: $_"
        ''
    }
    finally { $machine.Dispose() }
}

function Get-RecordingPolicy {
    # The group policies that make Windows record the commands of PowerShell, by the names of their registry keys. Only
    # the policies of the machine are read, because they apply to every account.
    $policies = @{
        ModuleLogging = 'EnableModuleLogging'
        ScriptBlockLogging = 'EnableScriptBlockLogging'
        ScriptBlockInvocationLogging = 'EnableScriptBlockInvocationLogging'
        Transcription = 'EnableTranscripting'
    }
    foreach ($policy in @($policies.Keys | Sort-Object)) {
        # The log of invocations is an option of the log of script blocks.
        $name = $policy.Replace('Invocation', '')
        try {
            $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey(
                "SOFTWARE\Policies\Microsoft\Windows\PowerShell\$name")
            if ($null -eq $key) { continue }
            try { if ([string]$key.GetValue($policies[$policy], '0') -eq '1') { $policy } }
            finally { $key.Dispose() }
        }
        catch { Write-Verbose -Message "${policy}: $_" }
    }
}

function Get-RebootSign {
    # Why Windows needs a restart; texts for people.
    $local = [Microsoft.Win32.Registry]::LocalMachine
    $keys = @{
        'SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending' = 'Windows servicing'
        'SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired' = 'Windows Update'
    }
    foreach ($name in $keys.Keys) {
        $key = $local.OpenSubKey($name)
        if ($null -ne $key) {
            $key.Dispose()
            $keys[$name]
        }
    }
    $session = $local.OpenSubKey('SYSTEM\CurrentControlSet\Control\Session Manager')
    if ($null -ne $session) {
        if ($null -ne $session.GetValue('PendingFileRenameOperations')) { 'files that are replaced at the next start' }
        $session.Dispose()
    }
}

function Get-ClusterResource {
    # Returns the name of the failover cluster resource that owns the service, or an empty text. The registry hive
    # exists only while the node is in a cluster.
    param([string] $Service)
    $resources = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('Cluster\Resources')
    if ($null -eq $resources) { return '' }
    try {
        foreach ($id in $resources.GetSubKeyNames()) {
            $parameters = $resources.OpenSubKey("$id\Parameters")
            if ($null -eq $parameters) { continue }
            try {
                if ([string]$parameters.GetValue('ServiceName', '') -eq $Service) {
                    $resource = $resources.OpenSubKey($id)
                    try { return [string]$resource.GetValue('Name', $id) }
                    finally { $resource.Dispose() }
                }
            }
            finally { $parameters.Dispose() }
        }
        ''
    }
    finally { $resources.Dispose() }
}

function Get-MongodumpFact {
    # The path of mongodump and the version that it reports. It is searched for only on a controller without the
    # embedded MongoDB, because only that may need it.
    param($Overrides, [string] $BinFolder)
    $answer = @{ path = ''; version = ''; problem = '' }
    $own = if ($Overrides.sections.ContainsKey('Controller')) { $Overrides.sections['Controller'] } else { @{} }
    $says = @{}
    foreach ($name in @('ControllerEnabled', 'EmbeddedMongoDBEnabled')) {
        $says[$name] = if ($own.ContainsKey($name)) { ([string]$own[$name]).Trim() } else { '' }
    }
    if (-not $module.Params.mongodump -and
        ($says.ControllerEnabled -eq 'False' -or $says.EmbeddedMongoDBEnabled -eq 'True')) {
        return $answer
    }
    try {
        $found = Find-Mongodump -Path $module.Params.mongodump -BinFolder $BinFolder
        $answer.path = $found.path
        $answer.version = $found.version
    }
    catch { $answer.problem = (Get-NodeFailure -ErrorRecord $_).message }
    $answer
}

Invoke-NodeModule -Module $module -Body {
    $programData = [Environment]::GetFolderPath('CommonApplicationData')
    $service = Get-NodeService -Name $module.Params.service_name
    $registry = @{ LastInstallDir = ''; LastVersion = '' }
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SOFTWARE\WOW6432Node\SRC\Alteryx')
    if ($null -ne $key) {
        foreach ($name in @($registry.Keys)) { $registry[$name] = [string]$key.GetValue($name, '') }
        $key.Dispose()
    }
    # The executable of the service determines the installation. The registry is used only if the service does not
    # exist.
    $bin = if ($service.executable) { [IO.Path]::GetDirectoryName($service.executable) }
    else { $registry.LastInstallDir.TrimEnd('\') }
    $executable = if ($bin) { Join-Path -Path $bin -ChildPath 'AlteryxService.exe' } else { '' }
    $overrides = Get-Settings -Path (Join-Path -Path $programData -ChildPath 'Alteryx\RuntimeSettings.xml')
    $defaults = if ($bin) { Get-Settings -Path (Join-Path -Path $bin -ChildPath 'RuntimeData\RuntimeSettings.xml') }
    else { @{ path = ''; exists = $false; error = ''; sections = @{} } }

    $databaseFolder = ''
    foreach ($settings in @($overrides, $defaults)) {
        if (-not $databaseFolder -and $settings.sections.ContainsKey('Controller') -and
            $settings.sections.Controller.ContainsKey('EmbeddedMongoDBRootPath')) {
            $databaseFolder = [string]$settings.sections.Controller.EmbeddedMongoDBRootPath
        }
    }
    $database = @{
        folder = $databaseFolder; exists = $false; bytes = [long]0; skipped = @(); skipped_count = [long]0
        rename_problem = [string](Get-RenameProblem -Path $databaseFolder)
    }
    if ($databaseFolder) {
        $database.exists = [IO.Directory]::Exists($databaseFolder)
        if ($database.exists) {
            $size = Get-FolderSize -Path $databaseFolder
            foreach ($name in @($size.Keys)) { $database[$name] = $size[$name] }
        }
    }

    $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object System.Security.Principal.WindowsPrincipal $identity
    $lease = Read-NodeLease

    $module.Result['system'] = @{
        computer = [Environment]::MachineName
        machine_id = Get-MachineId
        utc = Get-UtcText
        os_version = Get-WindowsVersion
        powershell_version = [string]$PSVersionTable.PSVersion
        program_data = $programData
        state_folder = Get-StateFolder
        user = [string]$identity.Name
        is_administrator = $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
    }
    $module.Result['alteryx'] = @{
        bin_folder = [string]$bin
        executable = $executable
        executable_exists = [bool]($executable -and [IO.File]::Exists($executable))
        version = $registry.LastVersion
        processes = @(if ($bin) { Get-AlteryxProcess -BinFolder $bin })
    }
    $module.Result['service'] = $service
    $module.Result['settings'] = @{ overrides = $overrides; defaults = $defaults }
    $module.Result['database'] = $database
    $module.Result['mongodump'] = Get-MongodumpFact -Overrides $overrides -BinFolder $bin
    $module.Result['folders'] = @(foreach ($folder in $module.Params.folders) { Get-FolderFact -Path $folder })
    $lock = Read-RunLock
    # An empty result must become null, not an empty object.
    $module.Result['lock'] = if ($null -ne $lock) { $lock } else { $null }
    $module.Result['hold'] = Test-NodeHold
    $module.Result['schedules_left'] = [string](Read-ScheduleRecord)
    $module.Result['cluster_resource'] = [string](Get-ClusterResource -Service $module.Params.service_name)
    $module.Result['reboot_pending'] = @(Get-RebootSign)
    $module.Result['recorded_by'] = @(Get-RecordingPolicy)
    $module.Result['trust'] = @(foreach ($folder in (Get-StateFolder), (Get-CodeFolder)) {
            Get-FolderDistrust -Path $folder
        })
    $url = $module.Params.health_url
    $module.Result['health'] = @{ url = $url; answer = $(if ($url) { Get-UrlAnswer -Url $url } else { '' }) }
    $module.Result['lease'] = if ($null -ne $lease) {
        @{
            run_id = [string]$lease.run_id
            prior_state = [string]$lease.prior_state
            deadline = [string]$lease.deadline
        }
    }
    else { $null }
}
