/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "service_loop.h"

#include <stdio.h>
#include <windows.h>

#include "behaviour.h"
#include "job.h"
#include "mongod.h"
#include "mongod_login.h"
#include "service_port.h"
#include "settings.h"
#include "text.h"

static SERVICE_STATUS_HANDLE handle;
static HANDLE stop_requested;
static HANDLE lingering_ended; /* created before Stopped is reported too early; set when all has stopped */
static int stop_refused;

static void report(DWORD state, DWORD error)
{
    static DWORD checkpoint;
    SERVICE_STATUS status = {
        .dwServiceType = SERVICE_WIN32_OWN_PROCESS, .dwCurrentState = state, .dwWin32ExitCode = error};
    if (state == SERVICE_RUNNING)
        status.dwControlsAccepted = SERVICE_ACCEPT_SHUTDOWN | (stop_refused ? 0 : SERVICE_ACCEPT_STOP);
    if (state == SERVICE_START_PENDING || state == SERVICE_STOP_PENDING) {
        status.dwCheckPoint = ++checkpoint;
        status.dwWaitHint = 120000;
    }
    SetServiceStatus(handle, &status);
}

static void log_line(const char *line)
{
    const char *path = setting("Controller", "LoggingPath");
    FILE *file = *path ? _wfopen(wide(path), L"a") : NULL;
    SYSTEMTIME now;
    if (!file)
        return;
    GetSystemTime(&now);
    fprintf(file, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %lu %s\n", now.wYear, now.wMonth, now.wDay, now.wHour,
        now.wMinute, now.wSecond, now.wMilliseconds, GetCurrentProcessId(), line);
    fclose(file);
}

/* Whether the service manager still regards this process as the service. Wine's service manager sometimes abandons a
 * start ("service request timeout") although the process is running. Such an orphan would hold the port of its mongod,
 * and every later start would fail. */
static int is_orphan(void)
{
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT), service;
    SERVICE_STATUS_PROCESS status = {0};
    DWORD needed;
    int known = 0;
    if (!manager)
        return 0;
    service = OpenServiceW(manager, L"AlteryxService", SERVICE_QUERY_STATUS);
    if (service) {
        known = QueryServiceStatusEx(service, SC_STATUS_PROCESS_INFO, (BYTE *)&status, sizeof status, &needed);
        CloseServiceHandle(service);
    }
    CloseServiceHandle(manager);
    return known && status.dwProcessId != GetCurrentProcessId();
}

static int exists(const wchar_t *folder, const char *name)
{
    wchar_t path[MAX_PATH];
    _snwprintf(path, MAX_PATH, L"%ls\\%ls", folder, wide(name));
    return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
}

/* What is missing for a start, or NULL. mongod.exe would make a new database in an empty folder, and the server would
 * look as if it were well. */
static const char *what_is_missing(struct mongod *mongod)
{
    const wchar_t *data;
    if (!settings_are_whole() || !setting_true("Environment", "Configured"))
        return "RuntimeSettings.xml is not whole";
    if (!exists(L"C:\\ProgramData\\Alteryx\\Keys", "master.key"))
        return "the keys are missing";
    if (!setting_true("Controller", "ControllerEnabled") || !setting_true("Controller", "EmbeddedMongoDBEnabled"))
        return NULL;
    data = wide(setting("Controller", "EmbeddedMongoDBRootPath"));
    if (!exists(data, "WiredTiger") || !exists(data, "WiredTiger.wt"))
        return "the data folder of the embedded MongoDB holds no database";
    if (mongod_start(mongod, job_create(0), data, 1))
        return "the embedded MongoDB did not start";
    if (!mongod_log_in(mongod))
        return NULL;
    mongod_stop(mongod);
    return "the embedded MongoDB does not know our user and password";
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
    if (!behaves("stop", "slow_handler")) /* then it is reported later: see stop() */
        report(SERVICE_STOP_PENDING, 0);
    SetEvent(stop_requested);
    return NO_ERROR;
}

static void stop(struct mongod *mongod)
{
    if (behaves("stop", "slow_handler")) {
        /* powershell.exe gives the control up meanwhile: see service_faults.c. Here the handler has returned, because
         * Wine's service manager would kill a process whose handler does not. */
        Sleep((DWORD)behaviour_number("slow_handler_ms", 3000) + 1000);
        report(SERVICE_STOP_PENDING, 0);
    }
    log_line("stopping");
    service_port_close();
    while (behaves("stop", "hang"))
        Sleep(500);
    behaviour_delay("stop_delay_ms");
    if (behaves("stop", "linger")) {
        lingering_ended = CreateEventW(NULL, TRUE, FALSE, NULL);
        report(SERVICE_STOPPED, 0);
        Sleep((DWORD)behaviour_number("linger_ms", 10000));
    }
    mongod_stop(mongod);
    log_line("stopped");
    if (lingering_ended)
        SetEvent(lingering_ended);
    else
        report(SERVICE_STOPPED, 0);
}

static void WINAPI service_main(DWORD count, wchar_t **names)
{
    struct mongod mongod = {0};
    HANDLE waits[2];
    DWORD waited = 1, woken, rounds = 0;
    const char *missing;
    (void)count;
    (void)names;
    stop_requested = CreateEventW(NULL, TRUE, FALSE, NULL);
    handle = RegisterServiceCtrlHandlerExW(L"AlteryxService", on_control, NULL);
    report(SERVICE_START_PENDING, 0);
    log_line("starting");
    while (behaves("start", "hang"))
        Sleep(500);
    behaviour_delay("start_delay_ms");
    if (behaves("start", "fail")) {
        log_line("start failed");
        report(SERVICE_STOPPED, ERROR_PROCESS_ABORTED);
        return;
    }
    missing = what_is_missing(&mongod);
    if (missing) {
        log_line(missing);
        report(SERVICE_STOPPED, ERROR_PROCESS_ABORTED);
        return;
    }
    if (mongod.process)
        waits[waited++] = mongod.process;
    waits[0] = stop_requested;
    service_port_open();
    report(SERVICE_RUNNING, 0);
    log_line("running");
    /* A stop is refused by not accepting it beforehand: a control that is accepted and then answered by an error makes
     * Wine's service manager kill the process at the next one. */
    while ((woken = WaitForMultipleObjects(waited, waits, FALSE, 50)) == WAIT_TIMEOUT) {
        if (stop_refused != behaves("stop", "refuse")) {
            stop_refused = !stop_refused;
            report(SERVICE_RUNNING, 0);
        }
        if (rounds++ % 10 == 5 && is_orphan()) {
            log_line("the service manager does not know this process any more; ending");
            ExitProcess(1);
        }
    }
    if (woken != WAIT_OBJECT_0) {
        log_line("the embedded MongoDB has ended by itself");
        report(SERVICE_STOPPED, ERROR_PROCESS_ABORTED);
        return;
    }
    stop(&mongod);
}

int service_run(void)
{
    static wchar_t name[] = L"AlteryxService";
    SERVICE_TABLE_ENTRYW table[] = {{name, service_main}, {NULL, NULL}};
    BOOL is_service = StartServiceCtrlDispatcherW(table);
    if (lingering_ended) /* the dispatcher returns once Stopped is reported, and with it this process would end */
        WaitForSingleObject(lingering_ended, INFINITE);
    return is_service;
}
