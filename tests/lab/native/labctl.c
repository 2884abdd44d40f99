/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* labctl.exe: how the lab looks at a node and switches it on, without the collection. JSON on standard output.
 *   service NAME          {"state": ..., "pid": n, "started": unix time, "start_type": n}
 *   start NAME SECONDS    starts it and waits for Running; prints the same
 *   stop NAME SECONDS     stops it and waits for Stopped; prints the same
 *   start_type NAME N     sets how it starts (2 automatically, 3 on demand, 4 not at all); prints the same
 *   permissions PATH ...  {PATH: security descriptor as SDDL, null where there is nothing}
 *   processes             [{"pid": n, "parent": n, "name": ..., "command_line": ..., "started": unix time}]
 *   hold PATH SECONDS     opens the file for itself alone, tries for so long, prints "held", keeps it for so long
 *   keepalive NAME SECONDS   waits until the service is Running or the time is over and prints the service; then never
 *                         ends, because a wineserver ends with its last process, and the start of a new one takes
 *                         seconds. Meanwhile it does what Wine's service manager does not do: it sets a service whose
 *                         process has died to Stopped. It also records every change of the service's state in STATES
 *                         for observers, because a process for every look would load the machine that is observed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
#include <sddl.h>
#include <tlhelp32.h>
#include <winternl.h>

#include "text.h"

static const wchar_t STATES[] = L"C:\\AlteryxLab\\service-states.txt"; /* a line for each state it was seen in */

static double unix_time(const FILETIME *time)
{
    return ((double)(((unsigned long long)time->dwHighDateTime << 32) | time->dwLowDateTime) - 116444736000000000.0) /
        1e7;
}

static double started(DWORD pid)
{
    FILETIME creation = {0}, unused[3];
    HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    BOOL known = process && GetProcessTimes(process, &creation, unused, unused + 1, unused + 2);
    if (process)
        CloseHandle(process);
    return known ? unix_time(&creation) : 0;
}

static const char *state_name(DWORD state)
{
    switch (state) {
    case SERVICE_STOPPED: return "Stopped";
    case SERVICE_START_PENDING: return "StartPending";
    case SERVICE_STOP_PENDING: return "StopPending";
    case SERVICE_RUNNING: return "Running";
    default: return "Other";
    }
}

/* 0 for a service that does not exist */
static DWORD query(const wchar_t *name, SERVICE_STATUS_PROCESS *status, DWORD *start_type)
{
    BYTE buffer[8192];
    DWORD size, state = 0;
    SC_HANDLE manager = NULL, service;
    ULONGLONG limit = GetTickCount64() + 30000;
    /* A node that is just starting has no service manager yet. */
    while (!(manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT)) && GetTickCount64() < limit)
        Sleep(50);
    memset(status, 0, sizeof *status);
    service = OpenServiceW(manager, name, SERVICE_QUERY_STATUS | SERVICE_QUERY_CONFIG);
    if (service && QueryServiceStatusEx(service, SC_STATUS_PROCESS_INFO, (BYTE *)status, sizeof *status, &size)) {
        state = status->dwCurrentState;
        if (QueryServiceConfigW(service, (QUERY_SERVICE_CONFIGW *)buffer, sizeof buffer, &size))
            *start_type = ((QUERY_SERVICE_CONFIGW *)buffer)->dwStartType;
    }
    if (service)
        CloseServiceHandle(service);
    CloseServiceHandle(manager);
    return state;
}

static int print_service(const wchar_t *name)
{
    SERVICE_STATUS_PROCESS status;
    DWORD start_type = 0, state = query(name, &status, &start_type);
    DWORD pid = state == SERVICE_STOPPED ? 0 : status.dwProcessId;
    printf("{\"state\": \"%s\", \"pid\": %lu, \"started\": %.3f, \"start_type\": %lu}\n",
        state ? state_name(state) : "Absent", pid, pid ? started(pid) : 0, start_type);
    fflush(stdout);
    return 0;
}

static void wait_for(const wchar_t *name, DWORD wanted, double seconds)
{
    SERVICE_STATUS_PROCESS status;
    DWORD start_type;
    ULONGLONG limit = GetTickCount64() + (ULONGLONG)(seconds * 1000);
    while (query(name, &status, &start_type) != wanted && GetTickCount64() < limit)
        Sleep(50);
}

