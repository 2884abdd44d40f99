/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What PlainService.cs is, for Wine, which has no .NET Framework: a service that does nothing, and the verb
 * emongodump=FOLDER, which writes small files for as many seconds as dump_seconds.txt beside the program says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

static SERVICE_STATUS_HANDLE handle;
static HANDLE stop_requested;

static void report(DWORD state)
{
    SERVICE_STATUS status = {.dwServiceType = SERVICE_WIN32_OWN_PROCESS, .dwCurrentState = state};
    if (state == SERVICE_RUNNING)
        status.dwControlsAccepted = SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN;
    SetServiceStatus(handle, &status);
}

static DWORD WINAPI on_control(DWORD control, DWORD type, void *data, void *context)
{
    (void)type;
    (void)data;
    (void)context;
    if (control == SERVICE_CONTROL_INTERROGATE)
        return NO_ERROR;
    if (control != SERVICE_CONTROL_STOP && control != SERVICE_CONTROL_SHUTDOWN)
        return ERROR_CALL_NOT_IMPLEMENTED;
    report(SERVICE_STOP_PENDING);
    SetEvent(stop_requested);
    return NO_ERROR;
}

static void WINAPI service_main(DWORD count, wchar_t **names)
{
    (void)count;
    (void)names;
    stop_requested = CreateEventW(NULL, TRUE, FALSE, NULL);
    handle = RegisterServiceCtrlHandlerExW(L"", on_control, NULL);
    report(SERVICE_RUNNING);
    WaitForSingleObject(stop_requested, INFINITE);
    report(SERVICE_STOPPED);
}

static int read_seconds(void)
{
    wchar_t path[MAX_PATH], *name;
    FILE *file;
    int seconds = 0;
    GetModuleFileNameW(NULL, path, MAX_PATH);
    name = wcsrchr(path, L'\\');
    if (!name || name + 32 > path + MAX_PATH)
        return 0;
    wcscpy(name + 1, L"dump_seconds.txt");
    file = _wfopen(path, L"r");
    if (!file)
        return 0;
    if (fscanf(file, "%d", &seconds) != 1)
        seconds = 0;
    fclose(file);
    return seconds;
}

static int dump(const wchar_t *folder)
{
    static const char block[1024];
    wchar_t path[2 * MAX_PATH];
    int second, seconds = read_seconds();
    CreateDirectoryW(folder, NULL);
    _snwprintf(path, 2 * MAX_PATH, L"%ls\\AlteryxService", folder);
    CreateDirectoryW(path, NULL);
    for (second = 0; second < seconds; second++) {
        FILE *file;
        _snwprintf(path, 2 * MAX_PATH, L"%ls\\AlteryxService\\part%d.bson", folder, second);
        file = _wfopen(path, L"wb");
        if (!file)
            return 2;
        fwrite(block, sizeof block, 1, file);
        fclose(file);
        printf("wrote part%d.bson\n", second);
        fflush(stdout);
        Sleep(1000);
    }
    return 0;
}

int wmain(int argc, wchar_t **argv)
{
    static const wchar_t verb[] = L"emongodump=";
    static wchar_t name[] = L"";
    SERVICE_TABLE_ENTRYW table[] = {{name, service_main}, {NULL, NULL}};
    if (argc < 2)
        return !StartServiceCtrlDispatcherW(table);
    if (wcsncmp(argv[1], verb, wcslen(verb))) {
        puts("unknown verb");
        return 1;
    }
    return dump(argv[1] + wcslen(verb));
}
