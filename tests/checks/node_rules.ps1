# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Finds in PowerShell files what Windows PowerShell 5.1 on .NET Framework does differently from the lab engine, on the
# syntax tree, so that comments and texts never count. Reads a JSON list of paths, writes JSON: findings (path, line,
# rule, text) and the C# texts the files hold. Each rule's reason and its test stand in test_node_code.py.
param([string] $InputFile, [string] $OutputFile)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

function ConvertTo-Set([string] $Words) {
    $set = New-Object 'System.Collections.Generic.HashSet[string]' ([StringComparer]::OrdinalIgnoreCase)
    foreach ($word in ($Words -split '\s+')) { if ($word) { [void]$set.Add($word) } }
    , $set
}

# --- vocabularies ---------------------------------------------------------------------------------------------------

$textCmdlets = ConvertTo-Set @'
Get-Content Set-Content Add-Content Clear-Content Out-File Tee-Object Export-Csv Import-Csv Export-Clixml Import-Clixml
'@
$wmiCmdlets = ConvertTo-Set 'Get-WmiObject Invoke-WmiMethod Set-WmiInstance Remove-WmiObject Register-WmiEvent'
$consoleCmdlets = ConvertTo-Set 'Write-Host Read-Host Out-Host'
$webCmdlets = ConvertTo-Set 'Invoke-WebRequest Invoke-RestMethod'
$wildcardCmdlets = ConvertTo-Set @'
Test-Path Get-Item Get-ChildItem Remove-Item Copy-Item Move-Item Rename-Item Get-ItemProperty Set-ItemProperty Get-Acl
Set-Acl Get-FileHash Resolve-Path Convert-Path
'@
$nativePrograms = ConvertTo-Set @'
schtasks sc cmd whoami netsh icacls takeown reg net tasklist taskkill powershell pwsh robocopy xcopy wmic certutil
mongod mongodump mongorestore fsutil wevtutil eventcreate dism msiexec cscript wscript bcdedit klist nltest setx
shutdown attrib mklink where.exe
'@
$aliases = ConvertTo-Set @'
% ? ac asnp cat cd chdir clc clear clhy cli clp cls clv cnsn compare copy cp cpi cpp curl cvpa dbp del diff dir dnsn
ebp echo epal epcsv epsn erase etsn exsn fc fhx fl foreach ft fw gal gbp gc gci gcm gcs gdr ghy gi gjb gl gm gmo gp
gps gpv group gsn gsnp gsv gtz gu gv gwmi h history icm iex ihy ii ipal ipcsv ipmo ipsn irm ise iwmi iwr kill lp ls
man md measure mi mount move mp mv nal ndr ni nmo npssc nsn nv ogv oh popd ps pushd pwd r rbp rcjb rcsn rd rdr ren ri
rjb rm rmdir rmo rni rnp rp rsn rsnp rujb rv rvpa rwmi sajb sal saps sasv sbp select set shcm si sl sleep sls sort sp
spjb spps spsv start stz sujb sv swmi tee trcm type wget where wjb write
'@
# Parameters 5.1 does not have; the compatibility profiles of test_powershell.py know more.
$webParameters = 'SkipCertificateCheck SkipHttpErrorCheck AllowUnencryptedAuthentication Form Authentication ' +
'Token Resume'
$newParameters = @{
    'ForEach-Object' = 'Parallel ThrottleLimit AsJob'
    'ConvertFrom-Json' = 'AsHashtable Depth NoEnumerate DateKind'
    'ConvertTo-Json' = 'AsArray EnumsAsStrings EscapeHandling'
    'Get-Date' = 'AsUTC UnixTimeSeconds'
    'Split-Path' = 'LeafBase Extension'
    'Join-Path' = 'AdditionalChildPath'
    'Sort-Object' = 'Top Bottom'
    'Start-Process' = 'Environment'
    'Invoke-WebRequest' = $webParameters
    'Invoke-RestMethod' = "$webParameters StatusCodeVariable"
    'Get-ChildItem' = 'FollowSymlink'
    'New-Service' = 'SecurityDescriptorSddl'
    'Set-Service' = 'Credential Force SecurityDescriptorSddl'
}
$newCommands = ConvertTo-Set @'
Remove-Service Test-Json Get-Error Join-String Get-Uptime Remove-Alias ConvertFrom-Markdown Start-ThreadJob
ConvertTo-CliXml ConvertFrom-CliXml Get-SecureRandom
'@
$newVariables = ConvertTo-Set @'
IsWindows IsLinux IsMacOS IsCoreCLR PSStyle EnabledExperimentalFeatures PSNativeCommandUseErrorActionPreference
PSNativeCommandArgumentPassing
'@
# TYPE::MEMBER with the number of arguments, or * for any.
$newStatics = ConvertTo-Set @'
File::Move/3 File::ReadAllTextAsync/* File::ReadAllBytesAsync/* File::ReadAllLinesAsync/* File::WriteAllTextAsync/*
File::WriteAllBytesAsync/* File::WriteAllLinesAsync/* File::AppendAllTextAsync/* File::AppendAllBytes/*
File::OpenHandle/* File::ResolveLinkTarget/* File::CreateSymbolicLink/* Directory::CreateSymbolicLink/*
Directory::ResolveLinkTarget/* Directory::CreateTempSubdirectory/* Path::Join/* Path::GetRelativePath/* Path::Exists/*
Path::EndsInDirectorySeparator/* Path::TrimEndingDirectorySeparator/* Path::IsPathFullyQualified/* Path::GetFullPath/2
Convert::ToHexString/* Convert::ToHexStringLower/* Convert::FromHexString/* Environment::TickCount64/*
Environment::ProcessId/* Environment::ProcessPath/* Math::Clamp/* Random::Shared/* Stopwatch::GetElapsedTime/*
Encoding::Latin1/* DateTime::UnixEpoch/* DateTimeOffset::UnixEpoch/* Guid::CreateVersion7/*
RandomNumberGenerator::Fill/* RandomNumberGenerator::GetInt32/* RandomNumberGenerator::GetBytes/*
RandomNumberGenerator::GetHexString/* CryptographicOperations::FixedTimeEquals/* CryptographicOperations::ZeroMemory/*
ArgumentNullException::ThrowIfNull/* ArgumentException::ThrowIfNullOrEmpty/* OperatingSystem::IsWindows/*
CompressionLevel::SmallestSize/* RuntimeInformation::RuntimeIdentifier/* MemoryExtensions::AsSpan/*
Rfc2898DeriveBytes::Pbkdf2/* GC::GetTotalAllocatedBytes/* Array::Fill/* Enum::GetValuesAsUnderlyingType/*
Task::WaitAsync/*
'@
# Instance members by name and number of arguments: the type is not known, so only names that nothing else has.
$newInstances = ConvertTo-Set @'
Kill/1 WaitForExitAsync/* ReadExactly/* ReadAtLeast/* GetAlternateLookup/* TryPop/1 EnsureCapacity/* MaxBy/* MinBy/*
ReplaceLineEndings/*
'@
$newProperties = ConvertTo-Set @'
ArgumentList TotalMicroseconds Microsecond Nanosecond LinkTarget UnixFileMode ProcessPath
'@
$newTypes = ConvertTo-Set @'
SocketsHttpHandler BrotliStream ZLibStream EnumerationOptions JsonSerializer JsonDocument HashCode Rune DateOnly
TimeOnly PeriodicTimer PriorityQueue AesGcm ChaCha20Poly1305 HKDF X509CertificateLoader RandomAccess
'@
$hashTypes = ConvertTo-Set 'SHA1 SHA256 SHA384 SHA512 MD5 HashAlgorithm HMACMD5 Aes Rijndael'
$webTypes = ConvertTo-Set 'WebClient WebRequest HttpWebRequest HttpClient SmtpClient FtpWebRequest'
# Type -> assembly that 5.1 does not load by itself, while the lab's engine knows the type at once.
$assemblies = @{
    ServiceController = 'System.ServiceProcess'; ServiceControllerStatus = 'System.ServiceProcess'
    ServiceStartMode = 'System.ServiceProcess'
    ZipArchive = 'System.IO.Compression'; ZipArchiveMode = 'System.IO.Compression'
    ZipArchiveEntry = 'System.IO.Compression'
    ZipFile = 'System.IO.Compression.FileSystem'; ZipFileExtensions = 'System.IO.Compression.FileSystem'
    ProtectedData = 'System.Security'; EnvelopedCms = 'System.Security'
    SignedCms = 'System.Security'; CmsRecipient = 'System.Security'
    HttpClient = 'System.Net.Http'; XDocument = 'System.Xml.Linq'; XElement = 'System.Xml.Linq'
    HttpUtility = 'System.Web'; JavaScriptSerializer = 'System.Web.Extensions'
}
$newTokens = @(
    'QuestionQuestion', 'QuestionQuestionEquals', 'QuestionMark', 'QuestionDot', 'QuestionLBracket',
    'AndAnd', 'OrOr', 'Clean'
)
$cultureSearch = ConvertTo-Set 'StartsWith EndsWith IndexOf LastIndexOf'
$cultureNumbers = ConvertTo-Set 'DateTime DateTimeOffset TimeSpan double single float decimal'
$formatWithCulture = '\{\d+(,-?\d+)?:(?![xX]\d*\})[^}]'

# --- the walk -------------------------------------------------------------------------------------------------------

$script:findings = New-Object System.Collections.Generic.List[object]
$script:csharp = New-Object System.Collections.Generic.List[object]
$script:path = ''

function Add-Finding([string] $Rule, $Extent) {
    $text = $Extent.Text
    if ($text.Length -gt 120) { $text = $text.Substring(0, 120) + '...' }
    $script:findings.Add([ordered]@{ path = $script:path; line = $Extent.StartLineNumber; rule = $Rule; text = $text })
}

function Get-ShortTypeName([string] $Name) {
    ($Name -replace '\[.*$', '' -split '\.')[-1]
}

function Test-Literal($Ast) {
    $Ast -is [System.Management.Automation.Language.StringConstantExpressionAst] -or
    $Ast -is [System.Management.Automation.Language.ExpandableStringExpressionAst]
}

function Test-Member($Set, [string] $Name, [int] $Count) {
    $Set.Contains("$Name/*") -or $Set.Contains("$Name/$Count")
}

function Test-Command($Ast) {
    $name = $Ast.GetCommandName()
    if (-not $name) { return }
    if ($textCmdlets.Contains($name)) { Add-Finding 'text-cmdlet' $Ast.Extent }
    if ($wmiCmdlets.Contains($name)) { Add-Finding 'wmi' $Ast.Extent }
    if ($consoleCmdlets.Contains($name)) { Add-Finding 'console' $Ast.Extent }
    if ($webCmdlets.Contains($name)) { $script:usesWeb = $Ast.Extent }
    if ($newCommands.Contains($name)) { Add-Finding 'newer-than-5.1' $Ast.Extent }
    if ($aliases.Contains($name)) { Add-Finding 'alias' $Ast.Extent }
    if ($name -eq 'Invoke-Expression' -or $name -eq 'iex') { Add-Finding 'invoke-expression' $Ast.Extent }
    if ($name -eq 'Start-Process' -or $nativePrograms.Contains($name) -or $name -match '\.(exe|com|cmd|bat)$') {
        Add-Finding 'native-program' $Ast.Extent
    }

    $isParameter = { $_ -is [System.Management.Automation.Language.CommandParameterAst] }
    $parameters = @($Ast.CommandElements | Where-Object $isParameter | ForEach-Object ParameterName)
    if ($newParameters.ContainsKey($name)) {
        foreach ($parameter in $parameters) {
            foreach ($new in ($newParameters[$name] -split ' ')) {
                if ($new -eq $parameter) { Add-Finding 'newer-than-5.1' $Ast.Extent }
            }
        }
    }
    if (@($parameters | Where-Object { $_ -match '^(EncodedCommand|enc|ec)$' }).Count) {
        Add-Finding 'encoded-command' $Ast.Extent
    }

    $isValue = { $_ -isnot [System.Management.Automation.Language.CommandParameterAst] }
    $values = @($Ast.CommandElements | Select-Object -Skip 1 | Where-Object $isValue)
    if ($name -eq 'ConvertTo-Json' -and $parameters -notcontains 'Depth' -and -not (Test-Splatted $values)) {
        Add-Finding 'json-depth' $Ast.Extent
    }
    if ($name -eq 'Join-Path' -and $values.Count -gt 2) { Add-Finding 'newer-than-5.1' $Ast.Extent }
    if ($name -eq 'Get-Date') {
        if ($parameters -contains 'UFormat') { Add-Finding 'culture' $Ast.Extent }
        if ($parameters -contains 'Format' -and $Ast.Extent.Text -notmatch '(?i)-Format\s+[''"]?[osu][''"]?(\s|\)|$)') {
            Add-Finding 'culture' $Ast.Extent
        }
    }
    $wantsLiteral = $wildcardCmdlets.Contains($name) -and $parameters -notcontains 'LiteralPath'
    if ($wantsLiteral -and -not (Test-Splatted $values)) {
        $isText = $values.Count -gt 0 -and
        $values[0] -is [System.Management.Automation.Language.StringConstantExpressionAst]
        $plain = $isText -and $values[0].Value -notmatch '[*?\[]'
        $isLater = $Ast.Parent -is [System.Management.Automation.Language.PipelineAst] -and
        $Ast.Parent.PipelineElements[0] -ne $Ast
        $piped = $isLater -and $values.Count -eq 0 -and $parameters -notcontains 'Path'
        if (-not $plain -and -not $piped) { Add-Finding 'wildcard-path' $Ast.Extent }
    }
    if ($name -eq 'New-Object' -and $values.Count) {
        Test-TypeUse (Get-ShortTypeName ($values[0].Extent.Text -replace '[''"]', '' -replace '\(.*$', '')) $Ast.Extent
    }
}

function Test-Splatted($Values) {
    $isSplatted = { $_ -is [System.Management.Automation.Language.VariableExpressionAst] -and $_.Splatted }
    [bool]@($Values | Where-Object $isSplatted).Count
}

function Test-TypeUse([string] $Short, $Extent) {
    if ($newTypes.Contains($Short)) { Add-Finding 'newer-than-5.1' $Extent }
    if ($Short -match '^(SHA\d+|Aes|Rijndael)Managed$') { Add-Finding 'fips' $Extent }
    if ($webTypes.Contains($Short)) { $script:usesWeb = $Extent }
    if ($assemblies.ContainsKey($Short) -and -not $script:assembliesUsed.ContainsKey($assemblies[$Short])) {
        $script:assembliesUsed[$assemblies[$Short]] = $Extent
    }
    if ($Short -match '^wmi(class|searcher)?$') { Add-Finding 'wmi' $Extent }
}

function Test-MemberUse($Ast, [bool] $Invocation) {
    if ($Ast.Member -isnot [System.Management.Automation.Language.StringConstantExpressionAst]) { return }
    $member = $Ast.Member.Value
    $arguments = @(if ($Invocation -and $Ast.Arguments) { $Ast.Arguments })
    $count = $arguments.Count
    if ($Ast.Static -and $Ast.Expression -is [System.Management.Automation.Language.TypeExpressionAst]) {
        $type = Get-ShortTypeName $Ast.Expression.TypeName.FullName
        if ((Test-Member -Set $newStatics -Name "${type}::$member" -Count $count) -or $member -eq 'HashData') {
            Add-Finding 'newer-than-5.1' $Ast.Extent
        }
        if ($member -eq 'Create' -and $hashTypes.Contains($type)) { Add-Finding 'fips' $Ast.Extent }
        if ($type -eq 'Encoding' -and $member -eq 'Default') { Add-Finding 'ansi' $Ast.Extent }
        if ($type -eq 'string' -and $member -eq 'Format' -and $count -and (Test-Literal $arguments[0]) -and
            $arguments[0].Value -match $formatWithCulture) {
            Add-Finding 'culture' $Ast.Extent
        }
        if ($cultureNumbers.Contains($type) -and
            (($member -eq 'Parse' -and $count -eq 1) -or ($member -eq 'TryParse' -and $count -eq 2))) {
            Add-Finding 'culture' $Ast.Extent
        }
        return
    }
    if ($Ast.Static) { return }
    if (-not $Invocation) {
        if ($newProperties.Contains($member)) { Add-Finding 'newer-than-5.1' $Ast.Extent }
        return
    }
    if (Test-Member -Set $newInstances -Name $member -Count $count) { Add-Finding 'newer-than-5.1' $Ast.Extent }
    if (($member -eq 'Replace' -and $count -gt 2) -or ($member -eq 'Contains' -and $count -gt 1)) {
        Add-Finding 'newer-than-5.1' $Ast.Extent
    }
    # 'a, b'.Split(', ') splits at the text in .NET 10 and at each of its letters in .NET Framework.
    if ($member -eq 'Split' -and $count -and (Test-Literal $arguments[0]) -and $arguments[0].Value.Length -gt 1) {
        Add-Finding 'split' $Ast.Extent
    }
    if ($member -eq 'AuthenticateAsClient' -and $count -eq 1) { Add-Finding 'tls' $Ast.Extent }
    if (($member -eq 'ToLower' -or $member -eq 'ToUpper') -and $count -eq 0) { Add-Finding 'culture' $Ast.Extent }
    if ($cultureSearch.Contains($member) -and $count -eq 1 -and (Test-Literal $arguments[0])) {
        Add-Finding 'culture' $Ast.Extent
    }
    if ($member -eq 'ToString' -and $count -eq 1 -and (Test-Literal $arguments[0]) -and
        $arguments[0].Value -cnotmatch '^([oOsu]|[xX]\d*)$') {
        if ($Ast.Expression.Extent.Text -notmatch '(?i)guid') { Add-Finding 'culture' $Ast.Extent }
    }
}

function Test-Redirection($Ast) {
    # 5.1 turns each line a native program writes to standard error into an error record as soon as that stream is
    # redirected, to $null as well, and under Stop the first one ends the script. Writing > FILE makes UTF-16.
    $isRedirection = $Ast -is [System.Management.Automation.Language.FileRedirectionAst]
    if ($isRedirection -and $Ast.FromStream -eq 'Output' -and $Ast.Location.Extent.Text -eq '$null') { return }
    Add-Finding 'redirection' $Ast.Parent.Extent
}

function Test-Text($Ast) {
    if ($Ast.Value -match '(?i)(^|\s)-(EncodedCommand|enc|ec)(\s|$)') { Add-Finding 'encoded-command' $Ast.Extent }
    if ($Ast.Value -match '(?i)\bWin32_Product\b') { Add-Finding 'wmi' $Ast.Extent }
    if ($Ast.Value -match '(?m)^\s*using\s+[\w.]+;\s*$' -and
        $Ast.Value -match '\b(class|struct|interface|enum)\s+\w+') {
        $script:csharp.Add([ordered]@{ path = $script:path; line = $Ast.Extent.StartLineNumber; source = $Ast.Value })
    }
}

function Test-Ast($Ast) {
    if ($Ast -is [System.Management.Automation.Language.CommandAst]) { Test-Command $Ast }
    elseif ($Ast -is [System.Management.Automation.Language.InvokeMemberExpressionAst]) { Test-MemberUse $Ast $true }
    elseif ($Ast -is [System.Management.Automation.Language.MemberExpressionAst]) { Test-MemberUse $Ast $false }
    elseif ($Ast -is [System.Management.Automation.Language.RedirectionAst]) { Test-Redirection $Ast }
    elseif ($Ast -is [System.Management.Automation.Language.TypeExpressionAst]) {
        Test-TypeUse (Get-ShortTypeName $Ast.TypeName.FullName) $Ast.Extent
    }
    elseif ($Ast -is [System.Management.Automation.Language.TypeConstraintAst]) {
        Test-TypeUse (Get-ShortTypeName $Ast.TypeName.FullName) $Ast.Extent
    }
    elseif (Test-Literal $Ast) { Test-Text $Ast }
    elseif ($Ast -is [System.Management.Automation.Language.ExitStatementAst]) { Add-Finding 'exit' $Ast.Extent }
    elseif ($Ast -is [System.Management.Automation.Language.VariableExpressionAst]) {
        if ($newVariables.Contains($Ast.VariablePath.UserPath)) { Add-Finding 'newer-than-5.1' $Ast.Extent }
    }
    elseif ($Ast -is [System.Management.Automation.Language.BinaryExpressionAst]) {
        if ($Ast.Operator -eq 'Format' -and (Test-Literal $Ast.Left) -and $Ast.Left.Value -match $formatWithCulture) {
            Add-Finding 'culture' $Ast.Extent
        }
    }
    elseif ($Ast -is [System.Management.Automation.Language.PipelineAst]) {
        if ($Ast.Background) { Add-Finding 'newer-than-5.1' $Ast.Extent }
    }
}

function Test-Tokens($Tokens) {
    $before = $null
    foreach ($token in $Tokens) {
        $kind = [string]$token.Kind
        if ($newTokens -contains $kind) { Add-Finding 'newer-than-5.1' $token.Extent }
        # A line that begins with a pipe continues the one before in 7 and is a syntax error in 5.1.
        if ($kind -eq 'Pipe' -and $before -eq 'NewLine') { Add-Finding 'newer-than-5.1' $token.Extent }
        if ($kind -eq 'Number' -and $token.Text -match '(?i)^-?0b|^-?(0x[0-9a-f]+|[0-9.]+)(u|us|ul|s|n)$') {
            Add-Finding 'newer-than-5.1' $token.Extent
        }
        if ($token -is [System.Management.Automation.Language.StringExpandableToken] -and
            $token.Text -match '(?<!`)(``)*`(e|u\{)') {
            Add-Finding 'newer-than-5.1' $token.Extent
        }
        if ($kind -ne 'Comment') { $before = $kind }
    }
}

function Test-File([string] $Path) {
    $script:path = $Path
    $script:usesWeb = $null
    $script:assembliesUsed = @{}
    $tokens = $null
    $errors = $null
    $ast = [System.Management.Automation.Language.Parser]::ParseFile($Path, [ref] $tokens, [ref] $errors)
    foreach ($problem in $errors) { Add-Finding 'syntax' $problem.Extent }
    Test-Tokens $tokens
    $isAny = { $true }
    foreach ($node in $ast.FindAll($isAny, $true)) { Test-Ast $node }

    if ($script:usesWeb -and $ast.Extent.Text -notmatch '(?s)ServicePointManager\]::SecurityProtocol\s*=.*?Tls12') {
        Add-Finding 'tls' $script:usesWeb
    }
    foreach ($assembly in $script:assembliesUsed.Keys) {
        $named = [regex]::Escape($assembly)
        if ($ast.Extent.Text -notmatch "(?m)Add-Type\s+-AssemblyName\s+([\w.]+\s*,\s*)*$named(\s|,|;|`$)") {
            Add-Finding 'assembly' $script:assembliesUsed[$assembly]
        }
    }
    $isCommand = { param($node) $node -is [System.Management.Automation.Language.CommandAst] }
    $top = @($ast.FindAll($isCommand, $false))
    $strict = @($top | Where-Object { $_.GetCommandName() -eq 'Set-StrictMode' }).Count
    $isAssignment = { param($node) $node -is [System.Management.Automation.Language.AssignmentStatementAst] }
    $isStop = {
        $_.Left.Extent.Text -eq '$ErrorActionPreference' -and $_.Right.Extent.Text -match '^[''"]?Stop[''"]?$'
    }
    $stop = @($ast.FindAll($isAssignment, $false) | Where-Object $isStop).Count
    if (-not $strict) {
        $text = 'no Set-StrictMode at the top level'
        $script:findings.Add([ordered]@{ path = $Path; line = 1; rule = 'strict'; text = $text })
    }
    if (-not $stop) {
        $text = 'no $ErrorActionPreference = ''Stop'' at the top level'
        $script:findings.Add([ordered]@{ path = $Path; line = 1; rule = 'strict'; text = $text })
    }
}

foreach ($file in @([IO.File]::ReadAllText($InputFile) | ConvertFrom-Json)) { Test-File $file }
$result = [ordered]@{ findings = $script:findings.ToArray(); csharp = $script:csharp.ToArray() }
[IO.File]::WriteAllText($OutputFile, (ConvertTo-Json -InputObject $result -Depth 5))
