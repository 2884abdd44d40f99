# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The follower: on a worker or UI node, starts the service as soon as the controller answers again, so that the start
# does not depend on the control node. It begins with the lease, before any service is stopped. If the window does not
# open in time, the control node is lost and the window cannot open any more; then the follower starts the service. If
# the follower fails, the guard starts the service. The guard does not need the follower.

param([Parameter(Mandatory = $true)] $Spec)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$serverError = 500
$lease = Read-NodeLease
if ($null -eq $lease -or [string]$lease.run_id -cne $Spec.run_id) {
    throw (New-NodeFailure -Reason 'no_lease' -Message 'There is no lease of this run to follow the controller for')
}
$leaseSeen = @{ at = Get-MonotonicSecond }
# Monotonic seconds; -1 if not seen yet.
$seen = @{ stopped = -1.0; silent = 0; was_down = $false; back = -1.0; gave_up = $false }
$states = @()
$problem = ''

function Test-Controller {
    # Does the controller answer? While it stops, another program may answer on its port and be mistaken for it. The
    # guard has the same rules.
    if (-not $Spec.controller_url) {
        return Test-TcpPort -HostName @($Spec.controller_host) -Port $Spec.controller_port
    }
    $said = Get-UrlAnswer -Url $Spec.controller_url
    $said -match '^\d{3}$' -and [int]$said -lt $serverError
}

function Get-ReasonToStart {
    # Why the service must be started now; empty if it must not be started yet.
    $now = Get-MonotonicSecond
    if (-not (Test-Controller)) {
        # One failed query is not enough.
        $seen.silent++
        if ($seen.silent -ge 2) {
            if (-not $seen.was_down) { Write-JobLog -Text 'the controller does not answer any more' }
            $seen.was_down = $true
            $seen.back = -1.0
        }
        return ''
    }
    $seen.silent = 0
    if ($seen.was_down) {
        if ($seen.back -lt 0) { $seen.back = $now }
        if ($now - $seen.back -ge $Spec.start_delay) { return 'the controller has been down and answers again' }
        return ''
    }
    # The controller has not gone down, and the control node has not reported that the window is open.
    if ($now - $seen.stopped -le $Spec.open_within -or (Test-JobAsked)) { return '' }
    # If the drive is full, the control node cannot report that either.
    $seen.gave_up = $true
    try { $seen.gave_up = Close-JobWait }
    catch { Write-JobLog -Level 'WARNING' -Text "the decision: $($_.Exception.GetBaseException().Message)" }
    if ($seen.gave_up) { "the window did not open within $($Spec.open_within) s" } else { '' }
}

$why = ''
$isOver = $false
$began = Get-MonotonicSecond
Write-JobStatus -Phase 'wait' -Message 'waiting for the stop of the service'
while (-not $why -and -not $isOver) {
    Assert-JobWanted
    $status = Get-ServiceStatus -Name $Spec.service_name
    if ($seen.stopped -lt 0) {
        if (@('Stopped', 'StopPending') -contains $status) {
            $seen.stopped = Get-MonotonicSecond
            Write-JobStatus -Phase 'follow' -Message 'waiting for the controller'
        }
        elseif ((Get-MonotonicSecond) - $began -gt $Spec.stop_within) {
            # The service is not stopped later, because without a lease every module refuses that.
            Write-JobLog -Text "$($Spec.service_name) was not stopped within $($Spec.stop_within) s"
            Remove-JobLease
            $isOver = $true
        }
    }
    elseif ($status -eq 'Running') {
        $states = @(@{ state = 'Running'; at = Get-UtcText })
        $isOver = $true
    }
    # While the file HOLD exists, the service stays stopped. restore-service.cmd removes the file and starts the
    # service.
    elseif (-not (Test-NodeHold)) { $why = Get-ReasonToStart }
    if (-not $why) {
        # The guard has taken over, or the lease was released.
        if ((Test-LeaseLost -Lease $lease -Seen $leaseSeen) -or
            (Get-MonotonicSecond) -ge [double]$lease.deadline_monotonic) { $isOver = $true }
        if (-not $isOver) { Start-Sleep -Milliseconds 500 }
    }
}

$restored = $states.Count -gt 0
if ($why) {
    $begun = Get-UtcText
    $start = Start-ServiceSurely -Name $Spec.service_name -TimeoutSeconds $Spec.start_timeout -OnTick {
        Write-JobStatus -Phase 'start' -Message 'waiting for Running'
    }
    Write-JobLog -Text "starting $($Spec.service_name): $why" -At $begun
    $states = @($start.states)
    $restored = $start.reached
    $problem = $start.problem
    if ($problem) { Write-JobLog -Level 'WARNING' -Text "a start request was refused: $problem" }
    if ($restored) {
        $runsSince = Get-UtcText
        foreach ($one in $states) { $runsSince = $one.at }
        Write-JobLog -Text "$($Spec.service_name) is Running" -At $runsSince
        Remove-NodeNotice
    }
    if ($restored -and $seen.gave_up) { Remove-JobLease }
}
@{ restored = $restored; states = $states; why = $why; problem = $problem }