static int control(const wchar_t *name, int start, double seconds)
{
    SERVICE_STATUS status;
    SC_HANDLE service =
        OpenServiceW(OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT), name, SERVICE_START | SERVICE_STOP);
    BOOL done = start ? StartServiceW(service, 0, NULL) : ControlService(service, SERVICE_CONTROL_STOP, &status);
    if (done)
        wait_for(name, start ? SERVICE_RUNNING : SERVICE_STOPPED, seconds);
    return print_service(name);
}

static int set_start_type(const wchar_t *name, DWORD type)
{
    SC_HANDLE service = OpenServiceW(OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT), name, SERVICE_CHANGE_CONFIG);
    if (!ChangeServiceConfigW(service, SERVICE_NO_CHANGE, type, SERVICE_NO_CHANGE, NULL, NULL, NULL, NULL, NULL, NULL,
                              NULL)) {
        fprintf(stderr, "labctl: cannot set the start type of %ls: error %lu\n", name, GetLastError());
        return 1;
    }
    return print_service(name);
}

/* NULL where there is nothing */
static wchar_t *permissions(const wchar_t *path)
{
    const SECURITY_INFORMATION parts = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    BYTE descriptor[16384];
    DWORD size;
    wchar_t *text = NULL;
    if (GetFileSecurityW(path, parts, descriptor, sizeof descriptor, &size))
        ConvertSecurityDescriptorToStringSecurityDescriptorW(descriptor, SDDL_REVISION_1, parts, &text, NULL);
    return text;
}

static int print_permissions(int count, wchar_t **paths)
{
    struct text json = {0};
    int i;
    for (i = 0; i < count; i++) {
        wchar_t *sddl = permissions(paths[i]);
        text_adds(&json, i ? ", " : "{");
        text_add_json(&json, utf8(paths[i]));
        text_adds(&json, ": ");
        if (sddl)
            text_add_json(&json, utf8(sddl));
        else
            text_adds(&json, "null");
    }
    printf("%s}\n", json.size ? json.data : "{");
    return 0;
}

static void note_state(DWORD state)
{
    FILE *file = _wfopen(STATES, L"ab");
    if (!file)
        return;
    fprintf(file, "%s\n", state_name(state));
    fclose(file);
}

/* Whether the process of a service has ended. A handle to the one that was asked about last is kept, because this is
 * asked many times. */
static int is_dead(DWORD pid)
{
    static HANDLE process;
    static DWORD last;
    if (pid != last) {
        if (process)
            CloseHandle(process);
        process = OpenProcess(SYNCHRONIZE, FALSE, last = pid);
    }
    return !process || WaitForSingleObject(process, 0) == WAIT_OBJECT_0;
}

static DWORD WINAPI watch_service(void *name)
{
    /* In Wine the handle a service sets its status by is an ordinary service handle with this right. */
    const DWORD set_status = 0x8000;
    SERVICE_STATUS_PROCESS status;
    DWORD size, last = 0;
    SC_HANDLE manager, service = NULL;
    /* A look takes 2 ms of CPU time in four processes, so they are rare while nothing changes. */
    for (;; Sleep(last == SERVICE_RUNNING || last == SERVICE_STOPPED ? 100 : 20)) {
        /* A node that is just starting has no service manager yet, and a new one no service. And where two threads of
         * a process connect at the same moment, as they do here, Wine can lose a handle: it is invalid from then on. */
        if (!service ||
            !QueryServiceStatusEx(service, SC_STATUS_PROCESS_INFO, (BYTE *)&status, sizeof status, &size)) {
            if (service)
                CloseServiceHandle(service);
            service = NULL;
            manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT);
            if (manager) {
                service = OpenServiceW(manager, name, SERVICE_QUERY_STATUS | set_status);
                CloseServiceHandle(manager);
            }
            continue;
        }
        if (status.dwCurrentState != last)
            note_state(last = status.dwCurrentState);
        if (status.dwCurrentState != SERVICE_STOPPED &&
            status.dwProcessId && /* 0: it is just being started; to set a status now would make that start fail */
            is_dead(status.dwProcessId)) {
            SERVICE_STATUS stopped = {.dwServiceType = status.dwServiceType, .dwCurrentState = SERVICE_STOPPED,
                .dwWin32ExitCode = ERROR_PROCESS_ABORTED};
            SetServiceStatus((SERVICE_STATUS_HANDLE)service, &stopped);
        }
    }
    return 0; /* never; a thread has a result */
}

