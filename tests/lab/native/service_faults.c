/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "service_faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

#include "behaviour.h"
#include "export_hook.h"

enum { HANDLES = 256, DEFAULT_HANDLER_MS = 3000 };

typedef SC_HANDLE(WINAPI *open_service)(SC_HANDLE, const wchar_t *, DWORD);
typedef BOOL(WINAPI *start_service)(SC_HANDLE, DWORD, const wchar_t **);
typedef BOOL(WINAPI *control_service)(SC_HANDLE, DWORD, SERVICE_STATUS *);
static open_service wine_open;
static start_service wine_start;
static control_service wine_control;

/* Handles of AlteryxService: a handle does not tell whose it is. A closed one is forgotten when it comes again. */
static SC_HANDLE ours[HANDLES];
static unsigned next;
static SRWLOCK lock = SRWLOCK_INIT;

static void remember(SC_HANDLE service, int is_ours)
{
    unsigned i;
    AcquireSRWLockExclusive(&lock);
    for (i = 0; i < HANDLES; i++)
        if (ours[i] == service)
            ours[i] = NULL;
    if (is_ours)
        ours[next++ % HANDLES] = service;
    ReleaseSRWLockExclusive(&lock);
}

static int is_ours(SC_HANDLE service)
{
    unsigned i;
    int found = 0;
    AcquireSRWLockShared(&lock);
    for (i = 0; i < HANDLES; i++)
        found |= service && ours[i] == service;
    ReleaseSRWLockShared(&lock);
    return found;
}

static SC_HANDLE WINAPI open_and_remember(SC_HANDLE manager, const wchar_t *name, DWORD access)
{
    SC_HANDLE service = wine_open(manager, name, access);
    DWORD error = GetLastError();
    if (service)
        remember(service, !_wcsicmp(name, L"AlteryxService"));
    SetLastError(error);
    return service;
}

/* One line in one write: other processes append to the same file. */
static void note_attempt(void)
{
    SYSTEMTIME now;
    char line[64];
    DWORD written;
    HANDLE file = CreateFileW(L"C:\\AlteryxLab\\start-attempts.txt", FILE_APPEND_DATA,
                              FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_ALWAYS, 0, NULL);
    GetSystemTime(&now);
    snprintf(line, sizeof line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %lu\r\n", now.wYear, now.wMonth, now.wDay,
             now.wHour, now.wMinute, now.wSecond, now.wMilliseconds, GetCurrentProcessId());
    if (file == INVALID_HANDLE_VALUE)
        return;
    WriteFile(file, line, (DWORD)strlen(line), &written, NULL);
    CloseHandle(file);
}

static BOOL WINAPI start_or_fail(SC_HANDLE service, DWORD count, const wchar_t **arguments)
{
    DWORD error = 0;
    if (is_ours(service)) {
        note_attempt();
        error = behaves("start", "logon_failed") ? ERROR_SERVICE_LOGON_FAILED : error;
        error = behaves("start", "disabled") ? ERROR_SERVICE_DISABLED : error;
    }
    if (!error)
        return wine_start(service, count, arguments);
    SetLastError(error);
    return FALSE;
}

/* A service whose control handler does not return in time: the service manager gives the caller up, not the stop. */
static BOOL WINAPI control_or_give_up(SC_HANDLE service, DWORD control, SERVICE_STATUS *status)
{
    BOOL slow = control == SERVICE_CONTROL_STOP && is_ours(service) && behaves("stop", "slow_handler");
    BOOL done = wine_control(service, control, status);
    if (!slow || !done)
        return done;
    Sleep((DWORD)behaviour_number("slow_handler_ms", DEFAULT_HANDLER_MS));
    SetLastError(ERROR_SERVICE_REQUEST_TIMEOUT);
    return FALSE;
}

void hook_services(void)
{
    wine_open = (open_service)hook_export(L"advapi32.dll", "OpenServiceW", open_and_remember);
    wine_start = (start_service)hook_export(L"advapi32.dll", "StartServiceW", start_or_fail);
    wine_control = (control_service)hook_export(L"advapi32.dll", "ControlService", control_or_give_up);
}
