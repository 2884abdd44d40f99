/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "job.h"

#include <stdlib.h>

HANDLE job_create(int breakaway)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    HANDLE job = CreateJobObjectW(NULL, NULL);
    limits.BasicLimitInformation.LimitFlags =
        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | (breakaway ? JOB_OBJECT_LIMIT_BREAKAWAY_OK : 0);
    if (!job || !SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits))
        return NULL;
    return job;
}

static HANDLE inheritable(HANDLE handle, DWORD access)
{
    HANDLE copy = NULL;
    SECURITY_ATTRIBUTES inherit = {sizeof inherit, NULL, TRUE};
    if (!handle)
        return CreateFileW(L"NUL", access, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherit, OPEN_EXISTING, 0, NULL);
    DuplicateHandle(GetCurrentProcess(), handle, GetCurrentProcess(), &copy, 0, TRUE, DUPLICATE_SAME_ACCESS);
    return copy;
}

HANDLE job_start(HANDLE job, const wchar_t *command_line, HANDLE input, HANDLE output, HANDLE error, DWORD *pid)
{
    STARTUPINFOW startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION process;
    wchar_t *line = _wcsdup(command_line); /* CreateProcessW may write into it */
    /* Suspended, so that it cannot start a child before it is in the job. */
    const DWORD flags = CREATE_SUSPENDED | CREATE_NO_WINDOW;
    BOOL started;
    startup.hStdInput = inheritable(input, GENERIC_READ);
    startup.hStdOutput = inheritable(output, GENERIC_WRITE);
    startup.hStdError = inheritable(error, GENERIC_WRITE);
    started = CreateProcessW(NULL, line, NULL, NULL, TRUE, job ? flags : flags | CREATE_BREAKAWAY_FROM_JOB, NULL, NULL,
        &startup, &process);
    CloseHandle(startup.hStdInput);
    CloseHandle(startup.hStdOutput);
    CloseHandle(startup.hStdError);
    free(line);
    if (!started)
        return NULL;
    if (job && !AssignProcessToJobObject(job, process.hProcess)) {
        TerminateProcess(process.hProcess, 1);
        return NULL;
    }
    ResumeThread(process.hThread);
    CloseHandle(process.hThread);
    if (pid)
        *pid = process.dwProcessId;
    return process.hProcess;
}