static char *command_line(DWORD pid)
{
    HANDLE process = OpenProcess(PROCESS_QUERY_INFORMATION | PROCESS_VM_READ, FALSE, pid);
    PROCESS_BASIC_INFORMATION basic;
    PEB peb;
    RTL_USER_PROCESS_PARAMETERS parameters;
    wchar_t *line = NULL;
    char *result;
    if (process && !NtQueryInformationProcess(process, ProcessBasicInformation, &basic, sizeof basic, NULL) &&
        ReadProcessMemory(process, basic.PebBaseAddress, &peb, sizeof peb, NULL) &&
        ReadProcessMemory(process, peb.ProcessParameters, &parameters, sizeof parameters, NULL)) {
        line = calloc(1, parameters.CommandLine.Length + sizeof *line);
        if (!ReadProcessMemory(process, parameters.CommandLine.Buffer, line, parameters.CommandLine.Length, NULL))
            *line = 0;
    }
    if (process)
        CloseHandle(process);
    result = utf8(line ? line : L"");
    free(line);
    return result;
}

static int print_processes(void)
{
    PROCESSENTRY32W entry = {.dwSize = sizeof entry};
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    struct text json = {0};
    BOOL more;
    for (more = Process32FirstW(snapshot, &entry); more; more = Process32NextW(snapshot, &entry)) {
        if (entry.th32ProcessID == GetCurrentProcessId())
            continue;
        text_addf(&json, "%s{\"pid\": %lu, \"parent\": %lu, \"started\": %.3f, \"name\": ", json.size ? ", " : "[",
            entry.th32ProcessID, entry.th32ParentProcessID, started(entry.th32ProcessID));
        text_add_json(&json, utf8(entry.szExeFile));
        text_adds(&json, ", \"command_line\": ");
        text_add_json(&json, command_line(entry.th32ProcessID));
        text_adds(&json, "}");
    }
    printf("%s]\n", json.size ? json.data : "[");
    return 0;
}

static int hold(const wchar_t *path, double seconds)
{
    HANDLE file;
    ULONGLONG limit = GetTickCount64() + (ULONGLONG)(seconds * 1000);
    /* Another process uses the file for a moment only. This process must be the next one to open it. */
    while ((file = CreateFileW(path, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL)) == INVALID_HANDLE_VALUE) {
        DWORD error = GetLastError();
        if (GetTickCount64() >= limit) {
            fprintf(stderr, "labctl: cannot hold %ls: error %lu\n", path, error);
            return (int)error;
        }
        Sleep(2);
    }
    puts("held");
    fflush(stdout);
    Sleep((DWORD)(seconds * 1000));
    CloseHandle(file);
    return 0;
}

int wmain(int argc, wchar_t **argv)
{
    const wchar_t *verb = argc > 1 ? argv[1] : L"", *name = argc > 2 ? argv[2] : L"";
    double seconds = argc > 3 ? wcstod(argv[3], NULL) : 30;
    if (!wcscmp(verb, L"service"))
        return print_service(name);
    if (!wcscmp(verb, L"start") || !wcscmp(verb, L"stop"))
        return control(name, !wcscmp(verb, L"start"), seconds);
    if (!wcscmp(verb, L"start_type"))
        return set_start_type(name, (DWORD)seconds);
    if (!wcscmp(verb, L"permissions"))
        return print_permissions(argc - 2, argv + 2);
    if (!wcscmp(verb, L"processes"))
        return print_processes();
    if (!wcscmp(verb, L"hold"))
        return hold(name, seconds);
    if (!wcscmp(verb, L"keepalive")) {
        CreateThread(NULL, 0, watch_service, (void *)name, 0, NULL);
        wait_for(name, SERVICE_RUNNING, seconds);
        print_service(name);
        fclose(stdout); /* the reader waits for the end of the output, and this process continues */
        Sleep(INFINITE);
    }
    fputs("labctl: unknown verb\n", stderr);
    return 87;
}
